"""Older servers: their backups come back, and pg_restore's one complaint about them is tolerated, nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.integration.contents import RoundTripOn

from coffre.model.errors import DestinationError, RestoreError
from coffre_cli.local.postgres_server import PostgresServer
from coffre_cli.sample import fingerprint, sequences

_CONTENT = (
    "CREATE TABLE t (id serial PRIMARY KEY, n integer GENERATED ALWAYS AS (id * 2) STORED, t text)",
    "INSERT INTO t (t) SELECT repeat('x', 1000) FROM generate_series(1, 6000)",
    "CREATE INDEX ON t (n)",
    "CREATE MATERIALIZED VIEW m AS SELECT sum(n) FROM t",
    "SELECT lo_from_bytea(5, 'bytes')",
)


@pytest.mark.parametrize("major", [14, 16])
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
    assert len([entry for entry in round_trip.entries(backup) if entry.name.startswith("tables/")]) > 1


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
        round_trip.restore(backup)

    assert caught.value.code == "SCHEMA_FAILED"
    assert "nowhere" in (caught.value.detail or "")
