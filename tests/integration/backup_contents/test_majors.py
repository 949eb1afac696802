"""A database with as much as each major knows goes into the same major, and into the newest, as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest
from tests.integration import rich
from tests.integration.contents import RoundTripOn, rows

from coffre_local.postgres_server import PostgresServer
from coffre_local.sample import fingerprint, sequences

NEWEST: Final = 18


@pytest.mark.parametrize("major", [12, 13, 14, 15, 16, 17, 18])
def test_all_that_a_major_knows_comes_back_there_and_on_the_newest(
    round_trip_on: RoundTripOn, server_of_major: Callable[[int], PostgresServer], major: int
) -> None:
    round_trip = round_trip_on(server_of_major(major))
    for role in rich.ROLES:
        round_trip.create_role(role)
    round_trip.fill(*rich.statements(major))

    backup = round_trip.back_up()
    report = round_trip.restore(backup)

    # Then it is the same on the same major: rows, sequences, every object with owner, rights and comment
    round_trip.assert_equal()
    round_trip.assert_same_answer(_LARGE_OBJECTS)
    round_trip.assert_same_answer(_COMMENTS)
    # The PostgreSQL 12 and 13 of these tests have no extensions, and so no foreign tables
    expected = _FOREIGN if major >= 14 else ()
    assert report.exceptions == expected
    assert (backup.source_version or "").startswith(f"{major}.")
    if major == NEWEST:
        return

    # And on the newest one
    new = round_trip_on(server_of_major(NEWEST))
    for role in rich.ROLES:
        new.create_role(role)
    report = new.restore(backup)
    assert report.exceptions == expected
    assert fingerprint(new.copy) == fingerprint(round_trip.source)
    assert sequences(new.copy) == sequences(round_trip.source)
    assert rows(new.copy, _LARGE_OBJECTS) == rows(round_trip.source, _LARGE_OBJECTS)
    assert rows(new.copy, _COMMENTS) == rows(round_trip.source, _COMMENTS)


_FOREIGN: Final = ("The rows of foreign tables are not in the backup, they are elsewhere: public.hosts.",)
_LARGE_OBJECTS: Final = """
SELECT m.oid::int, m.lomowner::regrole::text, m.lomacl::text, lo_get(m.oid) FROM pg_largeobject_metadata m ORDER BY 1
"""
_COMMENTS: Final = """
SELECT (pg_identify_object(classoid, objoid, objsubid)).identity, description FROM pg_description
WHERE description LIKE 'it''s the %' ORDER BY 1, 2
"""
