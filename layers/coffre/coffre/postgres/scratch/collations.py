"""Collations that a scratch server lacks: it has no ICU, and a function's system hardly any locale.

Their names have to be there for columns to be made; how texts are ordered matters to nothing that a drill compares.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import psycopg2
from psycopg2 import sql

from coffre.postgres.archive.reader import TocEntry
from coffre.postgres.connection.connect import connect
from coffre.postgres.scratch.server import ScratchServer

_TEMPLATE: Final = "template0"
# As pg_dump writes them.
_NAMED: Final = re.compile(r'COLLATE pg_catalog\.(?:"((?:[^"]|"")+)"|([a-z_][a-z0-9_$]*))')
_PROVIDER: Final = re.compile(r"\bprovider = (icu|libc|builtin)\b")
_LOCALE: Final = re.compile(r"\b(?:locale|lc_collate) = '((?:[^']|'')*)'")


def stand_in(server: ScratchServer, toc: Iterable[TocEntry]) -> list[str]:
    """Make the system's collations that a backup names and the server lacks, in the template of new databases.

    Returns
    -------
    list
        Their names. They order by bytes.
    """
    named = {
        (quoted or "").replace('""', '"') or plain
        for entry in toc
        for quoted, plain in _NAMED.findall(entry.definition)
    }
    if not named:
        return []
    with connect(server.connection("postgres")) as session:
        session.autocommit = True
        with session.cursor() as cursor:
            cursor.execute("SELECT collname FROM pg_collation WHERE collnamespace = 'pg_catalog'::regnamespace")
            missing = sorted(named - {name for (name,) in cursor.fetchall()})
            if missing:
                cursor.execute(f"ALTER DATABASE {_TEMPLATE} ALLOW_CONNECTIONS true")
                _make(server, missing)
                cursor.execute(f"ALTER DATABASE {_TEMPLATE} ALLOW_CONNECTIONS false")
    return missing


def _make(server: ScratchServer, names: Iterable[str]) -> None:
    with connect(server.connection(_TEMPLATE)) as session, session.cursor() as cursor:
        for name in names:
            cursor.execute(
                sql.SQL("CREATE COLLATION IF NOT EXISTS {} (provider = builtin, locale = 'C')").format(
                    sql.Identifier("pg_catalog", name)
                )
            )
        session.commit()


def impossible_collations(server: ScratchServer, toc: Iterable[TocEntry]) -> list[TocEntry]:
    """Return the collations of a backup's own that this server cannot make."""
    return [entry for entry in toc if entry.description == "COLLATION" and not _is_possible(server, entry.definition)]


def _is_possible(server: ScratchServer, definition: str) -> bool:
    provider, locale = _PROVIDER.search(definition), _LOCALE.search(definition)
    if provider is None or locale is None:
        return True
    statement = sql.SQL("CREATE COLLATION tried (provider = {}, locale = {})").format(
        sql.SQL(provider[1]), sql.Literal(locale[1].replace("''", "'"))
    )
    with connect(server.connection("postgres")) as session, session.cursor() as cursor:
        try:
            cursor.execute("SET LOCAL search_path = public")
            cursor.execute(statement)
        except psycopg2.Error:
            return False
        finally:
            session.rollback()
    return True
