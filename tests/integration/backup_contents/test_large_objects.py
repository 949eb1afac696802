"""Large objects come back byte by byte, with owners, comments and rights."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import psycopg2
import pytest
from tests.integration.conftest import BUCKET, client
from tests.integration.contents import RoundTrip, rows, run, value

from coffre.model.database_target import DatabaseTarget
from coffre.model.errors import DumpError, IntegrityError, RestoreError
from coffre.model.manifest import EntryKind
from coffre.operations.restore_database.large_objects import restore_large_objects
from coffre.postgres.connection.client_tools import Children, PostgresTools
from coffre.postgres.connection.connection_secret import parse_secret
from coffre.postgres.source.dump import ArchiveDumper
from coffre.postgres.source.snapshot import hold_snapshot

RESTORING = "coffre.operations.restore_database.whole_database.restore_large_objects"
_OBJECTS = """
SELECT m.oid, m.lomowner::regrole::text, m.lomacl::text, obj_description(m.oid, 'pg_largeobject')
FROM pg_largeobject_metadata m ORDER BY m.oid
"""


def test_large_objects_come_back_byte_by_byte(round_trip: RoundTrip) -> None:
    # Given an empty object, a sparse one, one of every byte, and one of several frames, with owners and rights
    round_trip.create_role("contents_owner")
    round_trip.create_role("contents Reader")
    round_trip.fill(
        "SELECT lo_create(1)",
        "SELECT lo_from_bytea(2, decode(string_agg(lpad(to_hex(n), 2, '0'), ''), 'hex'))"
        " FROM generate_series(0, 255) n",
        "SELECT lo_from_bytea(3, decode(repeat(md5(n::text), 600000), 'hex')) FROM generate_series(1, 1) n",
        "SELECT lo_create(4)",
        "SELECT lo_put(4, 5000000, 'far away')",
        "SELECT lo_from_bytea(4294967295, 'the last')",
        "ALTER LARGE OBJECT 2 OWNER TO contents_owner",
        'GRANT SELECT, UPDATE ON LARGE OBJECT 2 TO "contents Reader"',
        "GRANT SELECT ON LARGE OBJECT 3 TO PUBLIC",
        "COMMENT ON LARGE OBJECT 2 IS E'it''s\\nsecond'",
        "CREATE TABLE pictures (id integer, picture oid)",
        "INSERT INTO pictures VALUES (1, 2), (2, 3)",
    )

    report = round_trip.make()

    round_trip.assert_equal()
    assert report.exceptions == ()
    assert len(round_trip.assert_same_answer(_OBJECTS)) == 5
    assert _bytes_of(round_trip.copy) == _bytes_of(round_trip.source)
    assert value(round_trip.copy, "SELECT lo_get(2)") == bytes(range(256))


def test_no_table_is_locked_while_large_objects_are_read(round_trip: RoundTrip) -> None:
    """By itself pg_dump locks every table, and there may be hours of large objects."""
    round_trip.fill("SELECT lo_from_bytea(1, 'content')", "CREATE TABLE t (id integer)")
    children, connection = Children(), parse_secret(round_trip.source, where="test")
    target = DatabaseTarget(name="shop", secret="shop", limits={"lock_timeout_seconds": 1})
    dumper = ArchiveDumper(PostgresTools(round_trip.home), children, connection, target)

    with (
        hold_snapshot(connection, children, lock_timeout_seconds=1) as holder,
        closing(psycopg2.connect(round_trip.source)) as session,
    ):
        session.cursor().execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        archive = b"".join(bytes(block) for block in dumper.large_objects(holder.snapshot))

    assert b"content" in archive


def test_many_objects_come_back(round_trip: RoundTrip) -> None:
    # Given more than pg_dump puts into one line of its table of contents
    round_trip.fill("SELECT lo_from_bytea(0, n::text::bytea) FROM generate_series(1, 1500) n")

    round_trip.make()

    assert _bytes_of(round_trip.copy) == _bytes_of(round_trip.source)
    round_trip.assert_same_answer(_OBJECTS)


def test_an_object_that_the_role_may_not_read_stops_the_backup(round_trip: RoundTrip) -> None:
    reader = round_trip.create_role("contents_reader", "LOGIN IN ROLE pg_read_all_data")
    round_trip.fill("SELECT lo_from_bytea(77, 'secret')")

    with pytest.raises(DumpError) as caught:
        round_trip.back_up(reader=reader)

    assert caught.value.code == "PERMISSION_DENIED"
    assert "large object 77" in caught.value.message
    assert "GRANT SELECT ON LARGE OBJECT 77" in (caught.value.hint or "")
    assert round_trip.coffre.objects("v1/backups") == {}


def test_owners_and_rights_that_several_objects_share(round_trip: RoundTrip) -> None:
    for role in ("contents_owner", "LARGE OBJECT 5", "contents_reader"):
        round_trip.create_role(role)
    round_trip.fill(
        *(f"SELECT lo_from_bytea({oid}, 'x')" for oid in range(5, 9)),
        *(f"ALTER LARGE OBJECT {oid} OWNER TO contents_owner" for oid in range(5, 9)),
        *(f'GRANT SELECT ON LARGE OBJECT {oid} TO "LARGE OBJECT 5" WITH GRANT OPTION' for oid in range(5, 9)),
        *(f"GRANT UPDATE ON LARGE OBJECT {oid} TO contents_reader, PUBLIC" for oid in range(5, 9)),
        "COMMENT ON LARGE OBJECT 7 IS 'LARGE OBJECT 5; DROP TABLE x'",
    )

    report = round_trip.make()

    assert report.exceptions == ()
    assert len(round_trip.assert_same_answer(_OBJECTS)) == 4


FOUR_OBJECTS = (
    "SELECT lo_from_bytea(1, 'one')",
    "SELECT lo_from_bytea(2, decode(repeat('00ff', 1000000), 'hex'))",
    "SELECT lo_from_bytea(3, 'three')",
    "COMMENT ON LARGE OBJECT 1 IS 'mine'",
)


def test_objects_that_the_server_refuses_cost_themselves_alone(
    round_trip: RoundTrip, monkeypatch: pytest.MonkeyPatch
) -> None:
    round_trip.fill(*FOUR_OBJECTS, "SELECT lo_from_bytea(4, 'four')")
    backup = round_trip.back_up()

    def others_first(*arguments: Any, **options: Any) -> None:
        run(round_trip.copy, "SELECT lo_from_bytea(1, 'theirs'), lo_from_bytea(2, 'theirs')")
        restore_large_objects(*arguments, **options)

    monkeypatch.setattr(RESTORING, others_first)

    report = round_trip.restore(backup)

    found = rows(round_trip.copy, "SELECT oid::int, lo_get(oid) FROM pg_largeobject_metadata ORDER BY 1")
    assert found == [(1, b"theirs"), (2, b"theirs"), (3, b"three"), (4, b"four")]
    assert [left.what for left in report.left_out] == ["large objects 1, 2"]
    assert "duplicate key" in report.left_out[0].reason
    assert rows(round_trip.copy, "SELECT obj_description(1, 'pg_largeobject')") == [(None,)]


def test_a_strict_restore_ends_at_an_object_that_the_server_refuses(
    round_trip: RoundTrip, monkeypatch: pytest.MonkeyPatch
) -> None:
    round_trip.fill(*FOUR_OBJECTS)
    backup = round_trip.back_up()

    def others_first(*arguments: Any, **options: Any) -> None:
        run(round_trip.copy, "SELECT lo_from_bytea(1, 'theirs')")
        restore_large_objects(*arguments, **options)

    monkeypatch.setattr(RESTORING, others_first)

    with pytest.raises(RestoreError) as caught:
        round_trip.restore(backup, strict=True)

    assert caught.value.code == "LARGE_OBJECT_FAILED"
    assert "large object 1 " in caught.value.message


@pytest.mark.parametrize("is_strict", [False, True])
def test_damage_in_the_middle_costs_what_comes_after_it(round_trip: RoundTrip, is_strict: bool) -> None:
    """Object 2 begins in a frame that is good, and goes on in one that is not."""
    round_trip.fill(
        "SELECT lo_from_bytea(1, decode(repeat(md5('1'), 30000), 'hex'))",
        "SELECT lo_from_bytea(2, string_agg(decode(md5(n::text), 'hex'), '')) FROM generate_series(1, 300000) n",
        "SELECT lo_from_bytea(3, 'three')",
        "COMMENT ON LARGE OBJECT 2 IS 'lost'",
        "CREATE TABLE pictures AS SELECT 1 AS id, 2::oid AS picture",
    )
    backup = round_trip.back_up()
    (entry,) = [entry for entry in round_trip.entries(backup) if entry.kind is EntryKind.LARGE_OBJECTS]
    frame = entry.frames[1]
    body = bytearray(round_trip.coffre.objects(frame.pack)[frame.pack])
    body[frame.offset + frame.length // 2] ^= 1
    client("s3").put_object(Bucket=BUCKET, Key=frame.pack, Body=bytes(body))

    if is_strict:
        with pytest.raises(IntegrityError):
            round_trip.restore(backup, strict=True)
        return
    report = round_trip.restore(backup)

    assert rows(round_trip.copy, "SELECT oid::int FROM pg_largeobject_metadata") == [(1,)]
    assert value(round_trip.copy, "SELECT picture::int FROM pictures") == 2
    (left,) = report.left_out
    assert left.what == "large objects 2, 3"
    assert "damaged" in left.reason


def test_an_owner_that_the_destination_lacks_costs_the_ownership_alone(
    round_trip: RoundTrip, monkeypatch: pytest.MonkeyPatch
) -> None:
    round_trip.create_role("contents_owner")
    round_trip.fill(*FOUR_OBJECTS, "ALTER LARGE OBJECT 3 OWNER TO contents_owner")
    backup = round_trip.back_up()

    def without_role(*arguments: Any, **options: Any) -> None:
        run(round_trip.source, "ALTER LARGE OBJECT 3 OWNER TO CURRENT_USER", "DROP ROLE contents_owner")
        restore_large_objects(*arguments, **options)

    monkeypatch.setattr(RESTORING, without_role)

    report = round_trip.restore(backup)

    assert _bytes_of(round_trip.copy) == _bytes_of(round_trip.source)
    (left,) = report.left_out
    assert "contents_owner" in left.reason
    assert left.sql == 'ALTER LARGE OBJECT 3 OWNER TO "contents_owner";'


def _bytes_of(url: str) -> str:
    """One hash over the bytes of all large objects, as a client reads them: zeros that were never written count too."""
    query = "SELECT md5(string_agg(oid || ':' || md5(lo_get(oid)), ',' ORDER BY oid)) FROM pg_largeobject_metadata"
    return str(value(url, query))
