"""Whole restores that are killed at random and run again: is every row there once, and what do the marks cost?

Each restore is a process that is killed (SIGKILL) after a random time, up to five times, and then ends. Its database
and its report are compared with those of a restore in one attempt. `--runs` says how many; `--seed` begins the numbers.
With `--workers`, that many processes load the rows together (docs/adr/0059). They are killed and begun again, one is
doubled, one begins late, and some still run when the restore continues without them.

A process that is killed between the end of its restore and its report leaves nothing that proves the end: then the next
attempt is refused (`RESUME_UNCLEAR`), and the contents alone are compared. These are counted as `unproven`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import psycopg2
from ulid import ULID

from benchmarks.backup_job import run_backup
from benchmarks.harness import progress
from benchmarks.newest import newest
from coffre.model.backup import Backup
from coffre.model.errors import CoffreError
from coffre.operations.restore_database import job, load_plan, load_transactions
from coffre.operations.restore_database.job import RestoreJob, Sharing, open_source
from coffre.operations.restore_database.restore import restore_database
from coffre.operations.restore_database.shared_loading import ShareOfRows
from coffre.operations.runs.parallel_map import ThreadRunner
from coffre.operations.runs.progress import Meter
from coffre.policy import slicing
from coffre.policy.spread import Shape
from coffre.postgres.connection.client_tools import Children
from coffre.postgres.connection.connection_secret import parse_secret
from coffre.postgres.connection.sessions import sharing_id
from coffre.postgres.destination import marks
from coffre.stores.directory import DirectoryStore
from coffre.vault.codec import FrameDecoder
from coffre.vault.vault import Vault
from coffre_local.postgres_server import PostgresServer
from coffre_local.sample import fingerprint
from coffre_local.toolchain import Toolchain

_MOST_KILLS: Final = 5
_TABLES: Final = 12
_SOURCE: Final = (
    *(f"CREATE TABLE small_{n} (id int PRIMARY KEY, v text DEFAULT 'x')" for n in range(_TABLES)),
    *(f"INSERT INTO small_{n} SELECT generate_series(1, {10 + n})" for n in range(_TABLES)),
    "CREATE TABLE large (id int PRIMARY KEY, v text)",
    "INSERT INTO large SELECT g, repeat(md5(g::text), 8) FROM generate_series(1, 30000) g",
    "CREATE TABLE kinds (id int PRIMARY KEY)",
    "CREATE TABLE points (id serial PRIMARY KEY, kind int REFERENCES kinds)",
    "INSERT INTO kinds SELECT generate_series(1, 10)",
    "INSERT INTO points (kind) SELECT 1 + g % 10 FROM generate_series(1, 2000) g",
    "SET session_replication_role = replica; DELETE FROM kinds WHERE id = 4",
    "CREATE FUNCTION positive(i int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true'",
    "CREATE TABLE checked (i int CHECK (positive(i)))",
    "INSERT INTO checked SELECT generate_series(-500, 500)",
    "CREATE OR REPLACE FUNCTION positive(i int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT i > 0'",
    "CREATE INDEX ON large (v)",
    "CREATE INDEX ON large (md5(v))",
    "CREATE MATERIALIZED VIEW many AS SELECT id % 7 AS k, count(*) AS n FROM large GROUP BY 1",
    "SELECT lo_from_bytea(oid, 'object') FROM generate_series(5000, 5100) AS oid",
)
_OBJECTS: Final = """
SELECT json_build_array(
    (SELECT json_agg((conname, convalidated, pg_get_constraintdef(oid)) ORDER BY conname, conrelid::regclass::text)
     FROM pg_constraint WHERE connamespace = 'public'::regnamespace),
    (SELECT json_agg(indexdef ORDER BY indexdef) FROM pg_indexes WHERE schemaname = 'public'),
    (SELECT json_agg(nspname ORDER BY nspname) FROM pg_namespace),
    (SELECT json_agg(many ORDER BY k) FROM many),
    (SELECT count(*) FROM pg_largeobject), (SELECT last_value FROM points_id_seq))::text
