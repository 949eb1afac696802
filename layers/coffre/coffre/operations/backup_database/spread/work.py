"""Store one group of parts of a spread backup. It can be repeated: what is recorded is not stored again."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Final

from coffre.catalog.spread import GroupState
from coffre.concurrency.memory_budget import MemoryBudget
from coffre.model.backup import Failure
from coffre.model.errors import CatalogError
from coffre.model.manifest import PackReference
from coffre.operations.backup_database.backup import store_large_objects
from coffre.operations.backup_database.job import BackupPlan
from coffre.operations.backup_database.lock_yield import yielding_locks
from coffre.operations.backup_database.part import open_reader, run_part
from coffre.operations.backup_database.plan import LARGE_OBJECTS_PART, open_history_of
from coffre.operations.backup_database.spread.plan_files import read_group
from coffre.operations.backup_database.spread.step import WORTH_WAITING_SECONDS, Step, connected, newest_snapshot
from coffre.operations.runs.heartbeat import Watch
from coffre.operations.runs.progress import Meter
from coffre.operations.runs.session_pool import SessionPool
from coffre.policy.connection_counts import streams_that_fit
from coffre.policy.slicing import Part
from coffre.postgres.source.dump import SliceReader
from coffre.postgres.source.present_catalog import PresentCatalog, present_catalog
from coffre.postgres.source.snapshot import Holder
from coffre.vault.entry_lines import read_lines
from coffre.vault.history import NO_HISTORY, History
from coffre.vault.pack import budget_for, packs_for
from coffre.vault.part_records import StoredPart, recorded_parts, write_part

_LARGE_OBJECTS: Final = "large_objects"
# A catalog that is away is waited for: five minutes.
_NOTED_AFTER: Final = 60
_NOTE_PAUSE_SECONDS: Final = 5.0


@dataclass(frozen=True)
class _Reading:
    """What storing a part needs."""

    plan: BackupPlan
    readers: SessionPool[SliceReader]
    memory: MemoryBudget
    holder: Holder
    present: PresentCatalog


class Group:
    """A group of parts while it is worked on.

    Parameters
    ----------
    number
        Of the group in the plan.
    """

    def __init__(self, step: Step, number: int) -> None:
        self._step = step
        self._number = number
        self._lock = threading.Lock()
        self._meter = Meter()
        self._done_bytes = self._done_tables = 0

    def work(self, watch: Watch) -> int:
        """Store the parts that have no record yet, and return their number.

        Raises
        ------
        SnapshotGoneError
            `SNAPSHOT_LOST`
        ConnectError
            `WRONG_SERVER`
        IntegrityError
            `PLAN_MISSING`, `PLAN_CHANGED`
        DumpTransientError
            `LOCK_YIELDED`, `CONNECTION_LOST` ...: another attempt may succeed.
        LockLostError
            The run has ended.
        """
        step = self._step
        parts = read_group(step.job.vault, step.header, self._number)
        recorded = set(recorded_parts(step.job.vault, step.header.target, step.header.backup_id))
        missing = [part for part in parts if part.number not in recorded]
        for part in parts:
            if part.number in recorded:
                self._add(part)
        if missing:
            self._store(missing, watch)
        self.say(is_over=True)
        return len(missing)

    def beat(self) -> None:
        """Record how far the group is.

        Raises
        ------
        LockLostError
            The run has ended.
        """
        self._step.require_running()
        self.say()

    def say(self, *, is_over: bool = False, failure: Failure | None = None) -> None:
        """Record how far the group is, or how the attempt ended."""
        with self._lock:
            state = GroupState(
                number=self._number,
                attempt=self._step.attempt,
                seen_at=self._step.job.now(),
                done_bytes=self._done_bytes,
                done_tables=self._done_tables,
                current=self._meter.read().current,
                is_over=is_over,
                failure=failure,
            )
        self._step.catalog.spread.put_group(self._step.header.backup_id, state)

    def _store(self, parts: Sequence[Part], watch: Watch) -> None:
        history = self._history(parts)
        with (
            connected(self._step, lambda stack: self._open(parts, history, stack)) as reading,
            yielding_locks(reading.present, watch, keep_alive=reading.holder.keep_alive),
        ):
            for _ in self._step.job.runner(lambda part: self._store_part(part, reading), parts):
                pass

    def _open(self, parts: Sequence[Part], history: History, stack: ExitStack) -> _Reading:
        """Open the connections without which nothing can be read. The others are opened when they are needed."""
        step, job = self._step, self._step.job
        holder = stack.enter_context(newest_snapshot(step)).holder
        patience = job.target.limits.lock_timeout_seconds
        present = stack.enter_context(present_catalog(job.connection, job.children, patience_seconds=patience))
        fitting = streams_that_fit(step.header.streams, holder.free_connections())
        plan = self._plan(holder.snapshot, parts, history)
        memory = budget_for(packs_for(fitting))
        readers = stack.enter_context(SessionPool(lambda _: open_reader(job, plan, present), fitting))
        if any(part.slices for part in parts):
            with readers.borrow():
                pass
        return _Reading(plan, readers, memory, holder, present)

    def _plan(self, snapshot: str, parts: Sequence[Part], history: History) -> BackupPlan:
        """Return a plan that has what parts need, and nothing of the tables of other groups."""
        header = self._step.header
        return BackupPlan(
            backup=self._step.backup,
            snapshot=snapshot,
            facts=header.facts,
            client_version="",
            tables=(),
            tables_without_rows=(),
            roots={},
            sequences=(),
            materialized_views=(),
            schema_archive=self._step.job.scratch / "none",
            roles=None,
            parts=tuple(parts),
            history=history,
        )

    def _history(self, parts: Sequence[Part]) -> History:
        job = self._step.job
        others = [(LARGE_OBJECTS_PART, _LARGE_OBJECTS)] if parts[0].number == LARGE_OBJECTS_PART else []
        tables = [part for part in parts if part.slices]
        last = tables[-1].slices[-1].name if tables else _LARGE_OBJECTS
        # The header's planner has checked the previous backup, and noted what is wrong with it.
        is_first = job.previous is None and not job.unfinished
        history, _ = (NO_HISTORY, ()) if is_first else open_history_of(job, tables, others, end=f"{last}\0")
        return history

    def _store_part(self, part: Part, reading: _Reading) -> None:
        job, header = self._step.job, self._step.header
        if part.number == LARGE_OBJECTS_PART:
            stored = store_large_objects(job, reading.plan, reading.memory)
        else:
            stored = run_part(job, reading.plan, part, reading.readers, reading.memory, self._meter)
        whole = replace(stored, packs=packs_of(stored, reading.plan.history))
        sha256 = write_part(job.vault, header.target, header.backup_id, whole, job.recipients)
        if sha256 is not None:
            self._note(part.number, sha256)
        stored.entries.unlink()
        self._add(part)

    def _note(self, number: int, sha256: str) -> None:
        """Add the hash of a record that the vault has by now: no other attempt can, and without it nothing is sealed.

        Raises
        ------
        CatalogError
            The catalog has not answered for minutes.
        """
        step = self._step
        for _ in range(_NOTED_AFTER):
            try:
                return step.catalog.parts.add(step.header.backup_id, number, sha256, step.job.now())
            except CatalogError:
                if step.remaining_seconds() < WORTH_WAITING_SECONDS:
                    raise
            step.pause(_NOTE_PAUSE_SECONDS)
        return step.catalog.parts.add(step.header.backup_id, number, sha256, step.job.now())

    def _add(self, part: Part) -> None:
        with self._lock:
            self._done_bytes += part.size_bytes
            self._done_tables += sum(piece.number == 0 for piece in part.slices)


def packs_of(stored: StoredPart, history: History) -> tuple[PackReference, ...]:
    """Return the packs that a part points at, those of earlier runs included: its record alone is enough to seal it."""
    keys = {frame.pack for entry in read_lines(stored.entries) for frame in entry.frames}
    own = {pack.key for pack in stored.packs}
    return (*stored.packs, *(history.packs[key] for key in sorted(keys - own)))
