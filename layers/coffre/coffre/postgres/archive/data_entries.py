"""Entries that stand for data, as `pg_dump` writes them: rows, values of sequences, large objects, refreshes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from psycopg2.extensions import encodings

from coffre.model.errors import ExportError
from coffre.model.manifest import RelationName, SequenceValue, TableContent
from coffre.model.names import qualified, quoted
from coffre.postgres.archive import sql_ascii
from coffre.postgres.archive.reader import Section, TocEntry
from coffre.postgres.archive.toc import is_event_trigger

# In pg_dump's own words.
_THROUGH_ROOT: Final = "-- load via partition root "
_LINE_BREAKS: Final = re.compile(r"[\r\n]")
_LARGE_OBJECTS: Final = ("BLOB", "BLOBS", "BLOB METADATA")


class Names:
    """Names of the manifest in the bytes of the archive, which are in the source's encoding."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._is_bytes = encoding == sql_ascii.ENCODING
        self._codec = encodings.get(encoding)

    def archived(self, text: str) -> str:
        """Return a name or a statement as the archive has it."""
        if text.isascii():
            return text
        if self._is_bytes:
            return sql_ascii.archived(text)
        try:
            return text.encode(self._known()).decode("utf-8", "surrogateescape")
        except UnicodeEncodeError as error:
            raise self._unknown(text) from error

    def readable(self, text: str) -> str:
        """Return a name of the archive as the manifest has it."""
        data = text.encode("utf-8", "surrogateescape")
        return sql_ascii.text_of(data) if self._is_bytes else data.decode(self._known(), "replace")

    def _known(self) -> str:
        if self._codec is None:
            raise self._unknown("")
        return self._codec

    def _unknown(self, text: str) -> ExportError:
        return ExportError(
            f"Names in the encoding {self._encoding} cannot be written into an export.",
            code="ENCODING_UNKNOWN",
            detail=text or None,
            hint="Restore the backup into a database and dump that with pg_dump.",
        )


class DataEntries:
    """Makes entries for a table of contents, with dump ids that it does not have yet.

    Parameters
    ----------
    entries
        What the table of contents has.
    names
        How names are written there.
    """

    def __init__(self, entries: Sequence[TocEntry], names: Names) -> None:
        self._names = names
        self._rows: dict[int, int] = {}
        self._next_id = max((entry.dump_id for entry in entries), default=0) + 1
        self._tables = {entry.oid: entry for entry in entries if entry.description == "TABLE"}
        self._named = {
            (entry.description, entry.schema, entry.tag): entry
            for entry in entries
            if entry.description in ("SEQUENCE", "MATERIALIZED VIEW")
        }

    def rows(self, table: TableContent, root: TocEntry | None = None) -> TocEntry:
        """Return the entry for the rows of a table; those that it comes after are to be made before.

        `root` is the table through which the rows of a partition are loaded: `pg_restore` knows by the comment that
        it must not empty the partition first.
        """
        found = self._tables.get(table.oid)
        columns = self._names.archived(", ".join(quoted(column) for column in table.columns))
        schema, name = self._names.archived(table.schema_name), self._names.archived(table.table_name)
        address = _dropped(root or found) or (
            qualified(root.schema or "", root.tag) if root else qualified(schema, name)
        )
        needed = tuple(entry.dump_id for entry in (found, root) if entry)
        dump_id = self._rows[table.oid] = self._new_id()
        return TocEntry(
            dump_id=dump_id,
            catalog_oid=0,
            oid=table.oid,
            description="TABLE DATA",
            tag=name,
            schema=schema,
            owner=found.owner if found else "",
            section=Section.DATA,
            definition=f"{_THROUGH_ROOT}{_LINE_BREAKS.sub(' ', address)}" if root else "",
            copy=f"COPY {address} {f'({columns})' if columns else ''} FROM stdin;\n",
            has_data=True,
            dependencies=needed if found else tuple(self._rows[oid] for oid in table.after if oid in self._rows),
        )

    def sequence(self, value: SequenceValue) -> TocEntry:
        """Return the entry that sets a sequence."""
        schema, name = self._names.archived(value.schema_name), self._names.archived(value.sequence_name)
        found = self._named.get(("SEQUENCE", schema, name))
        address = qualified(schema, name).replace("'", "''")
        literal = f"E'{address.replace('\\', '\\\\')}'" if "\\" in address else f"'{address}'"
        called = "true" if value.is_called else "false"
        return TocEntry(
            dump_id=self._new_id(),
            catalog_oid=0,
            oid=found.oid if found else 0,
            description="SEQUENCE SET",
            tag=name,
            schema=schema,
            owner=found.owner if found else "",
            section=Section.DATA,
            definition=f"SELECT pg_catalog.setval({literal}, {value.last_value}, {called});\n",
            dependencies=(found.dump_id,) if found else (),
        )

    def has_sequence(self, value: SequenceValue) -> bool:
        """Whether the sequence itself is in the table of contents."""
        schema, name = self._names.archived(value.schema_name), self._names.archived(value.sequence_name)
        return ("SEQUENCE", schema, name) in self._named

    def refreshes(self, views: Iterable[RelationName]) -> Iterator[TocEntry]:
        """Yield the entries that fill materialized views, each after the one before."""
        before: tuple[int, ...] = ()
        for view in views:
            schema, name = self._names.archived(view.schema_name), self._names.archived(view.relation_name)
            found = self._named.get(("MATERIALIZED VIEW", schema, name))
            if found is None:
                continue
            entry = TocEntry(
                dump_id=self._new_id(),
                catalog_oid=0,
                oid=found.oid,
                description="MATERIALIZED VIEW DATA",
                tag=name,
                schema=schema,
                owner=found.owner,
                section=Section.POST_DATA,
                definition=f"REFRESH MATERIALIZED VIEW {qualified(schema, name)};\n",
                dependencies=(found.dump_id, *before),
            )
            before = (entry.dump_id,)
            yield entry

    def large_objects(self, entries: Iterable[TocEntry]) -> dict[int, TocEntry]:
        """Return the entries of an archive of large objects under new dump ids, by the old ones."""
        wanted = [entry for entry in entries if _is_of_large_objects(entry)]
        ids = {entry.dump_id: self._new_id() for entry in wanted}
        return {entry.dump_id: _renumbered(entry, ids) for entry in wanted}

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1


