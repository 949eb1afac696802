"""The turn of a rotation: its lock, so that one of a place runs at a time, and the remaining time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from coffre.catalog.catalog import Catalog
from coffre.model.errors import CatalogError, DeadlineError

_RENEW_AFTER: Final = timedelta(seconds=5)
# Longer than the slowest single step (a manifest that is read with all retries). Two rotations would do no harm.
_STALE_AFTER: Final = timedelta(minutes=3)
_RESERVE_SECONDS: Final = 20.0


@dataclass
class Turn:
    """The lock of this name, and the remaining time. A dry run takes no lock."""

    catalog: Catalog
    lock: str
    owner: str
    now: Callable[[], datetime]
    remaining_seconds: Callable[[], float]
    dry_run: bool
    _renewed_at: datetime = field(init=False)

    def begin(self) -> str | None:
        """Take the lock; return the rotation that has it instead."""
        self._renewed_at = self.now()
        if self.dry_run:
            return None
        lock = self.catalog.locks.acquire(self.lock, self.owner, self._renewed_at, stale_after=_STALE_AFTER)
        return None if lock.acquired else lock.owner

    def check(self) -> None:
        """Raise if the time is nearly over (`DeadlineError`) or another rotation has the lock (`LockLostError`)."""
        if self.remaining_seconds() <= _RESERVE_SECONDS:
            raise DeadlineError(
                "The function's time is nearly over and the rotation is not finished; it was stopped cleanly.",
                hint="Nothing has to be done: the next rotation continues. If it happens daily, raise its timeout.",
            )
        now = self.now()
        if not self.dry_run and now - self._renewed_at >= _RENEW_AFTER:
            self.catalog.locks.renew(self.lock, self.owner, now)
            self._renewed_at = now

    def end(self) -> None:
        """Release the lock. If the catalog does not answer, the lock expires by itself."""
        if not self.dry_run:
            with contextlib.suppress(CatalogError):
                self.catalog.locks.release(self.lock, self.owner)
