"""The statements that make one entry of an archive, in the words of `pg_restore`: definition, owner, access method."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

import psycopg2.extensions

from coffre.model.names import qualified, quoted
from coffre.postgres.archive import sql_ascii
from coffre.postgres.archive.reader import TocEntry

ACL: Final = frozenset({"ACL", "ACL LANGUAGE", "DEFAULT ACL"})
_NAMED: Final = frozenset(
    {
        "COLLATION", "CONVERSION", "DATABASE", "DOMAIN", "EVENT TRIGGER", "FOREIGN DATA WRAPPER", "FOREIGN TABLE",
        "MATERIALIZED VIEW", "PROCEDURAL LANGUAGE", "PUBLICATION", "SCHEMA", "SEQUENCE", "SERVER", "STATISTICS",
        "SUBSCRIPTION", "TABLE", "TEXT SEARCH CONFIGURATION", "TEXT SEARCH DICTIONARY", "TYPE", "VIEW",
    }
)  # fmt: skip
# Their arguments are part of their name; the statement that drops them has both.
_WITH_ARGUMENTS: Final = frozenset(
    {"AGGREGATE", "FUNCTION", "OPERATOR", "OPERATOR CLASS", "OPERATOR FAMILY", "PROCEDURE"}
)
# Role names are in double quotes where they need it, and cannot end what is looked for here.
_GRANT: Final = re.compile(r'((?:"[^"]*"|[^";])*?LARGE OBJECT )\d+((?:"[^"]*"|[^";])*);\s*')
_CONSTRAINTS: Final = frozenset({"FK CONSTRAINT", "CHECK CONSTRAINT"})
_NAME: Final = r'(?:"(?:[^"]|"")+"|[^\s."]+)'
_ADD_CONSTRAINT: Final = re.compile(rf"ALTER TABLE (?:ONLY )?({_NAME}\.{_NAME})\s+ADD CONSTRAINT ({_NAME}) ")
_END: Final = re.compile(r";\s*\Z")


def definition_of(entry: TocEntry, by_id: Mapping[int, TocEntry]) -> str:
    """Return the statements that make an entry's object; empty when there are none."""
    if entry.description == "BLOB METADATA":
        return _each(entry, "SELECT pg_catalog.lo_create('", "')")
    if entry.description == "ACL" and entry.tag.startswith("LARGE OBJECTS"):
        objects = by_id[entry.dependencies[0]]
        return "".join(_each(objects, found[1], found[2]) for found in _GRANT.finditer(entry.definition))
    return f"{entry.definition}\n\n" if entry.definition else ""


def owner_of(entry: TocEntry) -> str:
    """Return the statement that gives an entry's object to its owner; empty when it has none of its own."""
    if not (entry.owner and entry.drop):
        return ""
    owner = quoted(entry.owner)
    if entry.description == "BLOB METADATA":
        return _each(entry, "ALTER LARGE OBJECT ", f" OWNER TO {owner}")
    if entry.description in _NAMED:
        name = qualified(entry.schema, entry.tag) if entry.schema else quoted(entry.tag)
        return f"ALTER {entry.description} {name} OWNER TO {owner};\n\n"
    if entry.description in _WITH_ARGUMENTS:
        return f"ALTER {entry.drop.removeprefix('DROP ').rstrip('\n;')} OWNER TO {owner};\n\n"
    return ""


def statements_of(entries: Iterable[TocEntry], toc: Iterable[TocEntry], encoding: str) -> str:
    """Return the statements that make entries of a table of contents, for a person.

    `encoding` is the source's.
    """
    by_id = {entry.dump_id: entry for entry in toc}
    texts = [
        readable(definition_of(entry, by_id), encoding) + owner_of(entry) + access_method_of(entry) for entry in entries
    ]
    return "".join(texts).strip() + "\n"


def default_access_method(entry: TocEntry) -> str | None:
    """Return the table access method that has to be the default when the entry is made; None for any."""
    return None if entry.relation_kind == "p" else entry.table_access_method


def access_method_of(entry: TocEntry) -> str:
    """Return the statement that gives a partitioned table its access method, which is for its future partitions."""
    if entry.relation_kind != "p" or not entry.table_access_method or entry.schema is None:
        return ""
    table = qualified(entry.schema, entry.tag)
    return f"ALTER TABLE {table} SET ACCESS METHOD {quoted(entry.table_access_method)};\n\n"


def without_validation(entry: TocEntry) -> str | None:
    """Return the definition of a constraint that does not look at the rows that exist; None when there is no such way.

    The server refuses it for partitioned tables before PostgreSQL 18.
    """
    if entry.description not in _CONSTRAINTS or not _END.search(entry.definition):
        return None
    return _END.sub(" NOT VALID;\n", entry.definition)


def validation_of(entry: TocEntry) -> str | None:
    """Return the statement that validates a constraint that was added by `without_validation`."""
    found = _ADD_CONSTRAINT.match(entry.definition)
    return f"ALTER TABLE {found[1]} VALIDATE CONSTRAINT {found[2]};\n" if found else None


def encoded(text: str, encoding: str) -> bytes:
    """Return a statement made of names (text) as bytes in the source's encoding.

    Definitions are kept as the archive has them (UTF-8 with surrogates for other bytes): `.encode("utf-8",
    "surrogateescape")` gives their bytes.
    """
    if encoding == sql_ascii.ENCODING:
        return sql_ascii.bytes_of(text)
    codec = psycopg2.extensions.encodings.get(encoding, "utf_8")
    if encoding == "UTF8":
        codec = "utf_8"
    return text.encode(codec, "surrogateescape")


def readable(text: str, encoding: str) -> str:
    """Return text of a definition, which is in the source's encoding and was read as if it were UTF-8."""
    data = text.encode("utf-8", "surrogateescape")
    if encoding == sql_ascii.ENCODING:
        return sql_ascii.text_of(data)
    return data.decode(psycopg2.extensions.encodings.get(encoding, "utf_8"), "replace")


def _each(objects: TocEntry, begin: str, end: str) -> str:
    return "".join(f"{begin}{oid}{end};\n" for oid in objects.definition.split()) + "\n"
