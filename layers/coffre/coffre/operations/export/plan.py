"""The plan of an export: a checked backup, the entries of the archive, and where their data comes from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter

from coffre.model.backup import Backup
from coffre.model.errors import IntegrityError
from coffre.model.manifest import Entry, EntryKind, Manifest, RelationName, TableContent
from coffre.operations.stored_backup.entry_file import open_chunks
from coffre.operations.stored_backup.open_backup import open_manifest
from coffre.policy.patterns import chosen
from coffre.postgres.archive.dangling_references import missing_relation, relations
from coffre.postgres.archive.data_entries import DataEntries, Names, merged
from coffre.postgres.archive.dependencies import with_partitions
from coffre.postgres.archive.export_roots import Roots
from coffre.postgres.archive.reader import Archive, Compression, Section, TocEntry, read_archive
from coffre.postgres.archive.subset import excerpt
from coffre.postgres.archive.writer import VERSION
from coffre.vault.codec import FrameDecoder
from coffre.vault.vault import Vault


@dataclass(frozen=True)
class ExportPlan:
    """What will be written.

    Parameters
    ----------
    archive
        The whole table of contents; entries with data are in the order of the data in the vault.
    tables
        By name, each table with rows: its dump id and its description in the manifest.
    large_objects
        The entry that holds them, and the new dump id of each entry of its own archive.
    members
        Tables of extensions that no archive can define; therefore their rows are left out.
    left_out
        Entries that belong to chosen tables, but need others that were not chosen or not backed up.
    """

    manifest: Manifest
    decoder: FrameDecoder
    archive: Archive
    tables: dict[RelationName, tuple[int, TableContent]]
    large_objects: Entry | None
    large_object_ids: dict[int, int]
    left_out: tuple[TocEntry, ...]
    members: tuple[TableContent, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Bytes of rows and large objects that will be read."""
        return sum(table.size for _, table in self.tables.values()) + (
            self.large_objects.size if self.large_objects else 0
        )


def plan_export(
    vault: Vault, decoder: FrameDecoder, backup: Backup, *, tables: Sequence[str], compression: Compression
) -> ExportPlan:
    """Check the backup from the catalog to the entries, and lay out the archive.

    Parameters
    ----------
    decoder
        With the identities.
    tables
        Patterns; without any, everything is exported.

    Raises
    ------
    CoffreError
        The backup cannot be read; `PATTERN_UNMATCHED`.
    """
    source = _open(vault, decoder, backup)
    content = source.manifest.database
    names = Names(content.encoding)
    choice = _choice(source, tables, names)
    make = DataEntries(choice.entries, names)
    rows = _rows(make, source.relations, choice.wanted, choice.roots)
    sequences = [make.sequence(value) for value in content.sequences if not tables or make.has_sequence(value)]
    objects = {} if tables else make.large_objects(source.object_entries)
    data = [*(entry for _, entry, _ in rows), *sequences, *objects.values()]
    refreshes = [] if tables else [*make.refreshes(content.materialized_views)]
    return ExportPlan(
        manifest=source.manifest,
        decoder=source.decoder,
        archive=replace(source.archive, compression=compression, entries=merged(choice.entries, data, refreshes)),
        tables={relation: (entry.dump_id, table) for relation, entry, table in rows},
        large_objects=None if tables else source.large_objects,
        large_object_ids={old: entry.dump_id for old, entry in objects.items()},
        left_out=choice.left_out,
        members=choice.members,
    )


@dataclass(frozen=True)
class _Choice:
    """Entries of the schema, tables whose rows are exported, and how partitions are loaded."""

    entries: tuple[TocEntry, ...]
    left_out: tuple[TocEntry, ...]
    wanted: tuple[TableContent, ...]
    members: tuple[TableContent, ...]
    roots: Roots


def _choice(source: _Source, tables: Sequence[str], names: Names) -> _Choice:
    content = source.manifest.database
    entries, left_out, wanted = source.archive.entries, list[TocEntry](), list(content.tables)
    if tables:
        entries, left_out, wanted = _choose(entries, content.tables, tables, names)
    members = tuple(table for table in wanted if table.is_member)
    wanted = [table for table in wanted if not table.is_member]
    entries, outside = _without_loose_ends(entries, source.archive)
    roots = Roots(entries, names, knows_roots=content.knows_roots)
    if lonely := roots.without_siblings(wanted, source.archive.entries):
        left_out = [*left_out, *(entry for entry in entries if entry.dump_id in lonely)]
        entries = tuple(entry for entry in entries if entry.dump_id not in lonely)
        roots = Roots(entries, names, knows_roots=content.knows_roots)
    return _Choice(entries, (*left_out, *outside), tuple(wanted), members, roots)


def _rows(
    make: DataEntries, found: Sequence[RelationName], wanted: Iterable[TableContent], roots: Roots
) -> list[tuple[RelationName, TocEntry, TableContent]]:
    """Return the entry for the rows of each wanted table, in the order of their data."""
    tables = {RelationName(schema_name=t.schema_name, relation_name=t.table_name): t for t in wanted}
    _check_complete(tables, found)
    order = _in_order([relation for relation in found if relation in tables], tables)
    return [(relation, make.rows(tables[relation], roots.of(tables[relation])), tables[relation]) for relation in order]


