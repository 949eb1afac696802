"""Which backups a journal can be applied to."""

from __future__ import annotations

from collections.abc import Iterable

from coffre.model.journal import IntervalEnd, JournalInterval
from coffre.model.manifest import JournalBase


def is_base_of(interval: JournalInterval, end: IntervalEnd | None, base: JournalBase | None) -> bool:
    """Return whether what the interval has can be applied to a backup.

    Its definitions have to be the interval's, and its snapshot was taken between the interval's begin and its end.
    """
    if base is None or base.fingerprint != interval.fingerprint or base.before_lsn < interval.from_lsn:
        return False
    return end is None or base.lsn <= end.stored_lsn


def bases_of[B](
    interval: JournalInterval, end: IntervalEnd | None, backups: Iterable[tuple[B, str, JournalBase | None]]
) -> list[tuple[B, JournalBase]]:
    """Return the bases of an interval among backups, in their order.

    Parameters
    ----------
    backups
        Each with the name of its database, and what its manifest says of a journal.
    """
    return [
        (backup, base)
        for backup, database, base in backups
        if base is not None and database == interval.database and is_base_of(interval, end, base)
    ]
