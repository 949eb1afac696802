"""`coffre export`, for backups of buckets: a tar archive, or files below a directory."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from coffre.model.words import counted, size
from coffre_cli.audited import recorded_reading
from coffre_cli.commands.export.progress import export_progress
from coffre_cli.exit_status import Exit
from coffre_cli.output_file import filled_directory, new_file, refuse_existing, standard_output
from coffre_cli.place import Place
from coffre_cli.private_key import decoder_of
from coffre_cli.screen import remark

if TYPE_CHECKING:
    from coffre.model.backup import Backup
    from coffre.model.manifest import Manifest
    from coffre.model.storage import ObjectChoice
    from coffre.operations.export.buckets import Exported, ObjectExporter

_TAR_ZST: Final = "tar.zst"
_TAR_GZ: Final = "tar.gz"
_UNREAD_SHOWN: Final = 10


@dataclass(frozen=True)
class ObjectsWanted:
    """The options that choose what is exported of buckets, and where to."""

    to: str | None
    bucket: str | None
    prefix: str | None
    format: str | None
    recipients: tuple[str, ...]
    output: str | None

    @property
    def given(self) -> str | None:
        """An option that was given and is for objects only."""
        options = {"--to": self.to, "--bucket": self.bucket, "--prefix": self.prefix}
        if self.format in (_TAR_ZST, _TAR_GZ):
            options[f"--format {self.format}"] = self.format
        return next((option for option, value in options.items() if value is not None), None)

    def problem(self) -> str | None:
        """What does not fit together."""
        others = {"--format": self.format, "--output": self.output, "--recipient": self.recipients or None}
        wrong = next((option for option, value in others.items() if value is not None), None)
        if self.to is not None and wrong is not None:
            return f"--to writes files into a directory: leave {wrong} out, or leave --to out for an archive"
        return None

    @property
    def choice(self) -> ObjectChoice:
        from coffre.model.storage import ObjectChoice

        return ObjectChoice(bucket=self.bucket, prefix=self.prefix or "")


def export_objects(deployed: Place, backup: Backup, wanted: ObjectsWanted, identity: str | None) -> None:
    """Write the archive or files, and report on stderr: stdout may be the archive."""
    from coffre.operations.export.buckets import Exported, ObjectExporter
    from coffre.operations.stored_backup.open_backup import open_manifest

    place = wanted.to or wanted.output or _name(backup, wanted)
    if place != "-":
        refuse_existing(Path(place), unless_empty=wanted.to is not None)
    manifest = open_manifest(deployed.vault, backup)
    decoder = decoder_of(deployed, backup, identity).of_recipients(manifest.recipients)
    exported = Exported()
    what = ", ".join(filter(None, ["files" if wanted.to else "archive", wanted.bucket, wanted.prefix]))
    try:
        with (
            recorded_reading(deployed, backup, "backup.exported", what),
            export_progress(_expected(manifest, wanted)) as progress,
        ):
            exporter = ObjectExporter(deployed.vault, manifest, decoder, wanted.choice, progress, exported)
            _write(exporter, wanted, place)
    except KeyboardInterrupt:
        remark("Interrupted. The partial export was removed.")
        raise typer.Exit(Exit.INTERRUPTED) from None
    _report(backup, wanted, exported, place)


def _name(backup: Backup, wanted: ObjectsWanted) -> str:
    ending = f".{wanted.format or _TAR_ZST}{'.age' if wanted.recipients else ''}"
    return f"{backup.target}-{backup.created_at:%Y%m%dT%H%M%SZ}{ending}"


def _write(exporter: ObjectExporter, wanted: ObjectsWanted, place: str) -> None:
    from coffre.operations.export.compress import gzip_file, zstd_file
    from coffre.vault.age_stream import encrypt_stream

    if wanted.to is not None:
        with filled_directory(Path(place)) as folder:
            exporter.directory(folder)
        return
    tar = exporter.tar()
    chunks: Generator[bytes] = gzip_file(tar) if wanted.format == _TAR_GZ else zstd_file(tar)
    opened = standard_output() if place == "-" else new_file(Path(place))
    with opened as file, closing(tar), closing(chunks):
        if wanted.recipients:
            encrypt_stream(chunks, file.write, wanted.recipients)
        else:
            file.writelines(chunks)


def _expected(manifest: Manifest, wanted: ObjectsWanted) -> int | None:
    """Return how many bytes will be read, where the manifest knows it."""
    if wanted.prefix:
        return None
    buckets = manifest.storage.buckets
    return sum(bucket.size for bucket in buckets if wanted.bucket in (None, bucket.name))


def _report(backup: Backup, wanted: ObjectsWanted, exported: Exported, place: str) -> None:
    from coffre.policy.file_names import LIST

    where = "stdout" if place == "-" else place
    remark(
        f"Exported {backup.target} of {backup.created_at:%Y-%m-%d %H:%M:%S} UTC to {where}: "
        f"{counted(exported.objects, 'object')}, {size(exported.size_bytes)}."
    )
    if exported.renamed:
        remark(
            f"  Note: {counted(exported.renamed, 'object')} could not keep the name: it is not a safe file name, or "
            f"another file already has it. {LIST} lists the names."
        )
    if place != "-" and wanted.to is None:
        remark("Unpack it:")
        remark(f"  {_how_to_unpack(wanted, place)}")
    for line in exported.unread[:_UNREAD_SHOWN]:
        remark(f"  Note: not in the backup, as it could not be read: {line}")
    if len(exported.unread) > _UNREAD_SHOWN:
        remark(f"  Note: and {len(exported.unread) - _UNREAD_SHOWN:,} more.")
    if exported.unread:
        raise typer.Exit(Exit.EXCEPTIONS)


def _how_to_unpack(wanted: ObjectsWanted, place: str) -> str:
    unpack = "gzip -dc" if wanted.format == _TAR_GZ else "zstd -dc"
    if wanted.recipients:
        return f"age --decrypt --identity KEY.txt {place} | {unpack} | tar -x"
    return f"{unpack} {place} | tar -x"
