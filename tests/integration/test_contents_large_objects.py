"""Large objects come back byte by byte, with owners, comments and rights."""

from __future__ import annotations

import pytest
from tests.integration.contents import RoundTrip, value

from coffre.model.errors import DumpError

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


def _bytes_of(url: str) -> str:
    """One hash over the bytes of all large objects, as a client reads them: zeros that were never written count too."""
    query = "SELECT md5(string_agg(oid || ':' || md5(lo_get(oid)), ',' ORDER BY oid)) FROM pg_largeobject_metadata"
    return str(value(url, query))
