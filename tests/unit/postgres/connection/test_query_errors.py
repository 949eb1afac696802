"""What client programs write on stderr: real texts, and the errors that they become."""

import pytest

from coffre.model.errors import (
    CoffreError,
    ConnectError,
    DumpError,
    DumpTransientError,
    SchemaChangedError,
    ServerVersionError,
)
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.query_errors import explain_complaint

HERE = Connection("db.example.com", 5432, "app", "hunter2", "shop")


@pytest.mark.parametrize(
    ("stderr", "kind", "code", "message", "hint"),
    [
        (
            (
                "pg_dump: error: query failed: ERROR:  permission denied for table orders\n"
                "pg_dump: detail: Query was: LOCK TABLE public.orders IN ACCESS SHARE MODE\n"
            ),
            DumpError,
            "PERMISSION_DENIED",
            'The role "app" may not read the table orders of db.example.com:5432/shop.',
            'GRANT pg_read_all_data TO "app"',
        ),
        (
            "ERROR:  42501: permission denied for schema private\nLOCATION:  aclcheck_error, aclchk.c:2843\n",
            DumpError,
            "PERMISSION_DENIED",
            "may not read the schema private",
            "GRANT pg_read_all_data",
        ),
        (
            "pg_dump: error: query failed: ERROR:  permission denied for large object 77\n",
            DumpError,
            "PERMISSION_DENIED",
            "may not read the large object 77",
            'GRANT SELECT ON LARGE OBJECT 77 TO "app"',
        ),
        (
            'ERROR:  42501: query would be affected by row-level security policy for table "orders"\n',
            DumpError,
            "ROW_SECURITY",
            "Row level security hides rows of orders",
            'ALTER ROLE "app" BYPASSRLS',
        ),
        (
            (
                "pg_dump: error: aborting because of server version mismatch\n"
                "pg_dump: detail: server version: 19.1; pg_dump version: 18.6\n"
            ),
            ServerVersionError,
            "SERVER_TOO_NEW",
            "newer than pg_dump",
            "Update Coffre",
        ),
        (
            (
                "pg_dump: error: query failed: ERROR:  canceling statement due to statement timeout\n"
                "pg_dump: detail: Query was: LOCK TABLE public.orders IN ACCESS SHARE MODE\n"
            ),
            DumpTransientError,
            "LOCK_TIMEOUT",
            "limits.lock_timeout_seconds",
            "ACCESS EXCLUSIVE",
        ),
        (
            "ERROR: canceling statement due to lock timeout\n",
            DumpTransientError,
            "LOCK_TIMEOUT",
            "limits.lock_timeout_seconds",
            "ACCESS EXCLUSIVE",
        ),
        (
            "FATAL:  terminating connection due to conflict with recovery\nDETAIL:  User query might have needed to",
            DumpTransientError,
            "STANDBY_CONFLICT",
            "held up the replay",
            "hot_standby_feedback",
        ),
        (
            (
                "FATAL:  57P01: terminating connection due to administrator command\nserver closed the connection"
                " unexpectedly\n\tThis probably means the server terminated abnormally\n"
            ),
            DumpTransientError,
            "CONNECTION_LOST",
            "was cut",
            "Run the backup again",
        ),
        (
            'ERROR:  3F000: schema "twin" does not exist\n',
            SchemaChangedError,
            "SCHEMA_CHANGED",
            "dropped or changed",
            "new snapshot",
        ),
        (
            "pg_dump: error: schema with OID 16420 does not exist\n",
            SchemaChangedError,
            "SCHEMA_CHANGED",
            "dropped or changed",
            "new snapshot",
        ),
        (
            'pg_dump: error: definition of view "v" appears to be empty (length zero)\n',
            SchemaChangedError,
            "SCHEMA_CHANGED",
            "dropped or changed",
            "new snapshot",
        ),
        (
            'pg_dump: error: query to obtain definition of view "v" returned no data\n',
            SchemaChangedError,
            "SCHEMA_CHANGED",
            "dropped or changed",
            "new snapshot",
        ),
        (
            "pg_dump: error: could not find function definition for function with OID 16420\n",
            SchemaChangedError,
            "SCHEMA_CHANGED",
            "dropped or changed",
            "new snapshot",
        ),
        (
            'pg_dump: error: query failed: ERROR:  relation "public.orders" does not exist\n',
            SchemaChangedError,
            "SCHEMA_CHANGED",
            "dropped or changed",
            "new snapshot",
        ),
        (
            (
                'pg_dump: error: connection to server at "db.example.com" (10.0.0.1), port 5432 failed: FATAL: '
                ' password authentication failed for user "app"\n'
            ),
            ConnectError,
            "AUTHENTICATION_FAILED",
            'refuses the role "app"',
            "Update username and password",
        ),
        ("pg_dump: error: something else\n", DumpError, "TOOL_FAILED", "pg_dump ended with status 1", "own last words"),
        ("", DumpError, "TOOL_FAILED", "pg_dump ended with status 1", "own last words"),
    ],
)
def test_a_complaint_becomes_an_error_that_says_what_to_do(
    stderr: str, kind: type[CoffreError], code: str, message: str, hint: str
) -> None:
    error = explain_complaint(HERE, "pg_dump", 1, stderr)

    assert type(error) is kind
    assert error.code == code
    assert message in error.message
    assert hint in (error.hint or "")
    assert "hunter2" not in str(error)


def test_a_statement_timeout_of_another_statement_is_no_lock() -> None:
    error = explain_complaint(HERE, "psql", 1, "ERROR:  canceling statement due to statement timeout\n")

    assert error.code == "TOOL_FAILED"


def test_a_killed_program_may_be_tried_again() -> None:
    error = explain_complaint(HERE, "pg_dump", -9, "")

    assert isinstance(error, DumpTransientError)
    assert error.code == "TOOL_KILLED"
    assert "signal 9" in f"{error.message} {error.detail}"


def test_only_the_end_of_a_long_complaint_is_kept() -> None:
    error = explain_complaint(HERE, "pg_dump", 1, "x" * 5000 + "the end")

    assert (error.detail or "").endswith("the end")
    assert len(error.detail or "") == 800


def test_a_program_that_reads_a_file_needs_no_connection() -> None:
    error = explain_complaint(None, "pg_restore", 1, "pg_restore: error: input file is not a valid archive\n")

    assert error.code == "TOOL_FAILED"
    assert "a file" in error.message
