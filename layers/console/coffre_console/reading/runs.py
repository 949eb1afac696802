"""What runs now, and restores with what became of them."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from coffre.model.backup import Backup, Progress, Restore
from coffre.model.errors import IntegrityError
from coffre.model.kinds import Status
from coffre.model.restore_report import RestoreReport
from coffre_console.reading.backups import PAGE_SIZE
from coffre_console.reading.damaged import unread_of
from coffre_console.reading.source import May, Source, everyone


@dataclass(frozen=True)
class Running:
    """One backup or restore in progress.

    `share` is the part that is done, from 0 to 1, and `seconds_left` how long it takes at the rate so far; None: not
    known yet. `is_silent`: it has sent no heartbeat for too long, and will be taken for dead.
    """

    run: Backup | Restore
    progress: Progress
    since: datetime
    share: float | None
    seconds_left: float | None
    is_silent: bool


@dataclass(frozen=True)
class Runs:
    """What is in progress, the newest first; `unread` says which records cannot be read."""

    runs: tuple[Running, ...]
    unread: tuple[str, ...]


@dataclass(frozen=True)
class RestorePage:
    """Some restores, newest first, and the cursor of the next page; None: this is the last one.

    `unread` says which records cannot be read.
    """

    restores: tuple[Restore, ...]
    next: str | None
    unread: tuple[str, ...] = ()


@dataclass(frozen=True)
class OneRestore:
    """A restore (or a dry run of one) and its report, which exists once it has ended well."""

    restore: Restore
    report: RestoreReport | None


def list_running(source: Source, may: May = everyone) -> Runs:
    """Return what is in progress."""
    damaged: list[IntegrityError] = []
    backups: Iterator[Backup | Restore] = iter(source.catalog.backups(status=Status.IN_PROGRESS, damaged=damaged))
    restores: Iterator[Backup | Restore] = iter(source.catalog.restores(status=Status.IN_PROGRESS, damaged=damaged))
    merged = heapq.merge(backups, restores, key=lambda run: run.id, reverse=True)
    found = tuple(running(run, source.now) for run in merged if may(run.target))
    return Runs(found, unread_of(damaged, may))


def running(run: Backup | Restore, now: datetime) -> Running:
    """Return how far a run in progress is."""
    # Here, for the cost of a cold start: the module brings what ends dead runs.
    from coffre.operations.runs.dead_runs import STALE_AFTER, is_silent

    done = run.progress
    share = _share(done)
    took = (now - run.created_at).total_seconds()
    left = took * (1 - share) / share if share else None
    return Running(run, done, run.created_at, share, left, is_silent(run, now, STALE_AFTER))


def _share(done: Progress) -> float | None:
    """Return which part is done, by bytes: the total is an estimate until the end."""
    if done.total_bytes <= 0:
        return None
    return min(1.0, done.done_bytes / done.total_bytes)


def list_restores(
    source: Source,
    *,
    target: str | None = None,
    status: Status | None = None,
    size: int = PAGE_SIZE,
    cursor: str | None = None,
    may: May = everyone,
) -> RestorePage:
    """Return a page of restores, with one call of the catalog however many exist."""
    fits = None if may is everyone else lambda one: may(one.target)
    found = source.catalog.page_of_restores(size, target=target, status=status, before=cursor, fits=fits)
    return RestorePage(found.records, found.next, unread_of(found.damaged, may))


def one_restore(source: Source, restore: Restore) -> OneRestore:
    """Return a restore with its report."""
    report = source.vault.read_report(restore.report_key) if restore.report_key else None
    return OneRestore(restore, report)
