"""Backups in pages, and in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from coffre.model.backup import Backup
from coffre.model.errors import IntegrityError
from coffre.model.kinds import Status, TargetKind
from coffre.policy.recency import ID_WITHIN
from coffre.policy.statistics import Statistics, statistics
from coffre_console.reading.damaged import unread_of
from coffre_console.reading.source import May, Source, everyone

PAGE_SIZE: Final = 50
LARGEST_PAGE: Final = 200
STATISTICS_SPAN: Final = timedelta(days=30)
# 100,000 records are 100 calls of 1 MB. A year of hourly backups of ten targets is less.
LONGEST_STATISTICS: Final = timedelta(days=366)


@dataclass(frozen=True)
class Filter:
    """Which backups are wanted; None: of any. `since` is inclusive, `until` exclusive, both are about the begin."""

    target: str | None = None
    kind: TargetKind | None = None
    status: Status | None = None
    since: datetime | None = None
    until: datetime | None = None

    def fits(self, backup: Backup) -> bool:
        """Return whether a backup is wanted."""
        return (
            (self.target is None or backup.target == self.target)
            and (self.kind is None or backup.kind is self.kind)
            and (self.status is None or backup.status is self.status)
            and (self.since is None or backup.created_at >= self.since)
            and (self.until is None or backup.created_at < self.until)
        )


@dataclass(frozen=True)
class BackupPage:
    """Some backups, newest first, and the cursor of the next page; None: this is the last one.

    A page with a filter can be short, even empty, and have a next one: each is one call of the catalog. `unread` says
    which records cannot be read.
    """

    backups: tuple[Backup, ...]
    next: str | None
    unread: tuple[str, ...] = ()


def list_backups(
    source: Source, wanted: Filter, *, size: int = PAGE_SIZE, cursor: str | None = None, may: May = everyone
) -> BackupPage:
    """Return a page of backups, with one call of the catalog however many exist.

    Parameters
    ----------
    size
        From 1 to `LARGEST_PAGE`.
    cursor
        The `next` of the page before: the id (a ULID) of the last backup that was looked at.
    """
    found = source.catalog.page_of_backups(
        size,
        target=wanted.target,
        status=wanted.status,
        kind=wanted.kind,
        since=wanted.since,
        until=wanted.until,
        before=cursor,
        fits=None if may is everyone else lambda one: may(one.target),
    )
    return BackupPage(found.records, found.next, unread_of(found.damaged, may))


def count_backups(
    source: Source, wanted: Filter, *, may: May = everyone, damaged: list[IntegrityError] | None = None
) -> Statistics:
    """Count backups of a period: without one, the last 30 days. It may be a year at most, and the rest is left out.

    Records that cannot be read go to `damaged`.
    """
    until = wanted.until or source.now
    since = max(wanted.since or until - STATISTICS_SPAN, until - LONGEST_STATISTICS)
    found = source.catalog.backups(
        target=wanted.target,
        status=wanted.status,
        since=since - ID_WITHIN,
        until=until + ID_WITHIN,
        damaged=damaged,
    )
    bounded = Filter(wanted.target, wanted.kind, wanted.status, since, until)
    return statistics(one for one in found if bounded.fits(one) and may(one.target))
