"""The function `drill`: real backups, restored into a real server of its own, compared, and told."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest
from tests.integration.conftest import Coffre, Context, new_id, run_sql
from tests.integration.contents import RoundTripOn
from tests.integration.drills import Insider, report_of, share_server, without_row
from tests.integration.faults import answer
from tests.integration.rich import ROLES, statements

from coffre.model.audit import Actor
from coffre.model.backup import Backup, Status
from coffre.model.drill import DrillRun, Outcome
from coffre.model.drill_report import Verdict
from coffre.model.errors import BackupStateError, CoffreError, RestoreError, TransientError
from coffre.operations.admin.cancel import Cancelling
from coffre.operations.drill import database as drill
from coffre.operations.drill import group as drill_group
from coffre.operations.drill import table_groups
from coffre.operations.drill.compare import compare_tables
from coffre.operations.restore_database.job import RestoreJob, Source, open_source
from coffre.operations.restore_database.sessions import loading_session
from coffre.operations.restore_database.whole_database import restore_whole
from coffre.operations.runs.heartbeat import Watch
from coffre.postgres.connection.client_tools import PostgresTools
from coffre.postgres.scratch import server as scratch
from coffre.postgres.scratch.server import ScratchServer, scratch_server
from coffre.vault.damage import read_damage
from coffre_local.postgres_server import PostgresServer
from coffre_local.toolchain import Toolchain

type Meanwhile = Callable[[str], None]


@pytest.fixture(scope="module")
def server(postgresql_home: Path) -> Iterator[ScratchServer]:
    """A scratch server that many drills use, one after the other."""
    with scratch_server(PostgresTools(postgresql_home)) as running:
        yield running


@pytest.fixture
def quick(server: ScratchServer, monkeypatch: pytest.MonkeyPatch) -> ScratchServer:
    """Let drills use it."""
    share_server(monkeypatch, server)
    return server


@pytest.fixture
def backup(coffre: Coffre, shop: str) -> Backup:
    """A good backup of the shop."""
    coffre.configure(shop)
    return coffre.catalog.get_backup(coffre.backup()["id"])


def postgres_processes() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True) if child.name().startswith("postgres")}


# --- a good backup ---


@pytest.fixture
def own_tmp(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory for temporary files that nobody else uses; its path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="drill-") as directory:
        Path(directory).chmod(0o755)
        monkeypatch.setattr(tempfile, "tempdir", directory)
        yield Path(directory)


def test_a_good_backup_is_proven_and_the_server_is_gone(coffre: Coffre, shop: str, own_tmp: Path) -> None:
    # Given a backup, and what its owner wants to know of it
    checks = [
        {"name": "orders", "query": "SELECT count(*) > 900 FROM orders;", "expect": True},
        {"name": "sum", "query": "SELECT sum(id) FROM customers", "expect": 1275},
        {"name": "oldest", "query": "SELECT min(name) FROM customers", "expect": "Ada Lovelace 1"},
        {"name": "none", "query": "SELECT max(id) FROM orders WHERE id < 0", "expect": None},
    ]
    coffre.configure(shop, target={"drill": {"rto_minutes": 5, "checks": checks}})
    made = coffre.catalog.get_backup(coffre.backup()["id"])
    before = postgres_processes()

    # When it is drilled
    answer = coffre.drill()

    # Then everything about it is proven
    report = report_of(coffre, made)
    assert (answer["outcome"], answer["id"], report.problems) == ("passed", report.id, ())
    assert (report.exceptions, report.limits, report.left_out) == ((), (), ())
    assert [(one.table, one.verdict, one.rows_found) for one in report.tables] == [
        ("public.customers", Verdict.EQUAL, 50),
        ("public.orders", Verdict.EQUAL, 1000),
    ]
    assert all(one.sha256 == one.sha256_found and one.slices_equal == one.slices == 1 for one in report.tables)
    assert [(one.name, one.passed, one.found) for one in report.checks] == [
        ("orders", True, True), ("sum", True, 1275), ("oldest", True, "Ada Lovelace 1"), ("none", True, None),
    ]  # fmt: skip
    assert report.structure.foreign_keys == 1
    assert report.structure.amcheck is not None
    assert report.restore_seconds is not None
    assert (report.restore_limit_seconds, report.is_late) == (300, False)
    assert coffre.catalog.latest.drills() == {"shop": report.summary}
    # And it counts as verified, nobody is told, and the page is there
    assert coffre.catalog.get_backup(made.id).verified_at == report.completed_at
    assert coffre.alerts() == []
    kept = [key.rpartition("/")[2] for key in coffre.objects(f"v1/backups/shop/{made.id}/reports/")]
    assert kept == [f"drill-{report.id}.html", f"drill-{report.id}.json"]
    # And of the server nothing is left
    assert (postgres_processes(), list(own_tmp.iterdir())) == (before, [])


@pytest.mark.parametrize("major", [18, 14])
def test_whatever_a_database_has_is_proven_or_named(
    coffre: Coffre,
    round_trip_on: RoundTripOn,
    server_of_major: Callable[[int], PostgresServer],
    major: int,
    quick: ScratchServer,
) -> None:
    trip = round_trip_on(server_of_major(major))
    for role in ROLES:
        trip.create_role(role)
    trip.fill(*statements(major), "CREATE TABLE tall AS SELECT n, md5(n::text) FROM generate_series(1, 60000) n")
    made = trip.back_up()

    assert coffre.drill()["outcome"] == "passed"

    report = report_of(coffre, made)
    others = {one.table: one.verdict for one in report.tables if one.verdict is not Verdict.EQUAL}
    assert others == {}
    assert next(one.slices_equal for one in report.tables if one.table == "public.tall") > 1
    said = "\n".join(report.exceptions)
    for lost in (
        "access method heap_too",
        "operator family public.rgb_family",
        "SERVER - files",
    ):
        assert lost in said
    assert all(sentence.startswith("Not restored: ") for sentence in report.exceptions)
    assert any("unseen of public.refers is NOT VALID" in sentence for sentence in report.limits)
    assert report.structure.large_objects == 1


# --- what is changed between backup and drill, by somebody who hides it ---

EVERYTHING = frozenset({"entry", "table", "manifest", "sha256", "catalog"})


@pytest.mark.parametrize(
    ("adapts", "code"),
    [
        (EVERYTHING - {"sha256"}, "MANIFEST_SWAPPED"),
        (frozenset({"sha256"}), "TOTALS_DIFFER"),
        (EVERYTHING - {"entry"}, "ROWS_DIFFER"),
        (EVERYTHING - {"table"}, "TOTALS_DIFFER"),
        (EVERYTHING - {"manifest"}, "TOTALS_DIFFER"),
        (EVERYTHING - {"catalog"}, "TOTALS_DIFFER"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_a_lost_row_is_found_where_any_number_or_hash_still_knows_it(
    coffre: Coffre, backup: Backup, quick: ScratchServer, tmp_path: Path, adapts: frozenset[str], code: str
) -> None:
    Insider(coffre, backup, tmp_path, adapts).change("public.orders", without_row(b"500\t"))

    answer = coffre.drill()

    assert (answer["outcome"], answer["failure"]["code"]) == ("failed", code)
    marked = coffre.catalog.get_backup(backup.id)
    assert (marked.verified_at, marked.is_healthy) == (None, False)
    (alert,) = coffre.alerts()
    assert alert["MessageAttributes"]["kind"]["Value"] == "DRILL_FAILED"


def test_a_lost_row_that_others_point_at_is_found_though_all_numbers_are_adapted(
    coffre: Coffre, backup: Backup, quick: ScratchServer, tmp_path: Path
) -> None:
    Insider(coffre, backup, tmp_path, EVERYTHING).change("public.customers", without_row(b"7\t"))

    answer = coffre.drill()

    assert (answer["outcome"], answer["failure"]["code"]) == ("incomplete", "RESTORE_INCOMPLETE")
    assert "violates foreign key constraint" in answer["failure"]["message"]
    assert coffre.catalog.get_backup(backup.id).verified_at is None
    (alert,) = coffre.alerts()
    assert alert["MessageAttributes"]["kind"]["Value"] == "DRILL_INCOMPLETE"
    # And it is not told again while it stays the same
    coffre.drill()
    assert coffre.alerts() == []


def test_a_key_that_is_there_twice_is_found_though_all_numbers_are_adapted(
    coffre: Coffre, backup: Backup, quick: ScratchServer, tmp_path: Path
) -> None:
    Insider(coffre, backup, tmp_path, EVERYTHING).change(
        "public.customers", lambda rows: rows.replace(b"9\t", b"8\t", 1)
    )

    answer = coffre.drill()

    assert (answer["outcome"], answer["failure"]["code"]) == ("incomplete", "RESTORE_INCOMPLETE")
    assert "could not create unique index" in answer["failure"]["message"]
    assert coffre.catalog.get_backup(backup.id).verified_at is None


def test_a_consistent_forgery_is_found_by_the_owners_check_alone(
    coffre: Coffre, shop: str, quick: ScratchServer, tmp_path: Path
) -> None:
    """What docs/drills.md says that a drill cannot promise."""
    check = {"name": "paid", "query": "SELECT count(*) FROM orders", "expect": 1000}
    for checks, outcome in (([], "passed"), ([check], "failed")):
        coffre.configure(shop, target={"drill": {"checks": checks}})
        made = coffre.catalog.get_backup(coffre.backup(full=True)["id"])
        Insider(coffre, made, tmp_path, EVERYTHING).change("public.orders", without_row(b"500\t"))

        answer = coffre.drill()

        assert answer["outcome"] == outcome
    assert answer["failure"]["code"] == "CHECK_FAILED"
    assert answer["problems"] == ['The check "paid" failed: expected 1000, found 999']


# --- a server that does not give back what it was given ---


def afterwards(patch: pytest.MonkeyPatch, *changes: str) -> None:
    """Let something happen to the restored database before it is compared."""

    def restore(job: RestoreJob, source: Source, outcome: Any) -> None:
        restore_whole(job, source, outcome)
        connection = job.connection
        with closing(
            psycopg2.connect(
                host=connection.host, user=connection.user, password=connection.password, dbname=connection.database
            )
        ) as session:
            session.autocommit = True
            with session.cursor() as cursor:
                for change in changes:
                    cursor.execute(change)

    patch.setattr(drill_group, "restore_whole", restore)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["DELETE FROM orders WHERE id = 500"], "1 rows of the backup are not there, 0 are that it does not have"),
        (["UPDATE orders SET note = 'x' WHERE id = 500"], "1 rows of the backup are not there, 1 are that it does not"),
        (
            ["INSERT INTO orders (customer) VALUES (1)"],
            "0 rows of the backup are not there, 1 are that it does not have",
        ),
        (["TRUNCATE orders"], "1,000 rows of the backup are not there"),
    ],
    ids=["lost", "changed", "added", "all lost"],
)
def test_a_row_that_is_not_as_it_was_is_found(
    coffre: Coffre,
    backup: Backup,
    quick: ScratchServer,
    monkeypatch: pytest.MonkeyPatch,
    changes: Sequence[str],
    said: str,
) -> None:
    afterwards(monkeypatch, *changes)

    answer = coffre.drill()

    assert answer["outcome"] == "failed"
    (differs,) = (one for one in report_of(coffre, backup).tables if one.verdict is Verdict.DIFFERENT)
    assert differs.table == "public.orders"
    assert said in str(differs.detail)
    assert differs.sha256 != differs.sha256_found


def test_rows_in_another_order_are_the_same_rows_and_it_is_said(
    coffre: Coffre, backup: Backup, quick: ScratchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    afterwards(monkeypatch, "CREATE INDEX backwards ON orders (id DESC)", "CLUSTER orders USING backwards")

    answer = coffre.drill()

    assert answer["outcome"] == "passed"
    report = report_of(coffre, backup)
    assert {one.table: one.verdict for one in report.tables}["public.orders"] is Verdict.SAME_VALUES
    assert "every row has the backup's values" in report.exceptions[0]


def test_a_sequence_that_is_elsewhere_and_an_index_that_is_not_valid_are_found(
    coffre: Coffre, backup: Backup, quick: ScratchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    afterwards(
        monkeypatch,
        "SELECT setval('orders_id_seq', 7)",
        "ALTER TABLE orders ADD CHECK (id < 0) NOT VALID",
        "CREATE TABLE twice AS SELECT 1 AS n FROM generate_series(1, 2)",
    )
    coffre.drill()

    report = report_of(coffre, backup)
    assert report.problems == ("The sequence public.orders_id_seq is not at the value that was backed up.",)
    assert report.failure is not None
    assert report.failure.code == "STRUCTURE_BROKEN"
    assert "public.orders_id_seq is behind public.orders.id (7 and 1000)" in report.exceptions[0]


# --- the owner's checks ---


def test_a_check_that_is_wrong_fails_alone(coffre: Coffre, shop: str, quick: ScratchServer) -> None:
    queries = {
        "no SQL": "SELEC 1",
        "no table": "SELECT count(*) FROM gone",
        "writes": "WITH gone AS (DELETE FROM orders RETURNING 1) SELECT count(*) FROM gone",
        "writes by a function": "SELECT setval('orders_id_seq', 1)",
        "never ends": "SELECT count(*) FROM generate_series(1, 1e12)",
        "two rows": "SELECT id FROM customers",
        "no row": "SELECT id FROM customers WHERE id < 0",
        "two columns": "SELECT 1, 2",
        "a count is no yes": "SELECT 1",
        "reads files": "SELECT pg_read_file('/etc/passwd')",
        "changes who asks": "SELECT 1; COMMIT; DROP TABLE orders",
        "no finite number": "SELECT 'Infinity'::numeric",
        "a number of many digits": "SELECT 10::numeric ^ 5000",
        "after the year 9999": "SELECT timestamp '12000-01-01'",
    }
    checks = [{"name": name, "query": query, "expect": True} for name, query in queries.items()]
    checks.append({"name": "good", "query": "SELECT count(*) = 1000 FROM orders", "expect": True})
    coffre.configure(shop, target={"drill": {"check_timeout_seconds": 1, "checks": checks}})
    made = coffre.catalog.get_backup(coffre.backup()["id"])
    verified = coffre.catalog.keeping.mark_verified(made.id, made.created_at)

    answer = coffre.drill()

    found = {one.name: one for one in report_of(coffre, made).checks}
    assert [name for name, one in found.items() if one.passed] == ["good"]
    said = {name: str(one.error) for name, one in found.items()}
    assert "syntax error" in said["no SQL"]
    assert "does not exist" in said["no table"]
    assert "data-modifying" in said["writes"]
    assert "permission denied" in said["writes by a function"]
    assert "statement timeout" in said["never ends"]
    assert "more than one row" in said["two rows"]
    assert "0 rows" in said["no row"]
    assert "of 2" in said["two columns"]
    assert "permission denied" in said["reads files"]
    assert found["no finite number"].found == "Infinity"
    assert str(found["a number of many digits"].found).startswith("1000")
    assert "year 12000 is out of range" in said["after the year 9999"]
    assert answer["failure"]["code"] == "CHECK_FAILED"
    # The backup itself came back as it was: what was known of it stays.
    assert coffre.catalog.get_backup(made.id).verified_at == verified.verified_at


# --- what a drill does not get to do ---


def test_a_forged_backup_runs_no_program_where_the_private_key_is(
    coffre: Coffre, shop: str, quick: ScratchServer, tmp_path: Path
) -> None:
    mark = Path(tempfile.gettempdir()) / f"mark-{new_id()}"
    body = f"BEGIN COPY (SELECT 1) TO PROGRAM 'cat > {mark}'; RETURN 1; END"
    run_sql(
        shop,
        f"CREATE FUNCTION harm() RETURNS int LANGUAGE plpgsql AS $${body}$$",
        "CREATE MATERIALIZED VIEW harmed AS SELECT harm()",
    )
    coffre.configure(shop)
    made = coffre.catalog.get_backup(coffre.backup()["id"])
    mark.unlink()

    answer = coffre.drill()

    assert not mark.exists()
    assert answer["outcome"] == "passed"
    assert "the rows of the materialized view public.harmed" in " ".join(report_of(coffre, made).exceptions)


def test_what_the_scratch_server_lacks_is_named_and_the_rest_is_proven(
    coffre: Coffre,
    round_trip_on: RoundTripOn,
    server_of_major: Callable[[int], PostgresServer],
    toolchain: Toolchain,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The embedded PostgreSQL has neither pgcrypto nor libxml."""
    trip = round_trip_on(server_of_major(18))
    trip.fill(
        "CREATE EXTENSION pgcrypto",
        "CREATE TABLE plain (n int PRIMARY KEY); INSERT INTO plain VALUES (1), (2)",
        "CREATE TABLE documents (id int PRIMARY KEY, body xml); INSERT INTO documents VALUES (1, '<a/>'), (2, '<b/>')",
        "CREATE TABLE pages (document int REFERENCES documents); INSERT INTO pages VALUES (1), (2), (NULL)",
        "CREATE DOMAIN marked AS xml; CREATE TABLE lists (of marked[])",
        "INSERT INTO lists VALUES (ARRAY['<a/>']::marked[])",
        "CREATE VIEW digests AS SELECT digest(n::text, 'md5') FROM plain",
    )
    made = trip.back_up()
    monkeypatch.setitem(coffre.environment, "COFFRE_POSTGRES_HOME", str(toolchain.embedded_postgresql()))

    answer = coffre.drill()

    assert answer["outcome"] == "passed"
    report = report_of(coffre, made)
    assert {one.table: one.verdict for one in report.tables} == {
        "public.plain": Verdict.EQUAL,
        "public.pages": Verdict.EQUAL,
        "public.documents": Verdict.NOT_LOADED,
        "public.lists": Verdict.NOT_LOADED,
    }
    said = " ".join(report.exceptions)
    assert "extension pgcrypto: the destination's server does not have this extension" in said
    assert "view public.digests" in said
    assert "The rows of public.documents were not restored: the scratch server knows no XML." in said
    assert "pages_document_fkey" in said