def _in_order(relations: Sequence[RelationName], tables: Mapping[RelationName, TableContent]) -> list[RelationName]:
    """Return the tables in the order of their data: the vault's, then tables of extensions by their keys."""
    of_extension = {tables[relation].oid: relation for relation in relations if tables[relation].of_extension}
    needs = {oid: set(tables[relation].after) & of_extension.keys() for oid, relation in of_extension.items()}
    try:
        order = list(TopologicalSorter(needs).static_order())
    except CycleError:  # no order satisfies a cycle
        order = list(of_extension)
    return [relation for relation in relations if not tables[relation].of_extension] + [of_extension[o] for o in order]


@dataclass(frozen=True)
class _Source:
    manifest: Manifest
    decoder: FrameDecoder
    archive: Archive
    relations: list[RelationName]
    large_objects: Entry | None
    object_entries: tuple[TocEntry, ...]


def _open(vault: Vault, decoder: FrameDecoder, backup: Backup) -> _Source:
    manifest = open_manifest(vault, backup)
    decoder = decoder.of_recipients(manifest.recipients)
    others: dict[EntryKind, Entry] = {}
    relations: dict[RelationName, None] = {}
    for entry in vault.entries(manifest):
        if entry.relation is not None:
            relations[entry.relation] = None
        else:
            others[entry.kind] = entry
    large_objects = others.get(EntryKind.LARGE_OBJECTS)
    return _Source(
        manifest=manifest,
        decoder=decoder,
        archive=_schema(vault, decoder, manifest, others.get(EntryKind.SCHEMA)),
        relations=list(relations),
        large_objects=large_objects,
        object_entries=_archive_of(vault, decoder, large_objects).entries if large_objects else (),
    )


def _archive_of(vault: Vault, decoder: FrameDecoder, entry: Entry) -> Archive:
    return read_archive(open_chunks(vault.read_entry(entry, decoder)))


def _schema(vault: Vault, decoder: FrameDecoder, manifest: Manifest, entry: Entry | None) -> Archive:
    content = manifest.database
    if entry is not None:
        return _archive_of(vault, decoder, entry)
    if content.contents.has_schema:
        raise IntegrityError(
            f"The backup {manifest.backup_id} has no schema archive.",
            code="ENTRIES_DAMAGED",
            hint="This backup cannot be trusted. Export an older one (`coffre list`).",
        )
    at = manifest.created_at
    settings = {
        "ENCODING": f"SET client_encoding = '{content.encoding}';\n",
        "STDSTRINGS": "SET standard_conforming_strings = 'on';\n",
        "SEARCHPATH": "SELECT pg_catalog.set_config('search_path', '', false);\n",
    }
    return Archive(
        version=VERSION,
        compression=Compression.NONE,
        created=(at.second, at.minute, at.hour, at.day, at.month - 1, at.year - 1900, 0),
        database=Names(content.encoding).archived(content.database),
        server_version=content.server_version,
        client_version=content.client_version,
        entries=tuple(
            TocEntry(number, 0, 0, name, name, None, "", Section.PRE_DATA, definition)
            for number, (name, definition) in enumerate(settings.items(), start=1)
        ),
    )


def _choose(
    entries: Sequence[TocEntry], tables: Sequence[TableContent], patterns: Sequence[str], names: Names
) -> tuple[tuple[TocEntry, ...], list[TocEntry], list[TableContent]]:
    """Return the entries of the matching tables, those that are left out, and the tables whose rows are wanted."""
    by_oid = {entry.oid: entry for entry in entries if entry.description == "TABLE"}
    candidates: list[tuple[int, str, str]] = [(table.oid, table.schema_name, table.table_name) for table in tables]
    candidates += [
        (entry.oid, names.readable(entry.schema or ""), names.readable(entry.tag))
        for entry in by_oid.values()
        if entry.relation_kind == "p"
    ]
    found = {oid for oid, _, _ in chosen(candidates, lambda item: (item[1], item[2]), patterns, ())}
    wanted = with_partitions(entries, [by_oid[oid] for oid in found if oid in by_oid])
    found |= {entry.oid for entry in wanted}
    kept, left_out = excerpt(entries, wanted)
    return tuple(kept), left_out, [table for table in tables if table.oid in found]


def _without_loose_ends(entries: Sequence[TocEntry], archive: Archive) -> tuple[tuple[TocEntry, ...], list[TocEntry]]:
    """Return the entries without and with references out of the backup, which may have chosen tables only."""
    there = relations(archive.entries)
    outside = {entry.dump_id: entry for entry in entries if missing_relation(entry, there) is not None}
    return tuple(entry for entry in entries if entry.dump_id not in outside), list(outside.values())


def _check_complete(wanted: dict[RelationName, TableContent], found: Sequence[RelationName]) -> None:
    there = set(found)
    missing = [name for name, table in wanted.items() if not table.rows_excluded and name not in there]
    if missing:
        raise IntegrityError(
            "The backup's list of entries lacks tables that its manifest names.",
            code="ENTRIES_DAMAGED",
            detail=", ".join(f"{name.schema_name}.{name.relation_name}" for name in missing[:5]),
            hint="This backup cannot be trusted. Export an older one (`coffre list`).",
        )
