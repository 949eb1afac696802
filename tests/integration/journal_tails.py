"""Random transactions among which definitions are changed, and what the tail makes of them (also for a benchmark)."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from tests.integration.journal_scene import TABLES, Mark, Scene, Workload
from tests.integration.journal_vault import Journal, Killed, killed_at

from coffre.model.errors import JournalError
from coffre.model.journal import IntervalEnd, JournalInterval
from coffre.model.manifest import JournalBase
from coffre.model.names import qualified
from coffre.postgres.journal.changes import Line
from coffre.postgres.journal.fitting import Fit, fit
from coffre.postgres.journal.transactions import Moment
from coffre.vault.codec import FrameDecoder
from coffre.vault.journal import read_lines

# Each with the tables whose rows are not what they were, afterwards.
CHANGES: Final = (
    ("DROP TABLE ref", ("ref",)),
    ("DROP TABLE acc CASCADE", ("acc",)),
    ("DROP TABLE part", ("part_a", "part B", "part_rest")),
    ("ALTER TABLE acc ADD COLUMN more int DEFAULT 7", ("acc",)),
    ("ALTER TABLE doc DROP COLUMN list", ("doc",)),
    ("ALTER TABLE doc RENAME COLUMN body TO text", ("doc",)),
    ("ALTER TABLE lines RENAME TO rows_of_text", ("lines",)),
    ("ALTER TABLE whole ALTER COLUMN own TYPE bigint USING own * 2", ("whole",)),
    ("ALTER TABLE named REPLICA IDENTITY NOTHING", ("named",)),
    ("ALTER TABLE part DETACH PARTITION part_a", ()),
    (
        "UPDATE parent SET x = 'set'; ALTER TABLE parent ADD COLUMN z text; INSERT INTO parent VALUES (-9, 'q', 'r')",
        ("parent", "child"),
    ),
    ("CREATE TABLE fresh (id int PRIMARY KEY); INSERT INTO fresh VALUES (1)", ()),
    ("CREATE INDEX ON acc (t)", ()),
    ("ALTER TABLE acc ADD CHECK (id > -100000000)", ()),
    ("VACUUM FULL doc", ()),
    ("CREATE FUNCTION other() RETURNS int LANGUAGE sql AS 'SELECT 1'", ()),
)


@dataclass(frozen=True)
class Tailed:
    """A journal with a tail, the marks in it before and after the change, and the tables that it concerned."""

    before: list[Mark]
    after: list[Mark]
    concerned: tuple[str, ...]
    base: JournalBase
    interval: JournalInterval


def tailed(journal: Journal, seed: int) -> Tailed:
    """Run a workload in which definitions change. The drain that finds it is killed as the seed says."""
    scene = journal.scene
    scene.begin(TABLES)
    work = Workload(scene, seed)
    chance = work.random
    journal.drain()
    for _ in range(20):
        work.step()
    scene.take_base()
    base = journal.base()
    for _ in range(20):
        work.step()
    journal.drain()
    before = marks_of(work, 3)
    work.finish()
    statement, concerned = chance.choice(CHANGES)
    change(scene, statement)
    after = marks_of(work, 2)
    work.finish()
    for _ in range(chance.randrange(3)):
        with killed_at(chance.randrange(6)), suppress(Killed):
            journal.drain()
    journal.drain()
    return Tailed(before, after, concerned, base, journal.intervals()[-2])


def play_tail(journal: Journal, seed: int) -> int:
    """Run a workload in which definitions change, and compare the moments of the tail; returns how many there were.

    Before the change every table has to be equal, after it every table that it did not concern, as far as transactions
    fit.
    """
    scene, played = journal.scene, tailed(journal, seed)
    end, found = tail_of(journal)
    scene.segments = [*journal.lines(played.interval), found]
    fitting = fit(lambda: iter(found), scene.source.definitions, end.stored_lsn)
    for mark in played.before:
        require(scene, mark, ())
    reached = [mark for mark in played.after if is_reached(mark.moment, fitting)]
    for number, mark in enumerate(reached):
        try:
            require(scene, mark, played.concerned)
        except JournalError as error:  # a constraint of before refuses a row of after: what came before is applied
            assert error.code == "JOURNAL_REPLAY"  # noqa: PT017
            return len(played.before) + number
    return len(played.before) + len(reached)


def marks_of(work: Workload, number: int) -> list[Mark]:
    """Let the workload take some steps, and return what the tables have in between."""
    for _ in range(number):
        for _ in range(8):
            work.step()
        work.scene.mark()
    return work.scene.marks[-number:]


def change(scene: Scene, statement: str) -> None:
    """Change definitions, in a session of its own."""
    session = scene.writer()
    session.autocommit = statement.startswith("VACUUM")
    with session.cursor() as cursor:
        cursor.execute(statement)
    if not session.autocommit:
        session.commit()


def tail_of(journal: Journal) -> tuple[IntervalEnd, list[Line]]:
    """Return how the last interval but one has ended, and the lines of its tail."""
    end = journal.end(-2)
    assert end.tail is not None
    return end, [Line(*line) for line in read_lines(journal.job.vault, end.tail, FrameDecoder([journal.identity]))]


def is_reached(moment: Moment, fitting: Fit) -> bool:
    """Return whether all transactions up to a moment fit."""
    return fitting.misfit is None or moment.is_before(fitting.misfit)


def require(scene: Scene, mark: Mark, concerned: tuple[str, ...]) -> None:
    """Apply the journal up to a mark, and compare the tables that were not concerned by the change."""
    scene.replay_to(mark.moment)
    left_out = {qualified("public", name) for name in concerned}
    here = scene.hashes(scene.copy)
    different = {
        name: (here[name], rows)
        for name, rows in mark.hashes.items()
        if name in here and name not in left_out and here[name] != rows
    }
    assert not different, f"{mark.moment}: {different}"
