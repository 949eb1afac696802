"""A drill of repositories: each is cloned from its bundles, and has to be complete. Nothing is sent anywhere."""

from __future__ import annotations

import shutil
import tempfile
import threading
from pathlib import Path

from coffre.model.backup import Backup
from coffre.model.drill_report import ObjectProof, Sample, Verdict
from coffre.model.errors import IntegrityError, RunStoppedError, StoreError
from coffre.model.manifest import Manifest
from coffre.operations.drill.findings import Found
from coffre.operations.drill.totals import refuse_other_sums
from coffre.operations.restore_repositories.clone import make_clone
from coffre.operations.restore_repositories.stored_repositories import StoredRepository, stored_repositories
from coffre.vault.codec import FrameDecoder
from coffre.vault.vault import Vault


def prove_repositories(
    backup: Backup, manifest: Manifest, vault: Vault, decoder: FrameDecoder, found: Found, stop: threading.Event
) -> None:
    """Clone every repository of a backup, one after another, and compare number and sizes with the catalog's."""
    count = size_bytes = 0
    with found.phase("objects"), tempfile.TemporaryDirectory(prefix="coffre-") as scratch:
        for stored in stored_repositories(vault, manifest):
            if stop.is_set():
                raise RunStoppedError("The run is stopped.")
            found.limits += [f"{stored.name}/{one} (when the backup was taken)" for one in stored.unread]
            count, size_bytes = count + stored.entries, size_bytes + stored.all_bytes
            if stored.bundles:
                _prove(vault, decoder, stored, Path(scratch) / "clone.git", found)
    found.restore_seconds = sum(found.phases_ms.values()) / 1000
    found.sample = Sample(objects=count, size_bytes=size_bytes, chosen=count, chosen_bytes=size_bytes)
    numbers = {
        "objects": (backup.objects, manifest.storage.objects, count),
        "bytes": (backup.plaintext_bytes, manifest.plaintext_bytes, size_bytes),
    }
    refuse_other_sums(backup, numbers)


def _prove(vault: Vault, decoder: FrameDecoder, stored: StoredRepository, folder: Path, found: Found) -> None:
    newest, detail = stored.bundles[-1], None
    try:
        make_clone(vault, decoder, stored, folder)
    except IntegrityError as error:
        detail = " ".join(filter(None, (f"{error.message} [{error.code}]", error.detail)))
    except StoreError as error:
        if error.code != "REPOSITORY_TOO_LARGE":
            raise
        found.except_for([f"{stored.name} does not fit on the drill's disk: raise DrillStorageSize."])
        return
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
