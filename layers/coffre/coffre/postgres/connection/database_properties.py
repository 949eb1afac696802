"""What belongs to the database itself: its settings, those of roles in it, its comment, rights and label.

`pg_restore` sets them with `--create` only, which also gives the database its old name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

import psycopg2

from coffre.model.names import quoted
from coffre.postgres.archive.entry_sql import readable
from coffre.postgres.archive.reader import TocEntry
from coffre.postgres.archive.toc import is_of_database
from coffre.postgres.connection.connect import one_line
from coffre.postgres.connection.roles import split_statements

_NAME: Final = r'(?:"(?:[^"]|"")+"|[^\s;"]+)'
# Everything that pg_dump writes there, up to the name of the database and no further: whatever follows can hold texts
# that look alike.
_BEFORE_NAME: Final = re.compile(
    rf"(?:ALTER|COMMENT ON) DATABASE (?={_NAME} )"
    rf"|ALTER ROLE {_NAME} IN DATABASE (?={_NAME} )"
    rf"|(?:GRANT|REVOKE) [A-Z, ]+? ON DATABASE (?={_NAME} )"
    rf"|SECURITY LABEL FOR {_NAME} ON DATABASE (?={_NAME} )"
)
_NAMED: Final = re.compile(_NAME)
_SETTING: Final = re.compile(rf" SET ({_NAME}(?:\.{_NAME})?) (?:TO|=) ")
_AUTHORIZATION: Final = re.compile(r"(?:SET|RESET) SESSION AUTHORIZATION\b")
_TEMPLATE: Final = re.compile(r" IS_TEMPLATE = true;")


def apply_database_properties(
    session: psycopg2.extensions.connection,
    entries: Iterable[TocEntry],
    *,
    source: str,
    encoding: str = "UTF8",
    with_rights: bool = True,
) -> list[str]:
    """Give a restored database what the archive says of the source itself; other entries are passed over.

    Settings count for new sessions only, and a limit of connections counts for ours: call it last.

    Parameters
    ----------
    session
        At the restored database, without an open transaction.
    source
        The name of the source, as the manifest has it: it is replaced by the destination's.
    encoding
        The source's.
    with_rights
        Whether rights are restored at all.

    Returns
    -------
    list of str
        A sentence for each statement that was not executed. Values of settings can be secrets and are not repeated.
    """
    exceptions: list[str] = []
    session.autocommit = True
    with session.cursor() as cursor:
        for statement in _statements(entries, encoding, with_rights=with_rights):
            renamed = _rename(statement, source, session.info.dbname)
            if _TEMPLATE.search(statement) and not _SETTING.search(statement):
                exceptions.append("Not restored: the mark of the database as a template.")
            elif renamed is None:
                exceptions.append(
                    f"Not restored: a property of the database that Coffre does not know: {statement[:40]}"
                )
            else:
                try:
                    cursor.execute(renamed)
                except psycopg2.Error as error:
                    exceptions.append(f"Not restored: {_shown(statement)}: {_why(statement, error)}.")
    return exceptions


def _statements(entries: Iterable[TocEntry], encoding: str, *, with_rights: bool) -> Iterator[str]:
    for entry in entries:
        if is_of_database(entry) and (with_rights or entry.description != "ACL"):
            yield from split_statements(readable(entry.definition, encoding))


def _rename(statement: str, source: str, destination: str) -> str | None:
    """Return the statement for the destination; None when it is not about the source."""
    if _AUTHORIZATION.match(statement):
        return statement
    before = _BEFORE_NAME.match(statement)
    name = _NAMED.match(statement, before.end()) if before else None
    if before is None or name is None or _unquoted(name[0]) != source:
        return None
    return f"{before[0]}{quoted(destination)}{statement[name.end() :]}"


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def _shown(statement: str) -> str:
    """Return what a statement is about, without the value of a setting, and without a comment's text."""
    if setting := _SETTING.search(statement):
        return f"the setting {setting[1]} of the database"
    if statement.startswith("COMMENT"):
        return "the comment on the database"
    if statement.startswith("SECURITY LABEL"):
        return "a security label of the database"
    return statement.rstrip(";")


def _why(statement: str, error: psycopg2.Error) -> str:
    # The server repeats a value that it does not take.
    if _SETTING.search(statement) and not isinstance(error, psycopg2.errors.InsufficientPrivilege):
        return f"the server refused it (SQLSTATE {error.pgcode})"
    return one_line(error)
