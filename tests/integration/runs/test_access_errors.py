"""Roles that may not read everything: a backup that silently lacks rows is none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.integration.conftest import Coffre, run_sql, with_password
from tests.integration.expect import failed_backup

from coffre.model.backup import Status
from coffre_local.sample import fingerprint


@pytest.fixture
def reader(shop: str) -> Iterator[str]:
    """The URL of the shop for a role that may read its tables and sequence, and nothing more."""
    run_sql(
        shop,
        "CREATE ROLE reader LOGIN",
        "GRANT USAGE ON SCHEMA public TO reader",
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader",
        "GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO reader",
    )
    yield with_password(shop, "reader")
    run_sql(shop, "REASSIGN OWNED BY reader TO postgres", "DROP OWNED BY reader", "DROP ROLE reader")


def test_a_role_with_the_right_to_read_is_enough(coffre: Coffre, reader: str) -> None:
    coffre.configure(reader)

    assert coffre.backup()["status"] == "COMPLETED"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("REVOKE SELECT ON customers FROM reader", ["table customers", "pg_read_all_data", "exclude the table"]),
        ("REVOKE SELECT ON orders_id_seq FROM reader", ["sequence orders_id_seq", "pg_read_all_data"]),
        ("CREATE SCHEMA hidden CREATE TABLE safe (id int)", ["hidden"]),
    ],
)
def test_a_role_without_rights_is_an_error_that_says_what_to_grant(
    coffre: Coffre, shop: str, reader: str, change: str, words: list[str]
) -> None:
    run_sql(shop, change)
    coffre.configure(reader)

    failed_backup(coffre, "PERMISSION_DENIED", 'The role "reader" may not read the', *words)


def test_a_table_without_rights_can_be_left_out(coffre: Coffre, shop: str, reader: str) -> None:
    run_sql(shop, "CREATE TABLE secrets (id int)")
    coffre.configure(reader, target={"tables": {"exclude": ["secrets"]}})

    coffre.backup()

    (backup,) = coffre.backups()
    assert (backup.status, backup.tables) == (Status.COMPLETED, 2)


HIDE = (
    "ALTER TABLE customers ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY two_of_them ON customers USING (id <= 2)",
)


def test_row_security_that_hides_rows_is_an_error(coffre: Coffre, shop: str, reader: str) -> None:
    run_sql(shop, *HIDE)
    coffre.configure(reader)

    failed_backup(coffre, "ROW_SECURITY", "hides rows of customers", 'ALTER ROLE "reader" BYPASSRLS')


def test_forced_row_security_is_an_error_even_for_the_owner(coffre: Coffre, shop: str, reader: str) -> None:
    run_sql(
        shop,
        *HIDE,
        "ALTER TABLE customers OWNER TO reader",
        "ALTER TABLE customers FORCE ROW LEVEL SECURITY",
    )
    coffre.configure(reader)

    failed_backup(coffre, "ROW_SECURITY", "hides rows of customers", "BYPASSRLS")


def test_a_role_that_reads_all_and_bypasses_row_security_gets_every_row(
    coffre: Coffre, shop: str, new_database: str
) -> None:
    # Given row security on a table, and a role as a managed server would have it: no superuser
    run_sql(
        shop,
        *HIDE,
        "ALTER TABLE customers FORCE ROW LEVEL SECURITY",
        "CREATE ROLE backup LOGIN NOSUPERUSER BYPASSRLS IN ROLE pg_read_all_data",
    )
    try:
        coffre.configure(with_password(shop, "backup"))

        # When it makes a backup, which is restored
        done = coffre.backup()
        coffre.restore(done["id"], new_database)

        # Then all fifty rows are there, not two of them
        assert fingerprint(new_database) == fingerprint(shop)
        assert run_sql(new_database, "SELECT count(*) FROM customers") == [(50,)]
    finally:
        run_sql(shop, "DROP ROLE backup")
