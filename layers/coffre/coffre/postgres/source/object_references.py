"""Which objects of buckets the rows of a snapshot refer to: asked in that snapshot, read-only, sorted, streamed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import psycopg2
import psycopg2.extensions

from coffre.model.errors import CoffreError, DumpError
from coffre.model.names import quoted
from coffre.postgres.archive.sql_tokens import tokens_of
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.client_tools import Children
from coffre.postgres.connection.connect import connect, one_line

POINT_QUERY: Final = "POINT_QUERY"
_NEEDED: Final = ("bucket", "key")
_KNOWN: Final = {"bucket": "text", "key": "text", "version": "text", "size": "int8", "etag": "text"}
_ROWS_A_FETCH: Final = 5_000
# What Storage writes is an etag with quotes (object.metadata.eTag), and a size as a JSON number. Keys in the bucket
# behind it are <tenant>/<bucket>/<name>/<version>; its S3 endpoint knows <bucket> and <name> alone, and no versions.
# Source: github.com/supabase/storage, src/storage/locator.ts and src/storage/backend/adapter.ts (2026-08-21).
_OF_SUPABASE: Final = """
SELECT {bucket} AS bucket, {key} AS key,
       CASE WHEN o.metadata ->> 'size' ~ '^[0-9]{{1,18}}$' THEN (o.metadata ->> 'size')::pg_catalog.int8 END AS size,
       NULLIF(btrim(o.metadata ->> 'eTag', '"'), '') AS etag
FROM storage.objects AS o
"""


def supabase_query(bucket: str | None = None, tenant: str = "stub") -> str:
    """Return the query for `storage.objects`, by the names of Supabase's S3 endpoint, or of the bucket behind it."""
    if bucket is None:
        return _OF_SUPABASE.format(bucket="o.bucket_id", key="o.name")
    key = f"{_literal(tenant)} || '/' || o.bucket_id || '/' || o.name || COALESCE('/' || NULLIF(o.version, ''), '')"
    return _OF_SUPABASE.format(bucket=_literal(bucket), key=key)


type Row = tuple[str, str | None, int | None, str | None]


def referenced_objects(
    connection: Connection, children: Children, *, snapshot: str, query: str, timeout_seconds: int
) -> Iterator[Row]:
    """Yield the name (`<bucket>/<key>`), version, size and etag that each row refers to, sorted by name.

    Rows without a bucket or a key refer to nothing. The session has a transaction of its own in the snapshot; it cannot
    write, and holds a few thousand rows in memory.

    Raises
    ------
    DumpError
        `POINT_QUERY`: the query is refused, takes too long, or has other columns.
    CoffreError
        The session failed.
    """
    query = _one_statement(query)
    try:
        with connect(connection) as session, children.cancelling(session):
            session.set_session(isolation_level="REPEATABLE READ", readonly=True)
            _begin(session, snapshot, timeout_seconds)
            statement = _sorted(query, _columns(session, query))
            with session.cursor("coffre_references") as cursor:
                cursor.itersize = _ROWS_A_FETCH
                cursor.execute(statement)
                for bucket, key, version, size, etag in cursor:
                    yield f"{bucket}/{key}", version, size, etag.strip('"') if etag else None
    except psycopg2.Error as error:
        children.check()
        raise _refused(one_line(error)) from error
    except UnicodeDecodeError as error:
        raise _refused("it returned text that is not in the database's encoding") from error


def _begin(session: psycopg2.extensions.connection, snapshot: str, timeout_seconds: int) -> None:
    with session.cursor() as cursor:
        cursor.execute("SET TRANSACTION SNAPSHOT %s", (snapshot,))
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", (f"{timeout_seconds}s",))
        cursor.execute("RESET search_path")  # the owner's query may name tables as the owner does


def _columns(session: psycopg2.extensions.connection, query: str) -> set[str]:
    """Return the columns of a query, which are checked."""
    with session.cursor() as cursor:
        cursor.execute(f"SELECT * FROM ({query}\n) AS found LIMIT 0")  # noqa: S608 - the owner's own query
        columns = [column.name for column in cursor.description or ()]
    missing = [name for name in _NEEDED if name not in columns]
    unknown = [name for name in columns if name not in _KNOWN]
    if missing or unknown or len(set(columns)) < len(columns):
        raise _refused(
            f"its columns are {', '.join(columns)}; it needs bucket and key, and may have version, etag and size"
        )
    return set(columns)


def _sorted(query: str, columns: set[str]) -> str:
    wanted = ", ".join(
        f"found.{quoted(name)}::pg_catalog.{kind} AS {quoted(name)}" if name in columns else f"NULL AS {quoted(name)}"
        for name, kind in _KNOWN.items()
    )
    # UTF-8 sorts as its characters do; no collation of the server is asked.
    return (
        f"SELECT * FROM (SELECT {wanted} FROM ({query}\n) AS found) AS named "  # noqa: S608 - quoted; the owner's query
        "WHERE bucket IS NOT NULL AND key IS NOT NULL AND bucket <> '' AND key <> '' "
        "ORDER BY pg_catalog.convert_to(bucket || '/' || key, 'UTF8'), version, etag, size"
    )


def _one_statement(query: str) -> str:
    """Return the query without its last semicolon; what follows another one would be a statement of its own."""
    tokens = list(tokens_of(query))
    while tokens and tokens[-1].is_sign(";"):
        query, tokens = query[: tokens[-1].start], tokens[:-1]
    if not tokens or any(token.is_sign(";") for token in tokens):
        raise _refused("it must be one SELECT")
    return query


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _refused(why: str) -> CoffreError:
    return DumpError(
        f"The query for the objects that rows refer to failed: {why}.",
        code=POINT_QUERY,
        hint="Try it in psql with the role of the backups, and correct points[].objects (docs/points.md).",
    )