"""


type Said = dict[str, Any]


class Bench:
    """A server, a backup in many slices, and what a restore in one attempt makes of it."""

    def __init__(self, server: PostgresServer, vault: Path, backup: Backup) -> None:
        self._server = server
        self._vault = Vault(DirectoryStore(vault))
        self._backup = backup

    def attempt(
        self,
        name: str,
        restore_id: str,
        *,
        is_resumable: bool = True,
        continues: bool = False,
        sharing: Sharing | None = None,
    ) -> dict[str, Any]:
        """Restore, and return what the report says that does not depend on time."""
        children = Children(run_id=restore_id)
        with tempfile.TemporaryDirectory() as scratch, children.ending():
            wanted = self._job(name, restore_id, children, Path(scratch))
            wanted = replace(wanted, is_resumable=is_resumable, continues=continues, sharing=sharing)
            report = restore_database(wanted, Meter())
        said = report.model_dump(mode="json", include={"exceptions", "notes", "left_out", "rows", "tables"})
        said["tables"] = sorted([one["table"], one["rows"], one["size_bytes"]] for one in said["tables"])
        return {key: sorted(value, key=str) if isinstance(value, list) else value for key, value in said.items()}

    def _job(self, name: str, restore_id: str, children: Children, scratch: Path) -> RestoreJob:
        return RestoreJob(
            restore_id=restore_id,
            backup=self._backup,
            connection=children.watching(parse_secret(self._server.dsn(name), where="argument")),
            children=children,
            vault=self._vault,
            decoder=FrameDecoder(),
            scratch=scratch,
            streams=2,
            runner=ThreadRunner(4, children.end_all),
            is_resumable=True,
        )

    def share(self, name: str, restore_id: str, sharing: str, number: int, width: int) -> None:
        """Load a share of the rows."""
        children = Children(run_id=sharing_id(restore_id))
        with tempfile.TemporaryDirectory() as scratch, children.ending():
            wanted = self._job(name, restore_id, children, Path(scratch))
            ShareOfRows(wanted, sharing, number, width, Meter()).load(open_source(wanted))

    def shared(self, name: str, chance: random.Random, seconds: float, width: int) -> tuple[dict[str, Any], int]:
        """Restore with shares that are killed, doubled, late, and left behind; return as `retried` does."""
        restore_id = str(ULID())
        sharing = Sharing(lambda *_: (Shape(width, 2, 1, 1), "It is tried."), is_demanded=True)
        os.waitpid(_begin(lambda: self.attempt(name, restore_id, sharing=sharing)), 0)
        session = psycopg2.connect(self._server.dsn(name))
        (found,) = marks.read(session, marks.SHARED)
        session.close()

        def begin(number: int, after: float = 0.0) -> int:
            def late() -> None:
                time.sleep(after)
                self.share(name, restore_id, found, number, width)

            return _begin(late)

        pids = [begin(number) for number in (*range(width), chance.randrange(width))]
        time.sleep(chance.uniform(0, seconds))
        killed = [pid for pid in pids if chance.random() < 0.6]
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        pids += [begin(chance.randrange(width)) for _ in killed[:2]]
        pids.append(begin(0, chance.uniform(0, 1.5 * seconds)))
        time.sleep(chance.uniform(0, seconds / 2))
        said = self.attempt(name, restore_id, continues=True)
        return said, sum(os.WIFSIGNALED(os.waitpid(pid, 0)[1]) for pid in pids)

    def contents(self, name: str) -> object:
        """Return the hashes of all tables, and the objects."""
        session = psycopg2.connect(self._server.dsn(name))
        with session, session.cursor() as cursor:
            cursor.execute(_OBJECTS)
            ((objects,),) = cursor.fetchall()
        session.close()
        return fingerprint(self._server.dsn(name)), objects

    def retried(self, name: str, chance: random.Random, seconds: float) -> tuple[dict[str, Any] | None, int]:
        """Restore with kills, and return what the last report says, and how many times it was killed.

        None in place of a report: the process was killed after the end of its restore.
        """
        restore_id, kills = str(ULID()), 0
        with tempfile.TemporaryDirectory() as reports:
            report = Path(reports) / "report.json"
            for _ in range(chance.randint(1, _MOST_KILLS)):
                kills += self._killed(name, restore_id, report, chance.uniform(0, 1.2 * seconds))
                if report.exists():
                    return json.loads(report.read_text()), kills
        try:
            return self.attempt(name, restore_id, continues=True), kills
        except CoffreError as error:
            if error.code != "RESUME_UNCLEAR":
                raise
            return None, kills

    def _killed(self, name: str, restore_id: str, report: Path, after: float) -> bool:
        def work() -> None:
            said = json.dumps(self.attempt(name, restore_id, continues=True))
            report.with_suffix(".part").write_text(said)
            report.with_suffix(".part").rename(report)

        pid = _begin(work)
        time.sleep(after)
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        return os.WIFSIGNALED(status)

    def drop(self, name: str) -> None:
        """Remove a database."""
        self._server.drop_database(name)


def _begin(work: Callable[[], object]) -> int:
    """Do something in a process of its own, and return its id."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(1)
    return pid


