"""A journal that is drained into a vault, and what can go wrong on the way."""

from __future__ import annotations

import random
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests.integration.journal_scene import Scene

from coffre.catalog.catalog import Catalog
from coffre.catalog.journals import Journals
from coffre.model.journal import IntervalEnd, JournalInterval, JournalSegment, JournalState
from coffre.model.manifest import JournalBase
from coffre.operations.journal.drain import drain
from coffre.operations.journal.job import DrainReport, JournalJob
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.client_tools import Children
from coffre.postgres.connection.connect import connect
from coffre.postgres.journal import slot
from coffre.postgres.journal.changes import Line
from coffre.postgres.journal.fingerprint import read_base
from coffre.postgres.source.snapshot import hold_snapshot
from coffre.stores.directory import DirectoryStore
from coffre.vault.codec import FrameDecoder, FrameEncoder, new_identity, public_key
from coffre.vault.journal import intervals, read_end, read_lines, read_segment, segment_keys
from coffre.vault.vault import Vault

TARGET = "shop"


class Killed(BaseException):
    """The process is gone here."""


@dataclass
class Journal:
    """A target with a journal."""

    scene: Scene
    catalog: Catalog
    job: JournalJob
    identity: str
    asked: list[str] = field(default_factory=list)
    known: list[JournalBase] = field(default_factory=list)

    def drain(self, **changes: Any) -> DrainReport:
        return drain(replace(self.job, **changes))

    @property
    def state(self) -> JournalState:
        state = self.catalog.journals.find(TARGET)
        assert state is not None
        return state

    def intervals(self) -> list[JournalInterval]:
        return intervals(self.job.vault, TARGET)

    def end(self, number: int = -1) -> IntervalEnd:
        return read_end(self.job.vault, TARGET, self.intervals()[number].id)

    def segments(self, interval: JournalInterval | None = None) -> list[JournalSegment]:
        """Return the segments of an interval, whose chain is checked."""
        interval = interval or self.intervals()[-1]
        found = list[JournalSegment]()
        previous = None
        for key in segment_keys(self.job.vault, TARGET, interval.id):
            segment, previous = read_segment(self.job.vault, key, previous)
            assert segment.from_lsn == (found[-1].to_lsn if found else interval.from_lsn)
            found.append(segment)
        return found

    def lines(self, interval: JournalInterval | None = None) -> list[list[Line]]:
        decoder = FrameDecoder([self.identity])
        return [
            [Line(*line) for line in read_lines(self.job.vault, segment, decoder)]
            for segment in self.segments(interval)
        ]

    def base(self) -> JournalBase:
        """Return what the manifest of a backup would say now."""
        with hold_snapshot(self.job.connection, Children(), lock_timeout_seconds=10, for_journal=True) as holder:
            wal_text = holder.wal_text
            assert wal_text is not None
            return holder.ask(lambda session: read_base(session, wal_text))

    def drop_slots(self) -> None:
        with connect(self.job.connection) as session, session, session.cursor() as cursor:
            cursor.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s",
                (self.scene.name,),
            )

    def replay_all(self) -> None:
        """Apply the open interval to the scene's copy, and compare it with the source."""
        self.scene.segments = self.lines()
        self.scene.replay_to()
        self.scene.require_equal()


def journal_of(scene: Scene, catalog: Catalog) -> Journal:
    """Return a target of a scene's database, whose journal has not begun."""
    identity = new_identity()
    asked, known = list[str](), list[JournalBase]()
    job = job_of(scene.connection(scene.name), catalog, scene.scratch / f"vault-{scene.name}", identity)
    job = replace(job, bases=lambda: known, ask_for_base=asked.append, plugin=scene.plugin)  # type: ignore[arg-type]
    journal = Journal(scene, catalog, job, identity, asked, known)
    scene.stack.callback(journal.drop_slots)
    return journal


def job_of(connection: Connection, catalog: Catalog, folder: Path, identity: str) -> JournalJob:
    """Return what drains a database into a vault in a new folder; no base comes."""
    folder.mkdir()
    recipient = public_key(identity)
    return JournalJob(
        target=TARGET,
        connection=connection,
        vault=Vault(DirectoryStore(folder)),
        encoder=FrameEncoder([recipient]),
        recipients=(recipient,),
        journals=catalog.journals,
        bases=lambda: (),
        ask_for_base=lambda _: None,
        now=lambda: datetime.now(UTC),
        remaining_seconds=lambda: 300.0,
    )


def killed_at(step: int) -> ExitStack:
    """Within this, the process ends before the step of this number that changes something outside of it."""
    left = iter(range(step))
    stack = ExitStack()

    def deadly(where: Any, name: str) -> None:
        real = getattr(where, name)

        def stepped(*args: Any, **named: Any) -> Any:
            if next(left, None) is None:
                raise Killed
            return real(*args, **named)

        stack.enter_context(patch.object(where, name, stepped))

    deadly(DirectoryStore, "put")
    deadly(Journals, "keep")
    for name in ("create", "advance", "drop"):
        deadly(slot, name)
    return stack


def drains_with_faults(journal: Journal, chance: random.Random) -> list[list[Line]]:
    """Drain until it is complete, and return all segments; processes are killed, and catalogs are lost, by chance."""
    for _ in range(chance.randrange(3)):
        seen = journal.catalog.journals.find(TARGET)
        # The vault does not have up to where a quiet database was read.
        if seen is not None and seen.stored_lsn == seen.segment_lsn and chance.random() < 0.3:
            journal.catalog.journals.forget(seen)
        with killed_at(chance.randrange(8)), suppress(Killed):
            journal.drain(step_bytes=chance.choice((20_000, 1 << 30)))
    journal.drain()
    [_] = journal.intervals()  # nothing of a workload is a barrier
    return journal.lines()
