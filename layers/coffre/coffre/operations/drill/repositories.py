"""A drill of repositories: each is cloned from its bundles, and has to be complete. Nothing is sent anywhere."""

from __future__ import annotations

import shutil
import tempfile
import threading
from pathlib import Path

from coffre.model.backup import Backup
from coffre.model.drill_report import ObjectProof, Sample, Verdict
from coffre.model.errors import DrillImpossibleError, IntegrityError, RunStoppedError, StoreError
from coffre.model.manifest import Manifest
from coffre.operations.drill.findings import Found
from coffre.operations.restore_repositories.clone import make_clone
from coffre.operations.restore_repositories.stored_repositories import StoredRepository, stored_repositories
from coffre.operations.stored_backup.totals import refuse_other_sums
from coffre.vault.codec import FrameDecoder
from coffre.vault.vault import Vault


def prove_repositories(
    backup: Backup, manifest: Manifest, vault: Vault, decoder: FrameDecoder, found: Found, stop: threading.Event
) -> None:
    """Clone every repository of a backup, one after another, and compare number and sizes with the catalog's."""
    count = size_bytes = cloned = cloned_bytes = 0
    with found.phase("objects"), tempfile.TemporaryDirectory(prefix="coffre-") as scratch:
        for stored in stored_repositories(vault, manifest):
            if stop.is_set():
                raise RunStoppedError("The run is stopped.")
            found.limits += [f"{stored.name}/{one} (when the backup was taken)" for one in stored.unread]
            count, size_bytes = count + stored.entries, size_bytes + stored.all_bytes
            if not stored.bundles or _prove(vault, decoder, stored, Path(scratch) / "clone.git", found):
                cloned, cloned_bytes = cloned + stored.entries, cloned_bytes + stored.all_bytes
    found.sample = Sample(objects=count, size_bytes=size_bytes, chosen=cloned, chosen_bytes=cloned_bytes)
    if count and not cloned:
        raise DrillImpossibleError(
            "No repository of the backup fits on the drill's disk.",
            code="SCRATCH_FULL",
            hint="Nothing is known against the backup. Raise DrillStorageSize (up to 10,240 MB), or drill it on a "
            "larger disk: coffre verify --level drill ID --here (docs/here.md).",
        )
    if found.sample.is_all:
        found.restore_seconds = sum(found.phases_ms.values()) / 1000
    numbers = {
        "objects": (backup.objects, manifest.storage.objects, count),
        "bytes": (backup.plaintext_bytes, manifest.plaintext_bytes, size_bytes),
    }
    refuse_other_sums(backup, numbers)


def _prove(vault: Vault, decoder: FrameDecoder, stored: StoredRepository, folder: Path, found: Found) -> bool:
    """Clone one, and return whether there was room for it."""
    newest, detail = stored.bundles[-1], None
    try:
        make_clone(vault, decoder, stored, folder)
    except IntegrityError as error:
        detail = " ".join(filter(None, (f"{error.message} [{error.code}]", error.detail)))
        found.take_damage(error, newest.name)
    except StoreError as error:
        if error.code != "REPOSITORY_TOO_LARGE":
            raise
        found.except_for(
            [f"{stored.name} does not fit on the drill's disk, and was not proven: raise DrillStorageSize."]
        )
        return False
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    found.take_objects(
        [
            ObjectProof(
                name=newest.name,
                verdict=Verdict.DIFFERENT if detail else Verdict.EQUAL,
                size_bytes=stored.size_bytes,
                sha256=newest.sha256,
                sha256_found=None if detail else newest.sha256,
                detail=detail,
            )
        ]
    )
    return True