@contextmanager
def bench() -> Iterator[Bench]:
    """Start a server, and back up a database of everything that a restore has to continue with."""
    slicing.SLICE_BLOCKS = 32  # type: ignore[misc]
    load_transactions._TABLES_AT_ONCE = 3  # type: ignore[misc]
    job.MARKED_BYTES = 0  # type: ignore[misc]
    load_plan.LARGEST_WHOLE_BYTES = 1_000_000  # type: ignore[misc]
    Toolchain(on_step=progress).copydata()
    home = Toolchain(on_step=progress).postgresql(18)
    with PostgresServer(home) as server, tempfile.TemporaryDirectory(prefix="coffre-bench-") as directory:
        url = server.create_database("bench")
        session = psycopg2.connect(url)
        session.autocommit = True
        with session.cursor() as cursor:
            for statement in _SOURCE:
                cursor.execute(statement)
        session.close()
        vault = Path(directory) / "vault"
        vault.mkdir()
        run_backup(url, home, vault, recipient=None, streams=2, previous=None)
        backup = newest(vault)
        if backup is None:
            raise SystemExit("no backup was made")
        yield Bench(server, vault, backup)


def main() -> None:
    """Kill restores, compare what came of them, and time restores with and without marks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0)
    given = parser.parse_args()
    with bench() as it:
        seconds: dict[bool, list[float]] = {True: [], False: []}
        for _ in range(7):
            for marked in seconds:
                began = time.monotonic()
                report = it.attempt("whole", str(ULID()), is_resumable=marked)
                seconds[marked].append(time.monotonic() - began)
                contents = it.contents("whole")
                it.drop("whole")
        best = {("marked" if marked else "not marked"): min(found) for marked, found in seconds.items()}
        kills = differing = unproven = 0
        found: dict[str, Any] | None
        for number in range(given.runs):
            chance = random.Random(given.seed + number)
            if given.workers:
                found, killed = it.shared("retried", chance, best["marked"], given.workers)
            else:
                found, killed = it.retried("retried", chance, best["marked"])
            kills += killed
            unproven += found is None
            if found not in (report, None) or it.contents("retried") != contents:
                differing += 1
                print(json.dumps({"seed": given.seed + number, "report": found, "whole": report}))
            it.drop("retried")
    print(
        json.dumps(
            {"restores": given.runs, "kills": kills, "differing": differing, "unproven": unproven, "seconds": best}
        )
    )
    if differing:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
