"""What of a journal can be restored: its intervals, each from its first base to its end."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from coffre.catalog.catalog import Catalog
from coffre.model.errors import IntegrityError, ObjectMissingError
from coffre.model.journal import IntervalEnd, JournalInterval, JournalSegment, JournalState
from coffre.model.manifest import JournalBase
from coffre.operations.stored_backup.open_backup import manifest_of
from coffre.policy.journal import bases_of
from coffre.vault.journal import intervals, read_end, read_segment
from coffre.vault.layout import SegmentKey, interval_of, segment_of
from coffre.vault.segment_runs import SegmentRun, cut_error, segment_runs
from coffre.vault.vault import Vault

_END: Final = "the record of its end is damaged"

type _Base = tuple[str, str, JournalBase | None]


class _UnreadableError(Exception):
    """The record of a segment cannot be read; `key` names it."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


@dataclass(frozen=True)
class Stretch:
    """An interval, or a part of one that lacks a segment. Moments from `since` to `until` can be restored; None: none
    can, for lack of a base or an end.

    `bases` are the ids of the backups that its changes can be applied to, the newest first. `damage` says what of it is
    damaged or missing, at the end of a part what it was cut by.
    """

    interval: JournalInterval
    end: IntervalEnd | None
    bases: tuple[str, ...]
    since: datetime | None
    until: datetime | None
    damage: str | None = None

    @property
    def why(self) -> str:
        """Why it has no later moments, or that it is open."""
        if self.damage is not None or self.end is None:
            return self.damage or "open"
        return f"{self.end.reason}: {self.end.text}" if self.end.text else self.end.reason.value

    @property
    def tail_until(self) -> datetime | None:
        """Up to when it has moments of which it is not known whether definitions were changed before; None: of none.

        Its last rows need not fit (`postgres/journal/fitting.py`), which only a private key shows.
        """
        return self.end.tail_until if self.end is not None and self.bases and self.damage is None else None


def stretches(
    catalog: Catalog, vault: Vault, target: str, on_damage: Callable[[IntegrityError], None]
) -> list[Stretch]:
    """Return the intervals of a target, the newest first; errors of damaged records are given to `on_damage`.

    One whose own record is damaged is left out. Of records of segments those are read again that a verification has
    found damaged, and the last ones.
    """
    found = intervals(vault, target, on_damage)
    if not found:
        return []
    known = _Known(
        vault,
        catalog.journals.find(target),
        _backups(catalog, vault, target, found[0].started_at),
        catalog.latest.damaged_of_journal(target),
    )
    listed = list[Stretch]()
    for interval in reversed(found):
        try:
            listed += reversed(list(known.parts(interval, on_damage)))
        except IntegrityError as error:
            on_damage(error)
            listed.append(Stretch(interval, None, (), None, None, f"damaged [{error.code}]"))
    return listed


@dataclass(frozen=True)
class _Known:
    vault: Vault
    state: JournalState | None
    backups: Sequence[_Base]
    damaged: frozenset[str]

    def parts(self, interval: JournalInterval, on_damage: Callable[[IntegrityError], None]) -> list[Stretch]:
        """Return the parts of an interval, the oldest first."""
        end, damage = None, None
        try:
            end = read_end(self.vault, interval.target, interval.id)
        except ObjectMissingError:
            pass
        except IntegrityError as error:
            on_damage(error)
            damage = _END
        damaged, found = self._still_damaged(interval), None
        while found is None:
            runs = segment_runs(self.vault, interval.target, interval.id, damaged)
            try:
                found = list(self._parts_of(interval, runs, end, damage))
            except _UnreadableError as error:  # no verification has found it yet
                damaged.add(error.key)
        for run in runs[1:]:
            on_damage(cut_error(interval, run.why or ""))
        return found or [Stretch(interval, end, (), None, None, runs[-1].why)]

    def _parts_of(
        self, interval: JournalInterval, runs: Sequence[SegmentRun], end: IntervalEnd | None, damage: str | None
    ) -> Iterator[Stretch]:
        for run, following in itertools.pairwise(runs):
            if run.keys:
                yield self._part(interval, run, self._last(run.keys), following.why)
        last = runs[-1]
        if not last.keys and last.why is not None:
            return
        if damage is not None:  # a drain that did not know of the end can have stored one more
            yield self._part(interval, last, self._last(last.keys[:-1]), damage)
        else:
            yield self._open_or_ended(interval, end, last)

    def _open_or_ended(self, interval: JournalInterval, end: IntervalEnd | None, run: SegmentRun) -> Stretch:
        number = run.keys[-1].number if run.keys else 0
        if end is not None and end.number is not None and number < end.number:
            damage = f"the segments from {number + 1} to {end.number} are missing"
            return self._part(interval, run, self._last(run.keys), damage, end)
        state = self.state if self.state is not None and self.state.interval == interval.id else None
        known = end or state
        return self._part(interval, run, (known.seen_at if known else None, None), None, end)

    def _part(
        self,
        interval: JournalInterval,
        run: SegmentRun,
        last: tuple[datetime | None, int | None],
        damage: str | None,
        end: IntervalEnd | None = None,
    ) -> Stretch:
        """Return a part whose last moment and position are known."""
        until, lsn = last
        # A base whose next segments were removed, as rotation does, makes no moment.
        first = run.keys[0].from_lsn if run.keys else interval.from_lsn
        if run.why is not None:  # nor one that may need what came before
            first = self._read(run.keys[0]).to_lsn
        found = bases_of(interval, end, self.backups)
        bases = [(name, base) for name, base in found if base.before_lsn >= first and (lsn is None or base.lsn <= lsn)]
        since = min((base.at for _, base in bases), default=None)
        if since is None or until is None or until < since:
            since = until = None
        return Stretch(interval, end, tuple(name for name, _ in bases), since, until, damage)

    def _last(self, keys: Sequence[SegmentKey]) -> tuple[datetime | None, int | None]:
        """Return up to where moments can be restored if there is no more than these segments."""
        if not keys:
            return None, 0
        segment = self._read(keys[-1])
        return (segment.seen_at if segment.is_complete else segment.last_commit), segment.to_lsn

    def _read(self, key: SegmentKey) -> JournalSegment:
        try:
            return read_segment(self.vault, key, None)[0]
        except IntegrityError as error:
            raise _UnreadableError(key.key) from error

    def _still_damaged(self, interval: JournalInterval) -> set[str]:
        """Return the records that were found damaged and are: only their own bytes can show that they were mended."""
        found = set()
        for name in self.damaged:
            key = segment_of(name)
            if key is not None and interval_of(name) == (interval.target, interval.id):
                try:
                    read_segment(self.vault, key, None)
                except IntegrityError:
                    found.add(name)
                except ObjectMissingError:
                    continue
        return found


def _backups(catalog: Catalog, vault: Vault, target: str, since: datetime) -> list[_Base]:
    """Return what the manifests of completed backups say of a journal; damaged ones are no bases."""
    found = list[_Base]()
    for backup in catalog.completed_backups(target):
        if backup.created_at < since or not backup.is_healthy:
            continue
        with suppress(IntegrityError, ObjectMissingError):
            content = manifest_of(vault, backup).database
            if content is not None:
                found.append((backup.id, content.database, content.journal))
    return found
