"""A database with a journal, that is changed, drained and restored to moments."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.integration.contents import RoundTrip, rows, run
from tests.integration.forked import forked, was_killed

from coffre.model.backup import Status
from coffre.model.restore import Scope
from coffre.model.restore_report import RestoreReport
from coffre.operations.journal.drain import drain
from coffre.operations.journal.job import JournalJob
from coffre.operations.restore_database.job import RestoreJob
from coffre.operations.restore_database.restore import restore_database
from coffre.operations.runs.parallel_map import ThreadRunner
from coffre.operations.runs.progress import Meter
from coffre.postgres.connection.client_tools import Children
from coffre.postgres.connection.connection_secret import parse_secret
from coffre.postgres.journal.applying import Applier, Position
from coffre.postgres.journal.statements import Statement
from coffre.vault.codec import FrameEncoder, public_key
from coffre_local.sample import fingerprint, sequences

SOURCE = (
    "CREATE TABLE customer (id serial PRIMARY KEY, name text UNIQUE)",
    "CREATE TABLE bill (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer int NOT NULL, cents int)",
    "ALTER TABLE bill ADD FOREIGN KEY (customer) REFERENCES customer ON DELETE CASCADE, ADD CHECK (cents > 0)",
    "CREATE TABLE noted (at timestamptz DEFAULT now(), what text)",
    """CREATE FUNCTION notes() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN INSERT INTO public.noted (what) VALUES (TG_OP); RETURN NULL; END'""",
    "CREATE TRIGGER notes AFTER INSERT OR UPDATE ON bill FOR EACH ROW EXECUTE FUNCTION notes()",
    "CREATE TABLE part (id int, v text, PRIMARY KEY (id)) PARTITION BY RANGE (id)",
    "CREATE TABLE part_low PARTITION OF part FOR VALUES FROM (0) TO (100)",
    "CREATE TABLE named (a int NOT NULL, b text)",
    "CREATE UNIQUE INDEX named_a ON named (a)",
    "ALTER TABLE named REPLICA IDENTITY USING INDEX named_a",
    "CREATE UNLOGGED TABLE cached (id serial PRIMARY KEY)",
    "CREATE MATERIALIZED VIEW owed AS SELECT customer, sum(cents) AS cents FROM bill GROUP BY 1",
    "INSERT INTO customer (name) SELECT 'c' || g FROM generate_series(1, 50) g",
    "INSERT INTO bill (customer, cents) SELECT 1 + g % 50, g FROM generate_series(1, 500) g",
    "INSERT INTO part SELECT g, 'x' FROM generate_series(1, 50) g",
    "INSERT INTO named SELECT g, 'y' FROM generate_series(1, 50) g",
    "INSERT INTO cached DEFAULT VALUES",
    "REFRESH MATERIALIZED VIEW owed",
)
CHANGES = (
    "DELETE FROM customer WHERE id = {n}",
    "INSERT INTO customer (name) VALUES ('new {n}')",
    "INSERT INTO bill (customer, cents) SELECT id, {n} FROM customer WHERE id > 10",
    "UPDATE bill SET cents = cents + 1 WHERE id % 7 = 0",
    "UPDATE customer SET name = name || '.' WHERE id % 5 = 0",
    "UPDATE part SET v = v || '{n}' WHERE id < 20; DELETE FROM part WHERE id = 30 + {n}",
    "UPDATE named SET a = a + 1000 WHERE a = {n}; DELETE FROM named WHERE a = 20 + {n}",
    "REFRESH MATERIALIZED VIEW owed",
)


def journal_of(round_trip: RoundTrip) -> JournalJob:
    """The journal of the source, which is drained into the vault that backups are in."""
    coffre = round_trip.coffre
    services = coffre.backup_function().services
    recipient = public_key(coffre.identity)
    return JournalJob(
        target="shop",
        connection=parse_secret(round_trip.source, where="in a test"),
        vault=services.vault,
        encoder=FrameEncoder([recipient]),
        recipients=(recipient,),
        journals=coffre.catalog.journals,
        bases=list,
        ask_for_base=lambda _: None,
        now=lambda: datetime.now(UTC),
        remaining_seconds=lambda: 300.0,
    )


class Story:
    """A database with a journal and a base, that is changed and drained in turns; what it had at each turn."""

    def __init__(self, round_trip: RoundTrip, *more: str) -> None:
        self.round_trip, self.source = round_trip, round_trip.source
        round_trip.fill(*SOURCE, *more)
        round_trip.coffre.configure(self.source)
        self.job = journal_of(round_trip)
        drain(self.job)
        self.base = round_trip.back_up(journal={})
        self.turns = list[Turn]()

    def go_on(self, *more: str) -> None:
        n = len(self.turns) + 1
        run(self.source, *(change.format(n=n) for change in CHANGES), *more)
        ((at, lsn),) = rows(self.source, "SELECT clock_timestamp()::text, pg_current_wal_flush_lsn()::text")
        self.turns.append(Turn(at, lsn, fingerprint(self.source), sequences(self.source)))

    def restored(self, turn: Turn, **event: Any) -> RestoreReport:
        """Restore a moment into the copy, and compare it with what the source had then."""
        answer = self.round_trip.coffre.restore("latest", self.round_trip.copy, target="shop", **event)
        turn.require(self.round_trip.copy)
        return self.report(answer)

    def report(self, answer: dict[str, Any]) -> RestoreReport:
        record = self.round_trip.coffre.catalog.get_restore(answer["id"])
        assert record.status is Status.COMPLETED
        assert record.report_key
        return RestoreReport.model_validate_json(self.round_trip.coffre.objects(record.report_key)[record.report_key])

    def drop_copy(self) -> None:
        run(self.round_trip.server.dsn(), f"DROP DATABASE {self.round_trip.copy.rpartition('/')[2]}")


@dataclass(frozen=True)
class Turn:
    """A moment: its time, its position, all rows, and the values of sequences."""

    at: str
    lsn: str
    rows: object
    numbers: Mapping[str, Any]

    def require(self, url: str) -> None:
        """All rows are equal, and each sequence is where it was or further."""
        assert fingerprint(url) == self.rows
        numbers = sequences(url)
        assert numbers.keys() == self.numbers.keys()
        assert all(numbers[name] >= value for name, value in self.numbers.items())


def attempt(
    story: Story, url: str, restore_id: str, scope: Scope, scratch: Path, *, continues: bool = False
) -> RestoreReport:
    """Restore as the function does it, in this process."""
    children = Children(run_id=restore_id)
    services = story.round_trip.coffre.restore_function().services
    with children.ending():
        job = RestoreJob(
            restore_id=restore_id,
            backup=story.base,
            connection=children.watching(parse_secret(url, where="in a test")),
            children=children,
            vault=services.vault,
            decoder=services.decoder("shop"),
            scratch=scratch,
            streams=2,
            runner=ThreadRunner(4, children.end_all),
            scope=scope,
            continues=continues,
            is_resumable=True,
        )
        return restore_database(job, Meter())


def killed_at_commit(number: int, work: Callable[[], object]) -> None:
    """Do work in a process of its own, which is killed before its replay commits for this time."""

    def work_and_die() -> None:
        commits, commit = itertools.count(1), Applier._commit

        def dies(self: Applier, statements: Sequence[Statement], position: Position) -> None:
            if next(commits) == number:  # in the order of the commits: those before are done
                os.kill(os.getpid(), signal.SIGKILL)
            commit(self, statements, position)

        Applier._commit = dies  # type: ignore[method-assign]
        work()

    assert was_killed(forked(work_and_die)), "it ended before it was to be killed"
