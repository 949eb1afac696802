"""The databases of a server, as its catalog has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import psycopg2
import psycopg2.extensions

from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.connect import connect
from coffre.postgres.connection.query_errors import explain_query_error

# The bytes of each name: a name has the encoding of the database in which it was given, which this one need not have.
_DATABASES: Final = r"""
SELECT pg_catalog.encode(pg_catalog.decode(
           pg_catalog.replace(datname::pg_catalog.text, E'\\', E'\\\\'), 'escape'), 'hex'),
       datallowconn AND NOT datistemplate AND datconnlimit <> -2
FROM pg_catalog.pg_database ORDER BY 1
"""


@dataclass(frozen=True)
class ServerDatabases:
    """`usable` take connections and are no templates; `others` do not, or are. `unreadable` names are no UTF-8."""

    usable: tuple[str, ...]
    others: tuple[str, ...]
    unreadable: tuple[str, ...]


def databases_of(connection: Connection) -> ServerDatabases:
    """Return the databases of a server.

    Raises
    ------
    ConnectError, ConnectTransientError, DumpError, DumpTransientError
        The server cannot be reached, or does not answer.
    """
    with connect(connection) as session, session.cursor() as cursor:
        try:
            cursor.execute(_DATABASES)
            rows = [(bytes.fromhex(name), is_usable) for name, is_usable in cursor.fetchall()]
        except psycopg2.Error as error:
            raise explain_query_error(connection, error) from error
    usable: list[str] = []
    others: list[str] = []
    unreadable: list[str] = []
    for name, is_usable in rows:
        try:
            (usable if is_usable else others).append(name.decode())
        except UnicodeDecodeError:
            if is_usable:
                unreadable.append(name.decode(errors="backslashreplace"))
    return ServerDatabases(tuple(usable), tuple(others), tuple(unreadable))
