"""The databases that are measured with. Scale 1 is their full size as `COPY` text; they are the same every time."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import psycopg2
import psycopg2.extensions

# About what applications keep: text with some repetition, numbers, timestamps, JSON. 160 bytes a row.
_EVENT: Final = """SELECT g AS id, md5(g::text) AS session,
    (ARRAY['view','click','search','buy'])[1 + g %% 4] AS kind,
    timestamptz '2024-01-01' + g * interval '7 seconds' AS at, (g::bigint * 7919) %% 100003 AS user_id,
    jsonb_build_object('path', '/items/' || g %% 5000, 'ms', g %% 997, 'agent', md5((g %% 300)::text)) AS data
FROM generate_series(%(first)s, %(last)s) g"""
_ORDER: Final = """SELECT g AS id, 'customer' || (g::bigint * 31) %% 90001 || '@example.com' AS email,
    round((g %% 100000) * 1.37, 2) AS amount, date '2020-01-01' + g %% 1500 AS day, repeat('note ', g %% 7) AS note
FROM generate_series(%(first)s, %(last)s) g"""
_EVENTS: Final = 4_300_000
_ORDERS: Final = 5_000_000

TABLES: Final = 500
_ROWS_A_TABLE: Final = 13_000

_BIG_TABLE_EVENTS: Final = 26_000_000

_DOCUMENTS: Final = 30_000
_PARAGRAPHS: Final = 4096
_TENANTS: Final = 150
_TABLES_A_TENANT: Final = 20
_ROWS_OF_A_TENANT: Final = 20

_LARGE_OBJECTS: Final = 30_000
_LARGE_OBJECTS_AT_ONCE: Final = 1_000

# Bytes of `content`, in turn; every thousandth row has the large one.
_CONTENT_BYTES: Final = (512, 2_000, 6_000, 12_000, 20_000)
_LARGE_CONTENT_BYTES: Final = 3_000_000


@dataclass(frozen=True)
class Database:
    """A database to measure with: `fill` gets a connection in autocommit mode and the scale."""

    name: str
    title: str
    fill: Callable[[psycopg2.extensions.connection, float], None]
    is_large: bool = False


def fill(database: Database, url: str, scale: float) -> None:
    """Create the tables, so that no later reader has to set hint bits or wait for the disk."""
    session = psycopg2.connect(url)
    try:
        session.autocommit = True
        database.fill(session, scale)
        with session.cursor() as cursor:
            cursor.execute("VACUUM (ANALYZE)")
            cursor.execute("CHECKPOINT")
    finally:
        session.close()


def append_rows(url: str, scale: float, share: float) -> None:
    """Add a share of new rows to both tables of `two-tables`."""
    session = psycopg2.connect(url)
    session.autocommit = True
    with session.cursor() as cursor:
        for table, select, count in (("events", _EVENT, _EVENTS), ("orders", _ORDER, _ORDERS)):
            rows = int(count * scale)
            cursor.execute(f"INSERT INTO {table} {select}", {"first": rows + 1, "last": int(rows * (1 + share))})
    session.close()


def _two_tables(session: psycopg2.extensions.connection, scale: float) -> None:
    _create(session, "events", _EVENT, rows=int(_EVENTS * scale))
    _create(session, "orders", _ORDER, rows=int(_ORDERS * scale))


def _many_tables(session: psycopg2.extensions.connection, scale: float) -> None:
    first = 1
    for number in range(TABLES):
        # From a fifth to nine fifths of the mean, and no row twice.
        rows = int(_ROWS_A_TABLE * scale * (0.2 + 1.6 * number / (TABLES - 1)))
        _create(session, f"table_{number:03d}", _EVENT, rows=rows, first=first)
        first += rows


def _one_table(session: psycopg2.extensions.connection, scale: float) -> None:
    _create(session, "events", _EVENT, rows=int(_BIG_TABLE_EVENTS * scale))


def _create(session: psycopg2.extensions.connection, table: str, select: str, *, rows: int, first: int = 1) -> None:
    with session.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {table} AS {select}", {"first": first, "last": first + rows - 1})
        cursor.execute(f"ALTER TABLE {table} ADD PRIMARY KEY (id)")


def _wide_rows(session: psycopg2.extensions.connection, scale: float) -> None:
    """JSON and text that compress well, and bytes that do not; most of it is in TOAST."""
    with session.cursor() as cursor:
        cursor.execute("CREATE TABLE documents (id bigint PRIMARY KEY, data jsonb, body text, content bytea)")
        for lines in _documents(int(_DOCUMENTS * scale)):
            cursor.copy_expert("COPY documents FROM STDIN", io.StringIO(lines))


def _documents(rows: int) -> Iterator[str]:
    """Yield `COPY` text, some hundred rows at a time."""
    chance = random.Random(1)
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 10))) for _ in range(5000)]
    paragraphs = [" ".join(chance.choices(words, k=150)) for _ in range(_PARAGRAPHS)]
    batch: list[str] = []
    for number in range(1, rows + 1):
        is_large = number % 1000 == 0
        size = _LARGE_CONTENT_BYTES if is_large else _CONTENT_BYTES[number % len(_CONTENT_BYTES)]
        data = {"title": paragraphs[number % 97][:40], "tags": chance.choices(words, k=20), "number": number}
        data |= {name: chance.random() for name in words[:40]}
        body = " ".join(chance.choices(paragraphs, k=10))
        batch.append(f"{number}\t{json.dumps(data)}\t{body}\t\\\\x{chance.randbytes(size).hex()}\n")
        if is_large or len(batch) == 200:
            yield "".join(batch)
            batch.clear()
    yield "".join(batch)


def _tenants(session: psycopg2.extensions.connection, scale: float) -> None:
    """An application with a schema for each tenant, each with twenty tables with a key, an index and a check."""
    with session.cursor() as cursor:
        rows = f"FROM generate_series(1, {_ROWS_OF_A_TENANT}) g"
        for tenant in range(max(1, int(_TENANTS * scale))):
            schema = f"tenant_{tenant:03d}"
            # A transaction for each schema: all locks of all tables would not fit into the server's memory.
            statements = [f"CREATE SCHEMA {schema}"]
            for number in range(_TABLES_A_TENANT):
                table = f"{schema}.table_{number:02d}"
                statements += [
                    f"CREATE TABLE {table} (id int PRIMARY KEY, amount int CHECK (amount >= 0), note text)",
                    f"CREATE INDEX ON {table} (amount)",
                    f"INSERT INTO {table} SELECT g, g * {number + 1}, md5((g * {tenant + 1})::text) {rows}",
                ]
            cursor.execute("; ".join(statements))


def _large_objects(session: psycopg2.extensions.connection, scale: float) -> None:
    """Documents of an application that keeps them as large objects, and the table that names them."""
    total = max(1, int(_LARGE_OBJECTS * scale))
    with session.cursor() as cursor:
        cursor.execute("CREATE TABLE files (id int PRIMARY KEY, content oid)")
        for first in range(1, total + 1, _LARGE_OBJECTS_AT_ONCE):
            cursor.execute(
                "INSERT INTO files SELECT g, lo_from_bytea(0, convert_to(repeat(md5(g::text), 1 + g %% 60), 'UTF8')) "
                "FROM generate_series(%s, %s) g",
                (first, min(total, first + _LARGE_OBJECTS_AT_ONCE - 1)),
            )


TWO_TABLES: Final = Database("two-tables", "1 GB in two large tables", _two_tables)
MANY_TABLES: Final = Database("500-tables", "1 GB in 500 tables", _many_tables)
ONE_TABLE: Final = Database("one-table", "one table of 4 GB", _one_table, is_large=True)
WIDE_ROWS: Final = Database("wide-rows", "1 GB of wide rows: jsonb, text, bytea", _wide_rows)
TENANTS: Final = Database("tenants", "3,000 tables of 20 rows in 150 schemas", _tenants)
LARGE_OBJECTS: Final = Database("large-objects", "30,000 large objects of 1 KB in the middle", _large_objects)
DATABASES: Final = {database.name: database for database in (TWO_TABLES, MANY_TABLES, ONE_TABLE, WIDE_ROWS)}
