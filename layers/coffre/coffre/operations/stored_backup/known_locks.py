"""Until when packs are locked in a copy, by the records of the backups there that refer to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from coffre.model.backup import Backup
from coffre.model.errors import IntegrityError
from coffre.model.manifest import Manifest
from coffre.vault.pack_list import PackList
from coffre.vault.vault import Vault

_NEVER: Final = datetime.min.replace(tzinfo=UTC)
# Three monthly backups and a yearly one hold nearly every pack that lives long; each takes one request to read.
_READ: Final = 4


@dataclass
class KnownLocks:
    """What manifests say of locks is about the vault. In a copy, the record of each backup there says it.

    So that a daily copy extends no pack that a monthly one has locked for longer, the manifests of the copies that are
    locked for longest are read, each once. Nothing is read before the first question.

    Parameters
    ----------
    vault
        The copy.
    backups
        Returns the backups of the copy, as `as_copied` describes them.
    """

    vault: Vault
    backups: Callable[[], Iterable[Backup]]
    _until: dict[str, datetime] | None = None

    def until(self, key: str) -> datetime | None:
        """Return until when a pack is known to be locked at least; None: nothing is known."""
        if self._until is None:
            self._until = self._read()
        return self._until.get(key)

    def of(self, manifest: Manifest) -> Mapping[str, datetime | None]:
        """Return that for each pack of a manifest."""
        return {pack.key: self.until(pack.key) for pack in manifest.packs}

    def _read(self) -> dict[str, datetime]:
        found: dict[str, datetime] = {}
        by_target: dict[str, list[tuple[datetime, str, Backup]]] = {}
        for backup in self.backups():
            # Of a damaged copy packs may have been lost, and stored again with a shorter lock.
            if backup.locked_until is not None and backup.damaged_at is None:
                by_target.setdefault(backup.target, []).append((backup.locked_until, backup.id, backup))
        for locked in by_target.values():
            for until, _, backup in sorted(locked, key=lambda one: one[:2], reverse=True)[:_READ]:
                for key in self._packs(backup):
                    found[key] = max(until, found.get(key, _NEVER))
        return found

    def _packs(self, backup: Backup) -> Iterable[str]:
        key = backup.manifest_key or ""
        try:
            body = self.vault.manifest_bytes(key, sha256=backup.manifest_sha256 or "")
            # All of them or none, and one at a time: what a list of objects would take, a copier does not have.
            return [pack.key for _, pack in PackList.of(body, key)]
        except IntegrityError:
            return ()  # the sweep reports it