def merged(
    entries: Sequence[TocEntry], data: Sequence[TocEntry], refreshes: Sequence[TocEntry]
) -> tuple[TocEntry, ...]:
    """Return all entries in order: what comes before data, data, what comes after it; event triggers last of all.

    Event triggers would fire at the refreshes; `pg_restore` restores both after everything else. In parallel it goes by
    dependencies alone: a key may point at a table of an extension, which has no entry but that of its rows; and rows
    that go through a root may end in any of its partitions.
    """
    border = next((n for n, entry in enumerate(entries) if entry.section is Section.POST_DATA), len(entries))
    of_extensions = tuple(entry.dump_id for entry in data if entry.description == "TABLE DATA" and not entry.owner)
    last = tuple(entry.dump_id for entry in refreshes[-1:])
    below = _rows_below_roots(data)
    objects: list[TocEntry] = []
    triggers: list[TocEntry] = []
    for entry in entries[border:]:
        if is_event_trigger(entry):
            triggers.append(replace(entry, dependencies=entry.dependencies + last))
        elif any(table in below for table in entry.dependencies):
            more = {dump_id: None for table in entry.dependencies for dump_id in below.get(table, ())}
            objects.append(replace(entry, dependencies=(*entry.dependencies, *more)))
        elif entry.description == "FK CONSTRAINT":
            objects.append(replace(entry, dependencies=entry.dependencies + of_extensions))
        else:
            objects.append(entry)
    return (*entries[:border], *data, *objects, *refreshes, *triggers)


def _rows_below_roots(data: Iterable[TocEntry]) -> dict[int, tuple[int, ...]]:
    """Return the entries of rows (dump ids) that may end in a table, for roots and partitions that share rows."""
    families: dict[int, list[TocEntry]] = {}
    for entry in data:
        if entry.definition.startswith(_THROUGH_ROOT) and entry.has_data:
            families.setdefault(entry.dependencies[-1], []).append(entry)
    return {
        table: tuple(entry.dump_id for entry in family)
        for family in families.values()
        for table in {needed for entry in family for needed in entry.dependencies}
    }


def _dropped(table: TocEntry | None) -> str | None:
    """Return a table's name in pg_dump's own quotes: pg_restore compares."""
    if table is None or not (table.drop.startswith("DROP TABLE ") and table.drop.endswith(";\n")):
        return None
    return table.drop[len("DROP TABLE ") : -len(";\n")]


def _is_of_large_objects(entry: TocEntry) -> bool:
    if entry.description in ("ACL", "COMMENT", "SECURITY LABEL"):
        return entry.tag.startswith("LARGE OBJECT")
    return entry.description in _LARGE_OBJECTS


def _renumbered(entry: TocEntry, ids: Mapping[int, int]) -> TocEntry:
    needs = tuple(ids[need] for need in entry.dependencies if need in ids)
    return replace(entry, dump_id=ids[entry.dump_id], dependencies=needs)
