"""What is not in a backup is named in it: members of extensions, foreign tables, what the role cannot read."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from tests.integration.contents import RoundTrip, rows, run, value
from tests.integration.drills import report_of
from tests.integration.exports import Export, another_database, program

from coffre.model.errors import CoffreError
from coffre.operations.browse.contents import find_table, rows_of
from coffre.vault.codec import FrameDecoder
from coffre_local.toolchain import Toolchain

_QUEUE = (
    "CREATE EXTENSION hstore",
    "CREATE TABLE q_orders (id int PRIMARY KEY, note text)",
    "INSERT INTO q_orders SELECT g, 'n' || g FROM generate_series(1, 50) g",
    "ALTER EXTENSION hstore ADD TABLE q_orders",
    "CREATE TABLE own (id int)",
    "INSERT INTO own VALUES (1)",
)


def said(round_trip: RoundTrip, **target: Any) -> tuple[list[str], list[str]]:
    """Return the exceptions and the notes of a new backup."""
    manifest = round_trip.manifest(round_trip.back_up(**target))
    return list(manifest.exceptions), list(manifest.notes)


def test_rows_of_an_extensions_member_are_named_with_what_stores_them(round_trip: RoundTrip) -> None:
    round_trip.fill(*_QUEUE, "CREATE TABLE q_empty (id int)", "ALTER EXTENSION hstore ADD TABLE q_empty")

    exceptions, notes = said(round_trip)

    assert [text.split(" is not ")[0].split(" are not ")[0] for text in exceptions] == ["The rows of public.q_orders"]
    assert "member of the extension hstore" in exceptions[0]
    assert "tables.include_members" in exceptions[0]
    assert notes == []


def test_rows_of_a_member_that_are_asked_for_come_back_where_the_table_exists(round_trip: RoundTrip) -> None:
    # Given an empty database that has the extension with the table, as an application's installation leaves it
    round_trip.fill(*_QUEUE)
    backup = round_trip.back_up(tables={"include_members": ["q_*"]})
    assert round_trip.manifest(backup).exceptions == ()
    run(round_trip.server.dsn(), f"CREATE DATABASE {round_trip.copy.rsplit('/', 1)[1]}")
    run(round_trip.copy, *_QUEUE[:2], "ALTER EXTENSION hstore ADD TABLE q_orders")

    report = round_trip.restore(backup)

    round_trip.assert_same_answer("SELECT * FROM q_orders ORDER BY id")
    assert report.exceptions == ()


def test_rows_that_somebody_has_put_into_a_member_at_the_destination_are_never_touched(round_trip: RoundTrip) -> None:
    round_trip.fill(*_QUEUE)
    backup = round_trip.back_up(tables={"include_members": ["q_orders"]})
    run(round_trip.server.dsn(), f"CREATE DATABASE {round_trip.copy.rsplit('/', 1)[1]}")
    run(round_trip.copy, *_QUEUE[:2], "ALTER EXTENSION hstore ADD TABLE q_orders", "INSERT INTO q_orders VALUES (9)")

    report = round_trip.restore(backup)

    assert rows(round_trip.copy, "SELECT id, note FROM q_orders") == [(9, None)]
    (left,) = report.left_out
    assert left.what == "50 rows of public.q_orders"
    assert "existed before this restore" in left.reason


def test_rows_of_a_member_whose_table_no_backup_can_define_are_named_and_can_be_had(round_trip: RoundTrip) -> None:
    round_trip.fill(*_QUEUE)
    backup = round_trip.back_up(tables={"include_members": ["public.q_orders"]})

    report = round_trip.restore(backup)

    assert rows(round_trip.copy, "SELECT id FROM own") == [(1,)]
    (left,) = [one for one in report.left_out if "q_orders" in one.what]
    assert left.what == "50 rows of public.q_orders"
    assert f"coffre cat {backup.id} 'public.q_orders'" in left.reason
    # And what it says gives the rows
    manifest, vault = round_trip.manifest(backup), round_trip.coffre.backup_function().services.vault
    decoder = FrameDecoder([round_trip.coffre.identity]).of_recipients(manifest.recipients)
    copied = b"".join(rows_of(vault, manifest, decoder, find_table(manifest.database, "q_orders")))
    assert copied.splitlines()[0] == b"1\tn1"
    assert len(copied.splitlines()) == 50


def test_a_pattern_that_no_member_fits_is_named(round_trip: RoundTrip) -> None:
    round_trip.fill(*_QUEUE)

    exceptions, _ = said(round_trip, tables={"include_members": ["own", "Q_orders"]})

    assert len(exceptions) == 1
    assert '"own"' in exceptions[0]


def test_a_member_that_lost_rows_is_compared_and_merged_in_place(round_trip: RoundTrip) -> None:
    round_trip.fill(*_QUEUE)
    backup = round_trip.back_up(tables={"include_members": ["q_orders"]})
    run(round_trip.source, "DELETE FROM q_orders WHERE id <= 7")

    round_trip.restore_in_place(backup, tables=["q_orders"], replace=True)

    assert value(round_trip.source, "SELECT count(*) FROM q_orders") == 50
    run(round_trip.source, "ALTER EXTENSION hstore DROP TABLE q_orders", "DROP TABLE q_orders")
    with pytest.raises(CoffreError, match="coffre cat") as gone:
        round_trip.restore_in_place(backup, tables=["q_orders"])
    assert gone.value.code == "TABLE_GONE"


def test_an_export_leaves_members_out_and_loads(round_trip: RoundTrip, toolchain: Toolchain, tmp_path: Path) -> None:
    round_trip.fill(*_QUEUE)
    export = Export.of(round_trip, round_trip.back_up(tables={"include_members": ["q_orders"]}))
    file = export.custom(tmp_path / "x.dump")

    with another_database(round_trip) as copy:
        program(toolchain.postgresql(18), "pg_restore", "--exit-on-error", "--dbname", copy, file)
        assert rows(copy, "SELECT id FROM own") == [(1,)]


def test_a_drill_of_a_backup_with_members_says_what_it_did_not_prove(round_trip: RoundTrip) -> None:
    round_trip.fill(*_QUEUE)
    made = round_trip.back_up(tables={"include_members": ["q_orders"]})

    round_trip.coffre.drill()

    report = report_of(round_trip.coffre, made)
    assert any("q_orders" in text for text in (*report.exceptions, *report.problems, *report.limits))
    assert not report.is_damaged


def test_foreign_temporary_and_chosen_tables_are_named(round_trip: RoundTrip) -> None:
    round_trip.fill(
        "CREATE EXTENSION postgres_fdw",
        "CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw",
        "CREATE FOREIGN TABLE away (i int) SERVER far",
        "CREATE TABLE drafts (i int)",
        "INSERT INTO drafts VALUES (1)",
    )
    with closing(psycopg2.connect(round_trip.source)) as session, session.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE mine (i int)")
        session.commit()

        exceptions, notes = said(round_trip, tables={"exclude": ["drafts"]})

    assert exceptions == ["The rows of foreign tables are not in the backup, they are elsewhere: public.away."]
    assert notes == [
        "The configuration leaves these tables out of the backup: public.drafts.",
        "Temporary tables of other sessions are not in the backup: 1.",
    ]


def test_a_member_that_the_role_cannot_read_may_have_rows(round_trip: RoundTrip) -> None:
    reader = f"{round_trip.source.rsplit('/', 1)[1]}_reader"
    round_trip.fill(
        *_QUEUE,
        f"CREATE ROLE {reader} LOGIN PASSWORD 'x'",
        f"GRANT SELECT ON own TO {reader}",
    )
    try:
        url = round_trip.source.replace("://postgres", f"://{reader}:x", 1)
        manifest = round_trip.manifest(round_trip.back_up(reader=url))
    finally:
        run(round_trip.source, f"DROP OWNED BY {reader}", f"DROP ROLE {reader}")

    assert any("The rows of public.q_orders are not in the backup" in text for text in manifest.exceptions)


def test_what_only_a_superuser_can_read_is_named_for_another_role(round_trip: RoundTrip) -> None:
    name = round_trip.source.rsplit("/", 1)[1]
    reader = f"{name}_reader"
    round_trip.fill(
        f"CREATE ROLE {reader} LOGIN PASSWORD 'x'",
        f"GRANT pg_read_all_data TO {reader}",
        "CREATE EXTENSION postgres_fdw",
        "CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw",
        "CREATE USER MAPPING FOR PUBLIC SERVER far OPTIONS (password 'secret')",
        "CREATE SUBSCRIPTION feed CONNECTION 'host=127.0.0.1 port=1' PUBLICATION x WITH (connect = false)",
    )
    try:
        url = round_trip.source.replace("://postgres", f"://{reader}:x", 1)
        manifest = round_trip.manifest(round_trip.back_up(reader=url))
        own = round_trip.manifest(round_trip.back_up())
    finally:
        run(
            round_trip.source,
            "ALTER SUBSCRIPTION feed SET (slot_name = NONE)",
            "DROP SUBSCRIPTION feed",
            f"DROP OWNED BY {reader}",
            f"DROP ROLE {reader}",
        )

    text = " ".join(manifest.exceptions)
    assert "The subscription feed is not in the backup" in text
    assert "user mapping for public on the server far" in text
    assert "secret" not in text
    assert own.exceptions == ()
