"""Whether the locks of what backups refer to last as long as they are needed (docs/immutability.md).

No request is made for it but one for the bucket and one for each manifest: the HEADs of an inventory show locks too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from ulid import ULID

from coffre.model.backup import Backup
from coffre.model.errors import StoreError
from coffre.model.locks import LockState
from coffre.model.manifest import Manifest
from coffre.model.retention import Retention
from coffre.model.rotation import Problem
from coffre.policy.locking import least_until
from coffre.vault.layout import writer_of
from coffre.vault.locks import VaultLocks

# Until a rotation has run, a backup is judged by what its writer promised: a tier or a pin may just have joined.
_PROMISED_FOR: Final = timedelta(hours=36)
# Packs of the last days are all looked at, older ones by share: a writer that sets no locks is noticed the next day.
_NEW_FOR: Final = timedelta(days=3)
_LISTED: Final = 20


@dataclass
class LockCheck:
    """What a vault with Object Lock should be, and what of it is not.

    Parameters
    ----------
    retentions
        Of the configured targets, by name.
    """

    locks: VaultLocks
    retentions: Mapping[str, Retention]
    now: datetime
    _short: dict[str, list[str]] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)
    _general: list[Problem] = field(default_factory=list)

    def check_bucket(self) -> None:
        """Note it if the bucket has no Object Lock."""
        try:
            self.locks.store.require_locking()
        except StoreError as error:
            if error.code not in {"LOCKS_OFF", "LOCKS_UNSUPPORTED"}:
                raise
            self._general.append(Problem(code=error.code, target=None, text=error.message))

    def needed(self, backup: Backup, manifest: Manifest) -> datetime | None:
        """Return until when everything that a backup refers to has to be locked; None: its locks may have ended."""
        if backup.completed_at is not None and self.now - backup.completed_at < _PROMISED_FOR:
            return manifest.locked_until
        return least_until(backup, self.retentions.get(backup.target), self.now)

    def is_new(self, pack: str) -> bool:
        """Tell whether a pack is so young that its lock is looked at in any case."""
        writer = writer_of(pack)
        return writer is not None and self.now - ULID.from_str(writer).datetime < _NEW_FOR

    def look(self, key: str, target: str, state: LockState, needed: datetime | None) -> None:
        """Note an object whose lock ends before it is needed."""
        if needed is None or needed <= self.now or state.protects(needed):
            return
        self._counts[target] = self._counts.get(target, 0) + 1
        listed = self._short.setdefault(target, [])
        if len(listed) < _LISTED:
            found = f"locked until {state.lock.until:%Y-%m-%d %H:%M} UTC" if state.lock else "not locked"
            listed.append(f"{key} is {found}")

    def problems(self) -> tuple[Problem, ...]:
        """Return what was noted: one problem for each target, and those of the bucket."""
        short = tuple(
            Problem(code="LOCK_TOO_SHORT", target=target if target != "-" else None, text=self._text(target))
            for target in sorted(self._short)
        )
        return (*self._general, *short)

    def _text(self, target: str) -> str:
        listed = self._short[target]
        return (
            f"{self._counts[target]:,} objects that backups of {target} need are not locked as long as these are kept, "
            f"such as: {'; '.join(sorted(listed)[:3])}."
        )
