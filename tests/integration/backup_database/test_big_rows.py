"""Rows of hundreds of megabytes pass in little memory; one that PostgreSQL cannot write is a clear error."""

from __future__ import annotations

import resource

from tests.integration.conftest import Coffre, run_sql, with_password
from tests.integration.expect import failed_backup

MEGABYTE = 1024 * 1024
# Not compressed: that would take longer than all the rest.
PICTURES = (
    "CREATE TABLE pictures (id int, body bytea)",
    "ALTER TABLE pictures ALTER body SET STORAGE EXTERNAL",
)


def big_row(megabytes: int) -> str:
    """A row with this number of megabytes of bytea."""
    return f"INSERT INTO pictures SELECT 1, convert_to(repeat('x', {megabytes * MEGABYTE}), 'UTF8')"


def test_a_row_that_the_server_cannot_write_as_text_is_named_with_what_to_do(
    coffre: Coffre, empty_database: str
) -> None:
    """513 MB of bytea are a little more than 1 GB of text."""
    run_sql(empty_database, *PICTURES, big_row(513))
    coffre.configure(with_password(empty_database))

    failed_backup(coffre, "ROW_TOO_BIG", "public.pictures", "1 GB", "tables.exclude_data")

    coffre.configure(with_password(empty_database), target={"tables": {"exclude_data": ["public.pictures"]}})
    assert coffre.backup()["status"] == "COMPLETED"


def test_a_row_of_hundreds_of_megabytes_takes_little_memory(coffre: Coffre, empty_database: str) -> None:
    # Given a process that has backed up before
    run_sql(empty_database, *PICTURES)
    coffre.configure(with_password(empty_database))
    coffre.backup()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # When a row of 200 MB, 400 MB of text, comes along
    run_sql(empty_database, big_row(200))

    assert coffre.backup()["status"] == "COMPLETED"

    # Then the process has grown by some buffers at most
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < 100 * MEGABYTE
