"""Backups of one major of PostgreSQL, restored into the same or another one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from tests.integration.conftest import SHOP, Coffre, beside, run_sql, with_password
from tests.integration.expect import failed_restore
from tests.shared_server import own_databases

from coffre.model.backup import Status
from coffre.policy import slicing
from coffre.vault.codec import FrameDecoder
from coffre_local.postgres_server import PostgresServer
from coffre_local.sample import fingerprint, load, sequences


@pytest.fixture
def database_on(server_of_major: Callable[[int], PostgresServer]) -> Iterator[Callable[[int], str]]:
    """Make an empty database on a server of a major; dropped afterwards, with a copy beside it."""
    with ExitStack() as stack:

        def database(major: int) -> str:
            server = server_of_major(major)
            stack.enter_context(own_databases(server, "versions", "copy"))
            return with_password(server.dsn("versions"))

        yield database


@pytest.mark.parametrize("major", [14, 17])  # `test_majors.py` has each major, with all that it knows
def test_a_backup_of_an_older_server_is_restored_into_the_newest(
    coffre: Coffre, database_on: Callable[[int], str], new_database: str, major: int
) -> None:
    source = database_on(major)
    load(source, scale=0.005, large_objects=True)
    coffre.configure(source)

    done = coffre.backup()
    coffre.restore(done["id"], new_database)

    assert fingerprint(new_database) == fingerprint(source)
    assert sequences(new_database) == sequences(source)
    (backup,) = coffre.backups()
    assert str(backup.source_version).startswith(f"{major}.")


@pytest.mark.parametrize("major", [14, 16])
def test_a_parameter_that_only_newer_servers_know_is_tolerated(
    coffre: Coffre, database_on: Callable[[int], str], major: int
) -> None:
    """pg_restore 18 says `SET transaction_timeout`, which a server below 17 refuses (field note 7)."""
    source = database_on(major)
    load(source, scale=0.005, large_objects=True)
    coffre.configure(source)

    done = coffre.backup()
    coffre.restore(done["id"], beside(source, "copy"))

    assert fingerprint(beside(source, "copy")) == fingerprint(source)
    (restore,) = coffre.catalog.restores()
    assert restore.status is Status.COMPLETED


def test_no_stored_byte_depends_on_the_version_of_a_psql(coffre: Coffre, shop: str) -> None:
    r"""Plain SQL dumps begin with `\restrict` since August 2025, and older programs choke on it (field note 8)."""
    coffre.configure(shop, encryption="none", recipients=[])
    run_sql(shop, "CREATE ROLE own_role")
    try:
        backup_id = coffre.backup()["id"]
    finally:
        run_sql(shop, "DROP ROLE own_role")
    vault = coffre.backup_function().services.vault
    found = vault.find_manifest("shop", backup_id)
    assert found is not None

    stored = {entry.name: b"".join(vault.read_entry(entry, FrameDecoder())) for entry in vault.entries(found[0])}

    assert stored["schema"].startswith(b"PGDMP")
    assert b"CREATE ROLE own_role" in stored["roles"]
    assert not any(line.startswith(b"\\") for line in stored["roles"].splitlines())
    assert stored["tables/public.customers/000000"].startswith(b"1\tAda Lovelace 1\n2\tAda Lovelace 2\n")


# What a restore cannot make though the source has it: each in its own section of the archive.
BROKEN = {
    # The function looks for its table in the search path, which is empty in a restore: works at the source only.
    "post-data": (
        "CREATE TABLE settings AS SELECT 1 AS value",
        "CREATE FUNCTION setting(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 + max(value) FROM settings'",
        "CREATE INDEX by_setting ON orders (setting(customer))",
    ),
    "orphan": ("SET session_replication_role = replica; INSERT INTO orders (customer) VALUES (999)",),
}


def test_an_index_that_needs_a_search_path_does_not_stop_a_backup(
    coffre: Coffre, database_on: Callable[[int], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A query on the table would look into the index's function; earthdistance has such ones before PostgreSQL 16."""
    # Given such an index on a table that is large enough to be cut into slices
    monkeypatch.setattr(slicing, "SLICE_BLOCKS", 1)
    source = database_on(16)
    run_sql(source, SHOP, *BROKEN["post-data"])
    coffre.configure(source)

    coffre.backup()

    # Then every row is in the backup
    (backup,) = coffre.backups()
    assert (backup.status, backup.rows) == (Status.COMPLETED, 1051)


def test_a_refusal_of_an_older_server_stops_a_strict_restore(coffre: Coffre, database_on: Callable[[int], str]) -> None:
    source = database_on(16)
    run_sql(source, SHOP, *BROKEN["orphan"])
    coffre.configure(source)
    done = coffre.backup()

    failed_restore(
        coffre, "SCHEMA_FAILED", "foreign key", backup_id=done["id"], destination=beside(source, "copy"), strict=True
    )


def test_an_index_that_needs_a_search_path_comes_back_with_the_sources_own(
    coffre: Coffre, database_on: Callable[[int], str]
) -> None:
    source = database_on(16)
    run_sql(source, SHOP, *BROKEN["post-data"])
    coffre.configure(source)

    done = coffre.restore(str(coffre.backup()["id"]), beside(source, "copy"), strict=True)

    assert done["exceptions"] == 0
    assert coffre.catalog.get_restore(done["id"]).notes
    assert run_sql(beside(source, "copy"), "SELECT count(*) FROM pg_class WHERE relname = 'by_setting'") == [(1,)]


@pytest.mark.parametrize("exists", [True, False])
def test_a_destination_that_is_too_old_for_the_schema_is_refused(
    coffre: Coffre, shop: str, server_of_major: Callable[[int], PostgresServer], exists: bool
) -> None:
    coffre.configure(shop)
    done = coffre.backup()
    server = server_of_major(15)
    url = server.create_database("too_old") if exists else server.dsn("too_old")
    try:
        failed_restore(
            coffre,
            "DESTINATION_TOO_OLD",
            "is PostgreSQL 15, older than the backup's source (18)",
            "PostgreSQL 18 or newer",
            backup_id=done["id"],
            destination=with_password(url),
        )

        names = run_sql(server.dsn(), "SELECT count(*) FROM pg_database WHERE datname = 'too_old'")
        assert names == [(int(exists),)]
    finally:
        server.drop_database("too_old")