def test_collations_that_the_scratch_server_lacks_keep_no_other_table_from_being_proven(
    coffre: Coffre, shop: str, quick: ScratchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No PostgreSQL of these tests has ICU: the backup names collations as one with ICU would."""
    run_sql(
        shop,
        """CREATE COLLATION pg_catalog."de-x-icu" (provider = builtin, locale = 'C')""",
        "CREATE COLLATION german (provider = libc, locale = 'C')",
        """CREATE TABLE words (word text COLLATE "de-x-icu" PRIMARY KEY); INSERT INTO words VALUES ('b'), ('a')""",
        "CREATE TABLE names (name text COLLATE german); INSERT INTO names VALUES ('b'), ('a')",
    )
    coffre.configure(shop)
    made = coffre.catalog.get_backup(coffre.backup()["id"])

    def with_icu(job: RestoreJob) -> Source:
        source = open_source(job)
        toc = tuple(
            replace(entry, definition=entry.definition.replace("libc", "icu"))
            if entry.description == "COLLATION"
            else entry
            for entry in source.toc
        )
        return replace(source, toc=toc)

    monkeypatch.setattr(drill, "open_source", with_icu)

    answer = coffre.drill()

    assert answer["outcome"] == "passed"
    report = report_of(coffre, made)
    assert {one.table: one.verdict for one in report.tables if one.verdict is not Verdict.EQUAL} == {
        "public.names": Verdict.NOT_LOADED
    }
    # And rows that were not read are not verified, nor is the time of a restore without them that of a restore
    assert (report.restore_seconds, coffre.catalog.get_backup(made.id).verified_at) == (None, None)
    assert any("does not count as verified by this drill" in limit for limit in report.limits)
    (lost,) = report.exceptions
    assert "COLLATION public german" in lost
    assert "TABLE public names" in lost
    assert any("no collation de-x-icu" in limit for limit in report.limits)


# --- more than fits ---


def test_what_does_not_fit_at_once_is_proven_in_groups(
    coffre: Coffre, shop: str, quick: ScratchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_sql(
        shop,
        "CREATE TABLE returns (id int PRIMARY KEY REFERENCES customers); INSERT INTO returns VALUES (1)",
        "CREATE MATERIALIZED VIEW totals AS SELECT count(*) FROM orders",
    )
    check = {"name": "orders", "query": "SELECT count(*) > 900 FROM orders", "expect": True}
    coffre.configure(shop, target={"drill": {"checks": [check]}})
    made = coffre.catalog.get_backup(coffre.backup()["id"])
    monkeypatch.setattr(drill, "room_bytes", lambda server: 272_000)

    answer = coffre.drill()

    assert answer["outcome"] == "passed"
    report = report_of(coffre, made)
    assert report.groups == 2
    assert [(one.table, one.verdict) for one in report.tables] == [
        ("public.customers", Verdict.EQUAL),
        ("public.orders", Verdict.EQUAL),
        ("public.returns", Verdict.EQUAL),
    ]
    said = "\n".join(report.exceptions)
    assert "restored in 2 groups" in said
    assert "FK CONSTRAINT public orders orders_customer_fkey" in said
    assert 'The check "orders" was not run' in said
    assert "Materialized views were not filled" in said


def test_groups_that_do_not_fit_after_all_are_halved(
    coffre: Coffre, backup: Backup, quick: ScratchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[list[str]] = []

    def two_are_too_many(job: RestoreJob, source: Source, outcome: Any) -> None:
        tried.append([table.table_name for table in source.content.tables])
        if len(tried[-1]) > 1:
            raise RestoreError("Rows could not be loaded.", code="COPY_FAILED", detail="No space left on device")
        restore_whole(job, source, outcome)

    monkeypatch.setattr(drill_group, "restore_whole", two_are_too_many)

    answer = coffre.drill()

    report = report_of(coffre, backup)
    assert (answer["outcome"], report.groups) == ("passed", 2)
    assert tried == [["customers", "orders"], ["customers"], ["orders"]]
    assert {one.table: one.verdict for one in report.tables} == {
        "public.customers": Verdict.EQUAL,
        "public.orders": Verdict.EQUAL,
    }


# --- no place for a drill ---


@pytest.fixture
def reachable_path() -> Iterator[Path]:
    """Below it, the user that the server runs as may run programs: pytest's own folders are closed to others."""
    directory = Path(tempfile.mkdtemp(prefix="coffre-home-"))
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory)


