"""What client programs and the server complain about while a database is read, as errors that say what to do."""

from __future__ import annotations

import re
from typing import Final

import psycopg2
import psycopg2.errors

from coffre.model.errors import (
    CoffreError,
    ConnectError,
    DumpError,
    DumpTransientError,
    SchemaChangedError,
    ServerVersionError,
)
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.connect_errors import CONNECTION_LOST, explain_refusal

_PERMISSION: Final = re.compile(r"permission denied for ([a-z ]+?) (\"?[^\n]+?\"?)(?:\n|$)")
_LARGE_OBJECT: Final = re.compile(r"permission denied for large object (\d+)")
_ROW_SECURITY: Final = re.compile(r"row-level security policy for table \"?([^\n\"]+)")
# The server's and pg_dump's words about what the snapshot shows and what no longer exists.
_VANISHED: Final = (
    r"(relation|schema) .* does not exist|with OID \d+ does not exist|could not open relation|cache lookup failed"
    r"|returned no data|appears to be empty \(length zero\)|query returned \d+ rows instead of one"
    r"|failed sanity check|could not find function definition"
)
_PASSING: Final[tuple[tuple[str, str, str, str], ...]] = (
    (
        r"snapshot \"[^\"]*\" does not exist|invalid snapshot identifier",
        "CONNECTION_LOST",
        "The session that held the backup's snapshot was cut.",
        "Nothing was published. Run the backup again; if it happens again, look at the server's log and idle limits.",
    ),
    (
        # the last is pg_dump's lock timeout
        r"deadlock detected|lock timeout|could not obtain lock|statement timeout[\s\S]*LOCK TABLE",
        "LOCK_TIMEOUT",
        "Another session holds a lock on a table for longer than limits.lock_timeout_seconds.",
        "It is tried again. Find the session that holds an ACCESS EXCLUSIVE lock (ALTER TABLE, VACUUM FULL).",
    ),
    (
        r"conflict with recovery",  # before the next: it can end the session, too
        "STANDBY_CONFLICT",
        "The standby ended a query of the backup, because its snapshot held up the replay.",
        "Nothing was published. Read from the primary; or on the standby: ALTER SYSTEM SET hot_standby_feedback = on.",
    ),
    (
        CONNECTION_LOST,
        "CONNECTION_LOST",
        "The connection to the database was cut while it was being read.",
        "Nothing was published. Run the backup again; if it happens again, look at the server's log and idle limits.",
    ),
    (
        _VANISHED,
        "SCHEMA_CHANGED",
        "A table was dropped or changed after the backup's snapshot was taken and before it was read.",
        "It is tried again with a new snapshot. What changes tables should run at another time.",
    ),
)


def explain_complaint(connection: Connection | None, program: str, status: int, stderr: str) -> CoffreError:
    """Turn a failed program's stderr into an error that says what to do."""
    if connection is None:
        return _failed(program, status, stderr, "a file")
    where = f"{connection}"
    detail = stderr[-800:] or f"exit status {status}, nothing on stderr"
    if found := _PERMISSION.search(stderr):
        grant = f'GRANT pg_read_all_data TO "{connection.user}"; or exclude the table in the configuration.'
        if large_object := _LARGE_OBJECT.search(stderr):  # pg_read_all_data does not cover these
            grant = f'GRANT SELECT ON LARGE OBJECT {large_object[1]} TO "{connection.user}";'
        return DumpError(
            f'The role "{connection.user}" may not read the {found[1]} {found[2].strip()} of {where}.',
            code="PERMISSION_DENIED",
            detail=detail,
            hint=f"Run: {grant}",
        )
    if found := _ROW_SECURITY.search(stderr):
        return DumpError(
            f'Row level security hides rows of {found[1]} in {where} from the role "{connection.user}".',
            code="ROW_SECURITY",
            detail=detail,
            hint=f'Run: ALTER ROLE "{connection.user}" BYPASSRLS; a backup that silently lacks rows is none.',
        )
    if "server version mismatch" in stderr:
        return ServerVersionError(f"The server {where} is newer than {program}.", detail=detail, hint="Update Coffre.")
    for pattern, code, message, hint in _PASSING:
        if re.search(pattern, stderr):
            if code == SchemaChangedError.default_code:
                return SchemaChangedError(message, detail=detail, hint=hint)
            return DumpTransientError(message, code=code, detail=detail, hint=hint)
    if (
        "connection to server" in stderr
        and (refusal := explain_refusal(connection, stderr)).code != ConnectError.default_code
    ):
        return refusal
    return _failed(program, status, stderr, where)


def _failed(program: str, status: int, stderr: str, where: str) -> CoffreError:
    if status < 0:
        return DumpTransientError(
            f"{program} was killed by signal {-status} while reading {where}.",
            code="TOOL_KILLED",
            detail=stderr[-800:] or None,
            hint="Nothing was published. If it was not killed on purpose, give the function more memory.",
        )
    return DumpError(
        f"{program} ended with status {status} while reading {where}.",
        code="TOOL_FAILED",
        detail=stderr[-800:] or None,
        hint="Nothing was published and older backups are untouched. The detail is the program's own last words.",
    )


def explain_query_error(connection: Connection, error: psycopg2.Error) -> CoffreError:
    """Turn an error of a session into one that says what to do."""
    text = str(error)
    if isinstance(error, psycopg2.errors.LockNotAvailable):
        text += "\nlock timeout"
    return explain_complaint(connection, "the backup's own query", 1, f"ERROR: {text}")


def is_too_big(sqlstate: str, text: str) -> bool:
    """Whether a row could not be read because its text has more than 1 GB: PostgreSQL's limit for any value."""
    return sqlstate == "54000" or "invalid memory alloc request size" in text


def row_too_big(table: str, detail: str) -> DumpError:
    """Return the error for a row that the server itself cannot write as text."""
    return DumpError(
        f"A row of the table {table} is too big: as text it has more than 1 GB, and PostgreSQL cannot write that.",
        code="ROW_TOO_BIG",
        detail=detail,
        hint="pg_dump cannot read it either. bytea takes twice its size as text: find rows with values of more than "
        "500 MB (WHERE octet_length(COLUMN) > 500000000) and store them in pieces or as large objects, "
        f"or leave the table's rows out of the backup (tables.exclude_data: {table}).",
    )
