"""A connection whose session settings decide how every value is written as text."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
from psycopg2.extensions import connection

# A row is compared by its text, so all that shapes this text is set here and not left to the server, database or role.
# row_security = off makes a hidden row an error. Plain SET and not startup options: session poolers refuse the latter.
PINNED_SETTINGS = """
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, YMD';
SET IntervalStyle = 'postgres';
SET extra_float_digits = 3;
SET bytea_output = 'hex';
SET xmlbinary = 'base64';
SET lc_monetary = 'C';
SET quote_all_identifiers = off;
SET search_path = '';
SET row_security = off;
SET statement_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
"""


@contextmanager
def pinned_connection(dsn: str, *, isolation: int | None = None) -> Iterator[connection]:
    """Open a session with the pinned settings; commit at the end, roll back on an error, close in both cases.

    Parameters
    ----------
    isolation
        One of psycopg2's `ISOLATION_LEVEL_` constants. With it the session is read-only; without it, it writes.
    """
    conn = psycopg2.connect(dsn, application_name="coffre-sample")
    try:
        conn.set_client_encoding("UTF8")
        with conn.cursor() as cursor:
            cursor.execute(PINNED_SETTINGS)
        conn.commit()
        if isolation is not None:
            conn.set_session(isolation_level=isolation, readonly=True)
        with conn:
            yield conn
    finally:
        conn.close()
