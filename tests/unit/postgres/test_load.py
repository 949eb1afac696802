"""Which complaints of pg_restore are tolerated: exactly one, and only alone."""

import pytest

from coffre.postgres.schema_loader import only_tolerated

# What pg_restore 18 writes when the server is PostgreSQL 16.
TOLERATED = """\
pg_restore: error: could not execute query: ERROR:  unrecognized configuration parameter "transaction_timeout"
Command was: SET transaction_timeout = 0;
"""
EXISTS = """pg_restore: error: could not execute query: ERROR:  relation "A b" already exists
Command was: CREATE TABLE public."A b" (
    i integer NOT NULL,
    t text
);


"""


def ignored(count: int) -> str:
    return f"pg_restore: warning: errors ignored on restore: {count}\n"


@pytest.mark.parametrize(
    "stderr",
    [
        TOLERATED + ignored(1),
        (TOLERATED + ignored(1)).strip(),
        # with --jobs each worker sets it once more, and only some are counted
        TOLERATED * 4 + ignored(2),
        TOLERATED * 4 + ignored(4),
        TOLERATED,
    ],
)
def test_the_parameter_of_newer_servers_is_tolerated(stderr: str) -> None:
    assert only_tolerated(stderr)


@pytest.mark.parametrize(
    "stderr",
    [
        "",
        ignored(1),
        TOLERATED + ignored(2),
        EXISTS,
        TOLERATED + EXISTS + ignored(2),
        EXISTS + TOLERATED + ignored(2),
        TOLERATED * 3 + EXISTS + TOLERATED + ignored(3),
        TOLERATED.replace("transaction_timeout", "other_timeout") + ignored(1),
        TOLERATED.replace("SET transaction_timeout = 0;", "SET transaction_timeout = 0; DROP TABLE x;") + ignored(1),
        TOLERATED.replace("SET transaction", "ALTER SYSTEM SET transaction") + ignored(1),
        TOLERATED + 'pg_restore: error: could not execute query: ERROR:  role "x" does not exist\n'
        "Command was: ALTER TABLE public.t OWNER TO x;\n" + ignored(2),
        TOLERATED + "pg_restore: error: a worker process died unexpectedly\n",
        TOLERATED + "pg_restore: fatal: out of memory\n" + ignored(1),
        TOLERATED + "server closed the connection unexpectedly\n" + ignored(1),
    ],
)
def test_nothing_else_is(stderr: str) -> None:
    assert not only_tolerated(stderr)


def test_messages_of_parallel_workers_may_stand_in_each_other() -> None:
    # As seen: one worker's prefix, another's whole message, then the rest of the first
    message = TOLERATED.removeprefix("pg_restore:")
    mixed = TOLERATED + "pg_restore:" + TOLERATED + message + TOLERATED + ignored(2)
    assert only_tolerated(mixed)
    assert not only_tolerated(TOLERATED + "pg_restore:" + EXISTS + message + ignored(2))
