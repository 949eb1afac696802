"""What belongs to the database itself is in the backup; a restore says that it did not set it."""

from __future__ import annotations

import psycopg2
from tests.integration.conftest import Coffre, beside


def test_settings_of_the_database_are_said_to_be_missing(coffre: Coffre, empty_database: str) -> None:
    # Given a database with a setting, a comment and rights of its own
    name = empty_database.rsplit("/", 1)[1]
    session = psycopg2.connect(empty_database)
    session.autocommit = True
    with session.cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {name} SET work_mem = '7MB'")
        cursor.execute(f"COMMENT ON DATABASE {name} IS 'ours'")
        cursor.execute(f"GRANT CONNECT ON DATABASE {name} TO pg_read_all_data")
    coffre.configure(empty_database)

    # When it is backed up and restored
    restored = f"{name}_restored"
    coffre.restore(coffre.backup()["id"], beside(empty_database, restored))

    # Then the result says so, once
    (restore,) = coffre.catalog.restores()
    assert [text for text in restore.exceptions if "ALTER DATABASE" in text] == list(restore.exceptions)
    assert len(restore.exceptions) == 1
    with session.cursor() as cursor:
        cursor.execute(f"DROP DATABASE {restored}")
    session.close()


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
