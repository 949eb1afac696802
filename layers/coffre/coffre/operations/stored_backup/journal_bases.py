"""What the manifests of a target's backups say of its journal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

from coffre.model.backup import Backup
from coffre.model.errors import IntegrityError
from coffre.model.kinds import TargetKind
from coffre.model.manifest import JournalBase
from coffre.operations.stored_backup.open import manifest_of
from coffre.vault.vault import Vault


def journal_bases(vault: Vault, backups: Iterable[Backup]) -> Iterator[tuple[str, str, JournalBase | None]]:
    """Yield what the manifests of good backups say of a journal, each with its id and its database."""
    for backup in backups:
        if backup.is_healthy and backup.kind is TargetKind.DATABASE:
            with suppress(IntegrityError):  # the sweep reports it
                content = manifest_of(vault, backup).database
                yield backup.id, content.database, content.journal
