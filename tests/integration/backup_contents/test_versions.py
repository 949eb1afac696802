"""Older servers: their backups come back, and pg_restore's one complaint about them is tolerated, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest
from tests.integration.contents import RoundTripOn, database_of, rows

from coffre.model.errors import DestinationError, IntegrityError, RestoreError
from coffre.vault.layout import PACKS
from coffre_local.postgres_server import PostgresServer
from coffre_local.sample import fingerprint, sequences

FIRST_WITH_SLICES: Final = 14
_CONTENT = (
    "CREATE TABLE t (id serial PRIMARY KEY, n integer GENERATED ALWAYS AS (id * 2) STORED, t text)",
    "INSERT INTO t (t) SELECT repeat('x', 1000) FROM generate_series(1, 6000)",
    "CREATE INDEX ON t (n)",
    "CREATE MATERIALIZED VIEW m AS SELECT sum(n) FROM t",
    "SELECT lo_from_bytea(5, 'bytes')",
)


@pytest.mark.parametrize("major", [12, 13, 14, 16])
def test_a_server_below_17_is_backed_up_and_restored(
    round_trip_on: RoundTripOn, server_of_major: Callable[[int], PostgresServer], major: int
) -> None:
    round_trip = round_trip_on(server_of_major(major))
    round_trip.fill(*_CONTENT)

    backup = round_trip.back_up()
    round_trip.restore(backup)

    round_trip.assert_equal()
    round_trip.assert_same_answer("SELECT oid, lo_get(oid) FROM pg_largeobject_metadata")
    assert (backup.source_version or "").startswith(f"{major}.")
    # Before 14 a range of blocks cannot be scanned: a table is one slice, whatever its size
    slices = [entry for entry in round_trip.entries(backup) if entry.name.startswith("tables/")]
    assert (len(slices) > 1) == (major >= FIRST_WITH_SLICES)


@pytest.mark.parametrize("major", [12, 13])
def test_every_way_back_works_on_servers_without_slices(
    round_trip_on: RoundTripOn, server_of_major: Callable[[int], PostgresServer], major: int
) -> None:
    round_trip = round_trip_on(server_of_major(major))
    round_trip.fill(*_CONTENT, "CREATE TABLE other (id int PRIMARY KEY)", "INSERT INTO other VALUES (1), (2)")
    backup = round_trip.back_up()
    before = fingerprint(round_trip.source)

    # A second backup finds what the first one stored
    again = round_trip.back_up()
    assert (again.stored_bytes or 0) < (backup.stored_bytes or 0) / 2

    # Lost rows and a lost table come back in place
    round_trip.fill("DELETE FROM t WHERE id % 2 = 0", "UPDATE t SET t = 'changed' WHERE id < 100", "DROP TABLE other")
    round_trip.restore_in_place(backup, tables=["public.other"])
    round_trip.restore_in_place(backup, tables=["public.t"], replace=True)
    round_trip.fill("REFRESH MATERIALIZED VIEW m")
    assert before.items() <= fingerprint(round_trip.source).items()

    # And all of it, in the place of the database
    round_trip.fill("DELETE FROM t")
    round_trip.restore_in_place(backup, replace=True)
    assert fingerprint(round_trip.source) == before

    # A drill brings it to the newest major
    assert round_trip.coffre.drill()["outcome"] == "passed"


@pytest.mark.parametrize("major", [12, 13])
def test_a_new_database_that_a_failed_restore_made_is_dropped_there_too(
    round_trip_on: RoundTripOn, server_of_major: Callable[[int], PostgresServer], major: int
) -> None:
    server = server_of_major(major)
    round_trip = round_trip_on(server)
    round_trip.fill(*_CONTENT)
    backup = round_trip.back_up()
    for key in (key for key in round_trip.coffre.objects() if key.startswith(PACKS)):
        round_trip.coffre.put_object(key, b"damaged")

    with pytest.raises(IntegrityError):
        round_trip.restore(backup)

    name = database_of(round_trip.copy)
    assert rows(server.dsn(), f"SELECT FROM pg_database WHERE datname = '{name}'") == []


def test_a_backup_goes_into_a_newer_server_and_not_into_an_older_one(
    round_trip_on: RoundTripOn, server_of_major: Callable[[int], PostgresServer], postgres_server: PostgresServer
) -> None:
    old, new = round_trip_on(server_of_major(16)), round_trip_on(postgres_server)
    old.fill(*_CONTENT)

    backup = old.back_up()
    new.restore(backup)

    assert fingerprint(new.copy) == fingerprint(old.source)
    assert sequences(new.copy) == sequences(old.source)
    older = round_trip_on(server_of_major(14))
    with pytest.raises(DestinationError) as caught:
        older.restore(backup)
    assert caught.value.code == "DESTINATION_TOO_OLD"


def test_another_complaint_of_an_older_server_stops_the_restore(
    round_trip_on: RoundTripOn, server_of_major: Callable[[int], PostgresServer]
) -> None:
    # Given a view whose function the copy cannot make: its library is nowhere
    round_trip = round_trip_on(server_of_major(16))
    round_trip.fill(
        "CREATE FUNCTION f() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "UPDATE pg_proc SET probin = 'nowhere', prosrc = 'f',"
        " prolang = (SELECT oid FROM pg_language WHERE lanname = 'c') WHERE proname = 'f'",
    )
    backup = round_trip.back_up()

    with pytest.raises(RestoreError) as caught:
        round_trip.restore(backup, strict=True)

    assert caught.value.code == "SCHEMA_FAILED"
    assert "nowhere" in (caught.value.detail or "")
    # And without strict the function is all that is left out
    (left,) = round_trip.restore(backup).left_out
    assert left.what == "function public.f()"