def home_with(toolchain: Toolchain, directory: Path, **scripts: str | None) -> Path:
    """Return PostgreSQL's directory with some programs replaced by shell scripts, or by a file that is no program."""
    real = toolchain.postgresql(18)
    (directory / "bin").mkdir(parents=True)
    for part in ("lib", "share"):
        (directory / part).symlink_to(real / part)
    for program in (real / "bin").iterdir():
        (directory / "bin" / program.name).symlink_to(program)
    for name, script in scripts.items():
        (directory / "bin" / name).unlink()
        (directory / "bin" / name).write_text("no program" if script is None else f"#!/bin/sh\n{script}\n")
        (directory / "bin" / name).chmod(0o755)
    return directory


NO_MEMORY = (
    'echo "FATAL:  could not create shared memory segment: Function not implemented" >&2;'
    ' echo "DETAIL:  Failed system call was shmget(key=1, size=56, 03600)." >&2; exit 1'
)


@pytest.mark.parametrize(
    ("scripts", "code"),
    [
        ({"initdb": NO_MEMORY}, "SHARED_MEMORY_UNAVAILABLE"),
        ({"postgres": NO_MEMORY}, "SHARED_MEMORY_UNAVAILABLE"),
        ({"initdb": 'echo "initdb: error: could not write file: No space left on device" >&2; exit 1'}, "SCRATCH_FULL"),
        ({"postgres": "exit 1"}, "SCRATCH_SERVER_FAILED"),
        ({"postgres": None}, "SCRATCH_SERVER_FAILED"),
        ({"initdb": None}, "SCRATCH_SERVER_FAILED"),
    ],
    ids=[
        "no shared memory for initdb",
        "none for the server",
        "no space",
        "a server that ends",
        "a server that cannot be started",
        "an initdb that cannot be started",
    ],
)
def test_a_place_without_room_for_a_server_says_nothing_against_the_backup(
    coffre: Coffre,
    backup: Backup,
    toolchain: Toolchain,
    reachable_path: Path,
    scripts: dict[str, str | None],
    code: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    coffre.catalog.keeping.mark_verified(backup.id, backup.created_at)
    home = home_with(toolchain, reachable_path / "home", **scripts)
    monkeypatch.setitem(coffre.environment, "COFFRE_POSTGRES_HOME", str(home))

    answer = coffre.drill()

    assert (answer["outcome"], answer["failure"]["code"]) == ("not_possible", code)
    assert answer["problems"] == []
    assert answer["failure"]["hint"].startswith("Nothing is known against the backup.")
    assert coffre.catalog.get_backup(backup.id).verified_at == backup.created_at
    (alert,) = coffre.alerts()
    assert alert["MessageAttributes"]["kind"]["Value"] == "DRILL_NOT_POSSIBLE"
    assert report_of(coffre, backup).outcome is Outcome.NOT_POSSIBLE


def test_a_disk_that_fills_up_while_rows_are_loaded_says_nothing_against_the_backup(
    coffre: Coffre, backup: Backup, quick: ScratchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_up(job: RestoreJob, source: Source, outcome: Any) -> None:
        raise RestoreError(
            "Rows of public.orders could not be loaded.",
            code="COPY_FAILED",
            detail='could not extend file "base/16384/16390": No space left on device (SQLSTATE 53100)',
        )

    monkeypatch.setattr(drill_group, "restore_whole", fill_up)

    answer = coffre.drill()

    assert (answer["outcome"], answer["failure"]["code"]) == ("not_possible", "SCRATCH_FULL")


def test_a_server_that_is_killed_for_memory_says_nothing_against_the_backup(
    coffre: Coffre, backup: Backup, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(job: RestoreJob, *arguments: Any) -> Any:
        with loading_session(job) as session:
            os.kill(session.info.backend_pid, signal.SIGKILL)
            with session.cursor() as cursor:
                cursor.execute("SELECT pg_sleep(30)")
        return compare_tables(job, *arguments)

    monkeypatch.setattr(drill_group, "compare_tables", kill)

    answer = coffre.drill()

    assert (answer["outcome"], answer["failure"]["code"]) == ("not_possible", "SCRATCH_MEMORY")


def test_a_server_that_goes_away_says_nothing_against_the_backup(
    coffre: Coffre, backup: Backup, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(job: RestoreJob, *arguments: Any) -> Any:
        os.kill(
            next(one.pid for one in psutil.Process().children() if job.connection.host in one.cwd()), signal.SIGQUIT
        )
        return compare_tables(job, *arguments)

    monkeypatch.setattr(drill_group, "compare_tables", end)
    monkeypatch.setattr(scratch, "_LAST_WORDS_SECONDS", 0.0)

    answer = coffre.drill()

    assert (answer["outcome"], answer["failure"]["code"]) == ("not_possible", "SCRATCH_SERVER_FAILED")


def test_a_disk_that_is_full_before_anything_is_restored_says_nothing_against_the_backup(
    coffre: Coffre, backup: Backup, quick: ScratchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_up(job: RestoreJob) -> Source:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(drill, "open_source", fill_up)

    answer = coffre.drill()

    assert (answer["outcome"], answer["failure"]["code"]) == ("not_possible", "SCRATCH_FULL")


def test_time_that_runs_out_says_nothing_against_the_backup(
    coffre: Coffre, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a single table, which no other invocation would have more time for."""
    # A server of its own: a drill kills its server when it leaves before the work has ended.
    coffre.configure(shop, target={"tables": {"exclude": ["public.orders"]}})
    coffre.backup()
    left = [900.0]
    monkeypatch.setattr(drill, "Watch", partial(Watch, beat_seconds=0.02))

    def go_on_for_ever(job: RestoreJob, source: Source, outcome: Any) -> None:
        left[0] = 1.0
        while True:
            job.children.check()
            threading.Event().wait(0.01)

    monkeypatch.setattr(drill_group, "restore_whole", go_on_for_ever)

    answer = coffre.drill(Context(remaining=lambda: left[0], function_name="drill"))

    assert (answer["outcome"], answer["failure"]["code"]) == ("not_possible", "DEADLINE")
    assert "--here" in answer["failure"]["hint"]


# --- a person cancels it ---


def cancelling(coffre: Coffre, run_id: str) -> None:
    Cancelling(coffre.catalog, Actor("ada"), datetime.now(UTC)).cancel(run_id)


def test_a_drill_that_a_person_cancels_ends_without_an_alert_and_leaves_no_server(
    coffre: Coffre, backup: Backup, own_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = postgres_processes()
    monkeypatch.setattr(drill, "Watch", partial(Watch, beat_seconds=0.02))

    def until_cancelled(job: RestoreJob, source: Source, outcome: Any) -> None:
        restore_whole(job, source, outcome)
        with loading_session(job) as session:
            (run,) = coffre.catalog.drill_runs.newest()
            assert (run.target, run.status) == ("shop", Status.IN_PROGRESS)
            cancelling(coffre, run.id)
            session.cursor().execute("SELECT pg_sleep(600)")

    monkeypatch.setattr(drill_group, "restore_whole", until_cancelled)
    coffre.alerts()

    answer = coffre.drill()

    assert (answer["outcome"], answer["failure"]["code"]) == ("cancelled", "CANCELLED")
    assert "ada" in answer["failure"]["message"]
    assert coffre.alerts() == []
    (run,) = coffre.catalog.drill_runs.newest()
    assert run.failure is not None
    assert (run.id, run.status, run.failure.code) == (answer["id"], Status.FAILED, "CANCELLED")
    assert [event.action for event in coffre.catalog.audit.events() if event.subject == run.id] == ["drill.cancelled"]
    assert (postgres_processes() - before, list(own_tmp.iterdir())) == (set(), [])
    assert coffre.catalog.latest.drills() == {}, "nothing is known of the backup"
    with pytest.raises(BackupStateError) as ended:
        cancelling(coffre, run.id)
    assert ended.value.code == "RUN_ENDED"


def test_a_drill_that_is_cancelled_between_two_invocations_does_not_continue(coffre: Coffre, backup: Backup) -> None:
    long_ago = datetime.now(UTC) - timedelta(minutes=1)
    run = DrillRun(id=new_id(), backup_id=backup.id, target="shop", created_at=long_ago)
    coffre.catalog.drill_runs.note(run, long_ago)

    cancelling(coffre, run.id)
    answer = coffre.drill(backup_id=backup.id, target="shop", drill_id=run.id, invocation=2, state_sha256="0" * 64)

    assert (answer["id"], answer["outcome"]) == (run.id, "cancelled")


# --- several invocations ---


class Lambda:
    """Takes the invocations that a drill starts, and lets them run one after another."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def invoke(self, FunctionName: str, InvocationType: str, Payload: bytes) -> None:  # noqa: N803
        assert (FunctionName, InvocationType) == ("drill", "Event")
        self.events.append(json.loads(Payload))


@pytest.fixture
def functions(coffre: Coffre) -> Lambda:
    played = Lambda()
    vars(coffre.drill_function().services)["functions"] = played
    return played


def test_groups_that_do_not_fit_into_one_invocation_are_proven_by_the_next_and_reported_once(
    coffre: Coffre, backup: Backup, quick: ScratchServer, functions: Lambda, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given two groups, and time for one of them."""
    monkeypatch.setattr(drill, "room_bytes", lambda server: 272_000)
    left = [900.0]

    def restore_once(job: RestoreJob, source: Source, outcome: Any) -> None:
        restore_whole(job, source, outcome)
        left[0] = 41.0  # a second more than the reserve

    monkeypatch.setattr(drill_group, "restore_whole", restore_once)
    monkeypatch.setattr(table_groups, "_TIME_FACTOR", 1e6)

    first = coffre.drill(Context(remaining=lambda: left[0], function_name="drill"))

    assert (first["outcome"], first["groups_done"], first["groups_waiting"]) == ("continues", 1, 1)
    assert coffre.alerts() == []
    assert coffre.catalog.get_backup(backup.id).verified_at is None
    (event,) = functions.events
    assert (event["backup_id"], event["drill_id"], event["invocation"]) == (backup.id, first["id"], 2)

    for wrong in ({"state_sha256": "0" * 64}, {"drill_id": new_id()}):  # what no invocation has written
        with pytest.raises(CoffreError) as refused:
            coffre.drill(**{**event, **wrong})
        assert refused.value.code == "DRILL_STATE_DAMAGED"
    coffre.alerts()
    twice = [coffre.drill(Context(function_name="drill"), **event) for _ in range(2)]  # delivered twice

    assert [(answer["id"], answer["outcome"]) for answer in twice] == [(first["id"], "passed")] * 2
    report = report_of(coffre, backup)
    assert (report.groups, report.invocations, len(functions.events)) == (2, 2, 1)
    assert [(one.table, one.verdict) for one in report.tables] == [
        ("public.customers", Verdict.EQUAL),
        ("public.orders", Verdict.EQUAL),
    ]
    assert report.rows == 1050
    assert "FK CONSTRAINT public orders orders_customer_fkey" in "\n".join(report.exceptions)
    assert report.restore_seconds is not None
    assert sum(key.endswith(f"drill-{first['id']}.json") for key in coffre.objects("v1/backups/")) == 1
    assert coffre.catalog.get_backup(backup.id).verified_at == report.completed_at


def test_a_group_that_takes_longer_than_an_invocation_is_halved_for_the_next(
    coffre: Coffre, backup: Backup, functions: Lambda, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given everything together, which takes too long, and then each table alone, which does not."""
    left, tried = [900.0], list[list[str]]()
    monkeypatch.setattr(drill, "Watch", partial(Watch, beat_seconds=0.02))

    def too_long_together(job: RestoreJob, source: Source, outcome: Any) -> None:
        tried.append([table.table_name for table in source.content.tables])
        while len(tried[-1]) > 1:
            left[0] = 19.0
            job.children.check()
            threading.Event().wait(0.01)
        restore_whole(job, source, outcome)

    monkeypatch.setattr(drill_group, "restore_whole", too_long_together)

    first = coffre.drill(Context(remaining=lambda: left[0], function_name="drill"))
    left[0] = 900.0
    answer = coffre.drill(Context(remaining=lambda: left[0], function_name="drill"), **functions.events[0])

    assert (first["outcome"], first["groups_done"], first["groups_waiting"]) == ("continues", 0, 2)
    assert (answer["outcome"], answer["tables"]) == ("passed", 2)
    assert tried == [["customers", "orders"], ["customers"], ["orders"]]
    report = report_of(coffre, backup)
    assert (report.groups, report.invocations) == (2, 2)


# --- which backup ---


def test_a_backup_that_is_none_is_refused(coffre: Coffre, backup: Backup) -> None:
    failed = new_id()
    coffre.catalog.create_backup(backup.model_copy(update={"id": failed, "status": Status.FAILED}))
    events: list[tuple[dict[str, Any], str]] = [
        ({"backup_id": failed}, "BACKUP_NOT_COMPLETED"),
        ({"backup_id": new_id()}, "BACKUP_UNKNOWN"),
        ({"target": "nobody"}, "TARGET_UNKNOWN"),
        ({"backup_id": backup.id, "target": "nobody"}, "EVENT_INVALID"),
        ({"level": "drill"}, "EVENT_INVALID"),
        ({"backup_id": backup.id, "invocation": 2}, "EVENT_INVALID"),
    ]
    for event, code in events:
        with pytest.raises(CoffreError) as refused:
            coffre.drill(**event)
        assert refused.value.code == code
    assert coffre.objects(f"v1/backups/shop/{backup.id}/reports/") == {}


def test_damage_in_the_vault_is_that_of_every_backup_which_refers_to_it(
    coffre: Coffre, backup: Backup, quick: ScratchServer
) -> None:
    # Given two backups that share a pack, whose writer counts as verified
    coffre.catalog.keeping.mark_verified(backup.id, backup.created_at)
    later = coffre.catalog.get_backup(coffre.backup()["id"])
    packs = coffre.objects("v1/packs/")
    shared = max((key for key in packs if backup.id in key), key=lambda key: len(packs[key]))
    coffre.put_object(shared, bytes([packs[shared][0] ^ 1]) + packs[shared][1:-1] + bytes([packs[shared][-1] ^ 1]))

    # When the later one is drilled
    assert coffre.drill(backup_id=later.id)["outcome"] == "failed"

    # Then both are damaged, by the frame, and reading can call them healed once it is mended
    vault = coffre.drill_function().services.vault
    for one in (backup, later):
        found = coffre.catalog.get_backup(one.id)
        assert (found.damaged_at is not None, found.verified_at) == (True, None)
        known = read_damage(vault, one.target, one.id)
        assert known is not None
        assert (known.packs, known.is_of_stored_bytes) == ((shared,), True)
    # And the next one is whole without it
    assert coffre.drill(backup_id=coffre.backup()["id"])["outcome"] == "passed"


def test_a_backup_that_is_deleted_while_it_is_drilled_is_not_called_bad(
    coffre: Coffre, backup: Backup, quick: ScratchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = coffre.drill_function().services.vault.store
    get_range = store.get_range

    def gone(key: str, offset: int, length: int) -> bytes:
        coffre.catalog.keeping.delete(backup, "by hand", backup.created_at)
        client_key = next(iter(coffre.objects("v1/packs/")), None)
        if client_key is not None:
            coffre.rotate_function().services.vault.store.delete(key)
        return get_range(key, offset, length)

    monkeypatch.setattr(store, "get_range", gone)

    with pytest.raises(BackupStateError, match="was deleted"):
        coffre.drill(backup_id=backup.id)


def test_without_a_target_each_one_with_a_backup_gets_a_run_of_its_own(
    coffre: Coffre, backup: Backup, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = json.loads(coffre.document_text())
    document["targets"] += [
        {"name": "new", "secret": "coffre/database/new"},
        {"name": "files", "kind": "bucket", "buckets": [{"name": "files"}]},
    ]
    coffre.document(json.dumps(document))
    invoked: list[dict[str, Any]] = []
    functions = coffre.drill_function().services.functions
    monkeypatch.setattr(functions, "invoke", lambda **call: invoked.append(call))

    answer_ = coffre.drill_function().handle({}, Context(function_name="the-drill"))

    assert answer_ == {"started": ["shop"], "without_backup": ["new", "files"]}
    assert [(call["FunctionName"], call["InvocationType"], json.loads(call["Payload"])) for call in invoked] == [
        ("the-drill", "Event", {"target": "shop"})
    ]


def test_a_run_that_cannot_be_started_is_an_error(
    coffre: Coffre, backup: Backup, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**call: Any) -> None:
        raise answer("TooManyRequestsException")

    monkeypatch.setattr(coffre.drill_function().services.functions, "invoke", refuse)

    with pytest.raises(TransientError, match="The drill of shop could not be started"):
        coffre.drill_function().handle({}, Context())


# --- what people hear ---


def test_a_failing_drill_is_told_once_and_its_recovery_too(
    coffre: Coffre, backup: Backup, quick: ScratchServer, tmp_path: Path
) -> None:
    Insider(coffre, backup, tmp_path, EVERYTHING - {"entry"}).change("public.orders", without_row(b"500\t"))
    assert [coffre.drill(backup_id=backup.id)["outcome"] for _ in range(2)] == ["failed", "failed"]
    (alert,) = coffre.alerts()
    assert alert["Subject"] == "Restore drill of shop FAILED: ROWS_DIFFER"

    coffre.backup(full=True)
    assert coffre.drill()["outcome"] == "passed"

    (over,) = coffre.alerts()
    assert "DRILL_FAILED" in json.dumps(over)


def test_a_drill_that_nobody_can_be_told_of_fails(
    coffre: Coffre, backup: Backup, quick: ScratchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Insider(coffre, backup, tmp_path, EVERYTHING - {"entry"}).change("public.orders", without_row(b"500\t"))
    monkeypatch.setitem(coffre.environment, "COFFRE_ALERT_TOPIC_ARN", "arn:aws:sns:eu-west-1:123456789012:gone")

    with pytest.raises(CoffreError) as unsent:
        coffre.drill()

    assert unsent.value.code == "ALERT_NOT_SENT"
    assert report_of(coffre, backup).outcome is Outcome.FAILED
