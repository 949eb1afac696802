"""Which backups a journal can be applied to, and what of it has to be kept for that."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

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
        and (end is None or base.lsn <= end.last_lsn)
    ]


def needed_base[B](bases: Sequence[tuple[B, JournalBase]], since: datetime) -> tuple[B, JournalBase] | None:
    """Return the base that the moments since then need first: the last one before, or else the first one of all.

    Bases are in the order of their positions, not of their times: a clock can be set back, and then the earlier stays.
    """
    ordered = sorted(bases, key=lambda one: one[1].before_lsn)
    needed = ordered[0] if ordered else None
    for one in ordered:
        if one[1].at > since:
            break
        needed = one
    return needed


def is_over(end: IntervalEnd | None, arrived: datetime | None, since: datetime) -> bool:
    """Return whether an interval has no moment since then.

    Parameters
    ----------
    arrived
        When the store got the record of its end; None: it does not say. The later time counts.
    """
    return end is not None and arrived is not None and max(end.ended_at, arrived) < since
