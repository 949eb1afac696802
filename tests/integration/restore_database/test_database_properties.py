"""What belongs to the database itself: a new one gets it, one that was there keeps its own."""

from __future__ import annotations

from contextlib import closing

import psycopg2
from tests.integration.conftest import Coffre, beside


def test_settings_of_the_database_come_with_one_that_is_created(coffre: Coffre, empty_database: str) -> None:
    # Given a database with a setting, a comment and rights of its own
    name = empty_database.rsplit("/", 1)[1]
    restored = f"{name}_restored"
    with closing(psycopg2.connect(empty_database)) as session:
        session.autocommit = True
        with session.cursor() as cursor:
            cursor.execute(f"ALTER DATABASE {name} SET work_mem = '7MB'")
            cursor.execute(f"COMMENT ON DATABASE {name} IS 'ours'")
            cursor.execute(f"GRANT CONNECT ON DATABASE {name} TO pg_read_all_data")
        coffre.configure(empty_database)
        backup = coffre.backup()["id"]

        # When it is restored into a new database, and into one that is there
        coffre.restore(backup, beside(empty_database, restored))
        with session.cursor() as cursor:
            cursor.execute(_PROPERTIES, (restored,))
            assert cursor.fetchall() == [("{work_mem=7MB}", "ours", True)]
            cursor.execute(f"DROP DATABASE {restored}")
            cursor.execute(f"CREATE DATABASE {restored}")
        coffre.restore(backup, beside(empty_database, restored))

        # Then the second keeps its own, which is said
        there, created = coffre.catalog.restores()
        assert created.exceptions == ()
        (said,) = there.exceptions
        assert "because the database existed already" in said
        with session.cursor() as cursor:
            cursor.execute(_PROPERTIES, (restored,))
            assert cursor.fetchall() == [(None, None, False)]
            cursor.execute(f"DROP DATABASE {restored}")


_PROPERTIES = """
SELECT s.setconfig::text, shobj_description(d.oid, 'pg_database'),
    coalesce(d.datacl::text LIKE '%%pg_read_all_data=c/%%', false)
FROM pg_database d LEFT JOIN pg_db_role_setting s ON s.setdatabase = d.oid WHERE d.datname = %s
"""


def test_a_plain_database_is_restored_without_exceptions(coffre: Coffre, empty_database: str) -> None:
    coffre.configure(empty_database)
    coffre.restore(coffre.backup()["id"], beside(empty_database, "plain_restored"))

    (restore,) = coffre.catalog.restores()
    assert restore.exceptions == ()
    session = psycopg2.connect(empty_database)
    session.autocommit = True
    with session.cursor() as cursor:
        cursor.execute("DROP DATABASE plain_restored")
    session.close()
