"""A journal that is drained into a vault, and what can go wrong on the way."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from tests.integration.journal_scene import Scene

from coffre.catalog.catalog import Catalog
from coffre.model.journal import IntervalEnd, JournalInterval, JournalSegment, JournalState
from coffre.model.manifest import JournalBase
from coffre.operations.journal.drain import drain
from coffre.operations.journal.job import DrainReport, JournalJob
from coffre.postgres.connection.connect import connect
from coffre.postgres.journal.changes import Line
from coffre.postgres.journal.fingerprint import read_base
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
        """What the manifest of a backup would say now."""
        with connect(self.job.connection) as session:
            with session, session.cursor() as cursor:
                cursor.execute("SELECT pg_current_wal_flush_lsn()::text")
                ((text,),) = cursor.fetchall()
            session.set_session(isolation_level="REPEATABLE READ", readonly=True)
            with session:
                return read_base(session, text)

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
    recipient = public_key(identity)
    asked, known = list[str](), list[JournalBase]()
    folder = scene.scratch / f"vault-{scene.name}"
    folder.mkdir()
    job = JournalJob(
        target=TARGET,
        connection=scene.connection(scene.name),
        vault=Vault(DirectoryStore(folder)),
        encoder=FrameEncoder([recipient]),
        recipients=(recipient,),
        journals=catalog.journals,
        bases=lambda: known,
        ask_for_base=asked.append,
        now=lambda: datetime.now(UTC),
        remaining_seconds=lambda: 300.0,
    )
    journal = Journal(scene, catalog, job, identity, asked, known)
    scene.stack.callback(journal.drop_slots)
    return journal
