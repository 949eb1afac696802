"""A recovery's step that writes the objects of a bucket as files into a directory."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from coffre.model.errors import DestinationError
from coffre.model.recovery import Step, StepState
from coffre.model.storage import StorageScope
from coffre.model.words import counted
from coffre.operations.export.buckets import Exported, ObjectExporter
from coffre.operations.stored_backup.open_backup import open_manifest
from coffre_cli.commands.export.progress import export_progress
from coffre_cli.commands.recover.destinations import is_used, put_away, refuse_used

if TYPE_CHECKING:
    from coffre.model.backup import Backup
    from coffre_cli.commands.recover.recovery_run import Run


def write_directory(run: Run, step: Step, backup: Backup, directory: Path) -> Step:
    """Write the objects as files: complete under the directory's name, or not at all."""
    part = directory.with_name(f".{directory.name}.{step.restore_id.lower()}.part")
    away = put_away(directory, step.restore_id)
    if step.replaces and not away.exists() and is_used(directory):
        directory.rename(away)
    if step.attempts > 1 and directory.is_dir() and not part.exists() and any(directory.iterdir()):
        return _found_whole(step, backup, directory)
    refuse_used(directory)
    shutil.rmtree(part, ignore_errors=True)
    manifest = open_manifest(run.place.vault, backup)
    decoder = run.place.decoder_of(backup).of_recipients(manifest.recipients)
    exported = Exported()
    try:
        part.mkdir(mode=0o700, parents=True)
        with export_progress(manifest.plaintext_bytes) as progress:
            scope = StorageScope()
            ObjectExporter(run.place.vault, manifest, decoder, scope, progress, exported).directory(part)
        part.rename(directory)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise DestinationError(
            f"The objects of {step.target} could not be written to {directory}.",
            code="DIRECTORY_NOT_WRITTEN",
            detail=error.strerror,
            hint="What was written was removed. Name another directory, or make room.",
        ) from error
    unread = tuple(f"Not in the backup, as it could not be read: {line}" for line in exported.unread)
    kept = (f"What it held is in {away}.",) if away.exists() else ()
    names = (f"{counted(exported.renamed, 'object')} could not keep the name.",) if exported.renamed else ()
    return step.model_copy(
        update={
            "state": StepState.DONE,
            "objects": exported.objects,
            "restored_bytes": exported.size_bytes,
            "exceptions": unread,
            "notes": (*kept, *names),
        }
    )


def _found_whole(step: Step, backup: Backup, directory: Path) -> Step:
    """Accept a directory that an earlier attempt gave its name to: it does that when everything is written."""
    files = sum(len(names) for _, _, names in os.walk(directory))
    if files < (backup.objects or 0):
        refuse_used(directory)
    note = "It was complete before the interruption."
    return step.model_copy(update={"state": StepState.DONE, "objects": backup.objects, "notes": (note,)})
