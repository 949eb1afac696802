"""Which backups a journal can be applied to."""

from __future__ import annotations

from collections.abc import Iterable

from coffre.model.journal import IntervalEnd, JournalInterval
from coffre.model.manifest import JournalBase


def is_base(base: JournalBase, fingerprint: str, from_lsn: int) -> bool:
    """Return whether changes after `from_lsn`, which fit definitions with this fingerprint, continue a backup."""
    return base.fingerprint == fingerprint and base.before_lsn >= from_lsn


def bases_of[B](
    interval: JournalInterval, end: IntervalEnd | None, backups: Iterable[tuple[B, str, JournalBase | None]]
) -> list[tuple[B, JournalBase]]:
    """Return the bases of an interval among backups, in their order.

    Their definitions are the interval's, and their snapshots were taken between its begin and its end.

    Parameters
    ----------
    backups
        Each with the name of its database, and what its manifest says of a journal.
    """
    return [
        (backup, base)
        for backup, database, base in backups
        if base is not None
        and database == interval.database
        and is_base(base, interval.fingerprint, interval.from_lsn)
        and (end is None or base.lsn <= end.stored_lsn)
    ]
