"""Whether the text of a backup fits into the encoding of a destination."""

from __future__ import annotations

import psycopg2.extensions

from coffre.model.errors import DestinationError
from coffre.model.manifest import DatabaseContent
from coffre.model.names import shown
from coffre.postgres.archive import sql_ascii
from coffre.postgres.connection.address import Connection


def refuse_encoding(connection: Connection, cursor: psycopg2.extensions.cursor, content: DatabaseContent) -> None:
    """Refuse a destination whose encoding cannot hold the backup.

    Raises
    ------
    DestinationError
        Code `DESTINATION_ENCODING`.
    """
    cursor.execute("SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()")
    row = cursor.fetchone()
    encoding = str(row[0]) if row else ""
    if encoding not in (content.encoding, "UTF8"):
        raise DestinationError(
            f"The destination {connection} has the encoding {encoding}, the backup has {content.encoding}.",
            code="DESTINATION_ENCODING",
            hint=f"Create it with ENCODING '{content.encoding}' TEMPLATE template0, or let Coffre create it.",
        )
    if encoding != content.encoding == sql_ascii.ENCODING and (name := _name_without_encoding(content)):
        raise DestinationError(
            f"The destination {connection} has the encoding {encoding}, and the name of {name} is no text in it.",
            code="DESTINATION_ENCODING",
            hint=f"Create it with ENCODING '{content.encoding}' TEMPLATE template0, or let Coffre create it.",
        )


def _name_without_encoding(content: DatabaseContent) -> str | None:
    """Return the first table or role whose name, or whose column's, is bytes that are no UTF-8."""
    for table in content.tables:
        if any(map(sql_ascii.has_other_bytes, (table.schema_name, table.table_name, *table.columns))):
            return f"the table {shown(table.schema_name, table.table_name)}, or of one of its columns,"
    return next((f'the role "{role}"' for role in content.roles if sql_ascii.has_other_bytes(role)), None)
