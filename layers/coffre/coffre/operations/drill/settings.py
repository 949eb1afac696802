"""A drill of settings: every value is decrypted, checked and forgotten. Nothing is written anywhere."""

from __future__ import annotations

import threading

from coffre.model.backup import Backup
from coffre.model.drill_report import ObjectProof, Sample, Verdict
from coffre.model.errors import IntegrityError, RunStoppedError
from coffre.model.manifest import Entry, Manifest
from coffre.operations.drill.findings import Found
from coffre.operations.stored_backup.totals import refuse_other_sums
from coffre.vault.codec import FrameDecoder
from coffre.vault.sealed_settings import SettingsOpener
from coffre.vault.vault import Vault


def prove_settings(
    backup: Backup, manifest: Manifest, vault: Vault, decoder: FrameDecoder, found: Found, stop: threading.Event
) -> None:
    """Open every setting of a backup, and compare number and sizes with what catalog and manifest say."""
    count = size_bytes = 0
    opener = SettingsOpener(vault, decoder)
    with found.phase("objects"):
        for entry in vault.entries(manifest):
            if stop.is_set():
                raise RunStoppedError("The run is stopped.")
            if entry.object is not None and entry.object.unread is not None:
                found.limits.append(f"{entry.name} could not be read when the backup was taken.")
                continue
            count, size_bytes = count + 1, size_bytes + entry.size
            found.take_objects([_proof(entry, opener, found)])
    found.restore_seconds = sum(found.phases_ms.values()) / 1000
    found.sample = Sample(objects=count, size_bytes=size_bytes, chosen=count, chosen_bytes=size_bytes)
    found.limits.append("Nothing was written: that a setting can be written back to its place is not proven.")
    told = {
        "settings": (backup.objects, manifest.storage.objects, count),
        "bytes": (backup.plaintext_bytes, manifest.plaintext_bytes, size_bytes),
    }
    refuse_other_sums(backup, told)


def _proof(entry: Entry, opener: SettingsOpener, found: Found) -> ObjectProof:
    detail = None
    try:
        opener.open(entry)
    except IntegrityError as error:
        detail = f"{error.message} [{error.code}]"
        found.take_damage(error, entry.name)
    return ObjectProof(
        name=entry.name,
        verdict=Verdict.DIFFERENT if detail else Verdict.EQUAL,
        size_bytes=entry.size,
        sha256=entry.sha256,
        sha256_found=None if detail else entry.sha256,
        detail=detail,
    )
