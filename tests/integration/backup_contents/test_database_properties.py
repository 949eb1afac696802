"""What belongs to the database itself is taken from the archive and given to a database of another name."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Final

import psycopg2
import pytest
from tests.integration.conftest import beside
from tests.integration.contents import RoundTrip, database_of, rows, run

from coffre.model.database_target import DatabaseTarget
from coffre.model.names import quoted
from coffre.postgres.archive.reader import TocEntry, read_archive
from coffre.postgres.connection.client_tools import Children, PostgresTools
from coffre.postgres.connection.connection_secret import parse_secret
from coffre.postgres.connection.database_properties import apply_database_properties
from coffre.postgres.source.dump import ArchiveDumper
from coffre.postgres.source.snapshot import hold_snapshot

_PROPERTIES: Final = """
SELECT (SELECT description FROM pg_shdescription WHERE objoid = d.oid), d.datconnlimit,
    (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(d.datacl) a),
    (SELECT array_agg(COALESCE(r.rolname, '') || ' ' || c ORDER BY r.rolname, c) FROM pg_db_role_setting s
     LEFT JOIN pg_roles r ON r.oid = s.setrole, unnest(s.setconfig) c WHERE s.setdatabase = d.oid)
FROM pg_database d WHERE datname = current_database()
"""


@pytest.fixture
def odd(round_trip: RoundTrip) -> RoundTrip:
    """A source with properties of every kind, settings that look like statements, and a copy that has none of them."""
    round_trip.create_role("props_reader")
    round_trip.create_role('props "odd" IN DATABASE x ')
    name = quoted(database_of(round_trip.source))
    round_trip.fill(
        f"ALTER DATABASE {name} SET work_mem = '7MB'",
        f"ALTER DATABASE {name} SET search_path = \"$user\", 'Odd Schema', public",
        f"ALTER DATABASE {name} SET app.secret = 'hunter2; ALTER DATABASE {name} SET x = ''1'''",
        f"ALTER DATABASE {name} SET DateStyle = 'German, DMY'",
        f"ALTER ROLE props_reader IN DATABASE {name} SET statement_timeout = '3s'",
        f"""ALTER ROLE "props ""odd"" IN DATABASE x " IN DATABASE {name} SET app.x = E'a\\\\b\\nc'""",
        f"COMMENT ON DATABASE {name} IS E'it''s; \\n ON DATABASE {name} \\\\'",
        f"REVOKE ALL ON DATABASE {name} FROM PUBLIC",
        f"GRANT CONNECT, TEMPORARY ON DATABASE {name} TO props_reader WITH GRANT OPTION",
        f"""GRANT CREATE ON DATABASE {name} TO "props ""odd"" IN DATABASE x " """,
        f"ALTER DATABASE {name} CONNECTION LIMIT 17",
    )
    run(round_trip.server.dsn(), f"CREATE DATABASE {quoted(database_of(round_trip.copy))}")
    return round_trip


def _archive(round_trip: RoundTrip, scratch: Path) -> tuple[TocEntry, ...]:
    children, connection = Children(), parse_secret(round_trip.source, where="test")
    dumper = ArchiveDumper(
        PostgresTools(round_trip.home), children, connection, DatabaseTarget(name="shop", secret="shop")
    )
    file = scratch / "schema.dump"
    with hold_snapshot(connection, children, lock_timeout_seconds=5) as holder:
        dumper.schema(holder.snapshot, file)
    with file.open("rb") as archive:
        return read_archive(archive).entries


def _apply(round_trip: RoundTrip, entries: tuple[TocEntry, ...], into: str, *, with_rights: bool = True) -> list[str]:
    with closing(psycopg2.connect(into)) as session:
        source = database_of(round_trip.source)
        return apply_database_properties(session, entries, source=source, with_rights=with_rights)


def test_everything_comes_to_a_database_of_another_name(odd: RoundTrip, tmp_path: Path) -> None:
    entries = _archive(odd, tmp_path)

    exceptions = _apply(odd, entries, odd.copy)

    assert exceptions == []
    ((comment, limit, rights, settings),) = rows(odd.copy, _PROPERTIES)
    assert [(comment, limit, rights, settings)] == rows(odd.source, _PROPERTIES)
    assert (limit, len(settings)) == (17, 6)
    # And a new session has them
    assert rows(odd.copy, "SHOW work_mem") == [("7MB",)]


def test_without_rights_nobody_is_granted_anything(odd: RoundTrip, tmp_path: Path) -> None:
    exceptions = _apply(odd, _archive(odd, tmp_path), odd.copy, with_rights=False)

    assert exceptions == []
    assert rows(odd.copy, "SELECT datacl FROM pg_database WHERE datname = current_database()") == [(None,)]
    assert rows(odd.copy, "SHOW work_mem") == [("7MB",)]


def test_what_the_destination_refuses_is_said_and_the_rest_is_set(odd: RoundTrip, tmp_path: Path) -> None:
    # Given a role that has gone, a setting that no server takes, and a role that owns the copy and nothing else
    entries = _archive(odd, tmp_path)
    run(odd.source, "DROP OWNED BY props_reader", "DROP ROLE props_reader")
    run(odd.source, f"ALTER DATABASE {quoted(database_of(odd.source))} CONNECTION LIMIT -1")
    owner = odd.create_role("props_owner", "LOGIN")
    copy = database_of(odd.copy)
    run(odd.server.dsn(), f"ALTER DATABASE {quoted(copy)} OWNER TO props_owner")

    exceptions = _apply(odd, entries, odd.server.dsn(copy, user="props_owner"))

    # Then a person reads what is missing, and why
    said = "\n".join(exceptions)
    assert 'role "props_reader" does not exist' in said
    assert 'the setting "app.x" of the database: permission denied' in said
    assert "hunter2" not in said
    assert all(text.startswith("Not restored: ") for text in exceptions)
    # And the rest is there
    ((comment, limit, _, settings),) = rows(odd.copy, _PROPERTIES)
    assert comment.startswith("it's; ")
    assert limit == 17
    assert " work_mem=7MB" in settings
    assert owner


def test_a_template_does_not_become_one(round_trip: RoundTrip, tmp_path: Path) -> None:
    name = quoted(database_of(round_trip.source))
    round_trip.fill(f"ALTER DATABASE {name} IS_TEMPLATE true")
    copy = beside(round_trip.source, database_of(round_trip.copy))
    run(round_trip.server.dsn(), f"CREATE DATABASE {quoted(database_of(copy))}")
    entries = _archive(round_trip, tmp_path)
    round_trip.fill(f"ALTER DATABASE {name} IS_TEMPLATE false")

    exceptions = _apply(round_trip, entries, copy)

    assert exceptions == ["Not restored: the mark of the database as a template."]
    assert rows(copy, "SELECT datistemplate FROM pg_database WHERE datname = current_database()") == [(False,)]
