"""Whether a vault, or a copy of one, has everything that a backup consists of: by names and lengths alone."""

from __future__ import annotations

from coffre.model.backup import Backup
from coffre.model.errors import IntegrityError, StoreError
from coffre.model.words import counted
from coffre.operations.stored_backup.open_backup import open_manifest
from coffre.stores.store import OF_THE_WHOLE_STORE
from coffre.vault.vault import Vault


def why_incomplete(vault: Vault, backup: Backup) -> str | None:
    """Return what is missing or cut off, in a sentence; None: manifest, lists of entries and all packs exist.

    Nothing but the manifest and the lists is read: bytes are proven by a restore, a drill or a complete reading.
    """
    try:
        manifest = open_manifest(vault, backup)
        for _ in vault.entries(manifest):
            pass
    except (IntegrityError, StoreError) as error:
        if error.code in OF_THE_WHOLE_STORE:
            raise
        return f"{error.message} [{error.code}]"
    lengths = vault.pack_lengths(manifest.packs)
    missing = [pack.key for pack in manifest.packs if pack.key not in lengths]
    if missing:
        return f"{counted(len(missing), 'pack')} of {len(manifest.packs):,} are missing, {missing[0]} for one."
    short = [pack.key for pack in manifest.packs if lengths[pack.key] != pack.length]
    if short:
        return f"{counted(len(short), 'pack')} of {len(manifest.packs):,} have another length, {short[0]} for one."
    return None
