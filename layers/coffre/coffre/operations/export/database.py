"""Export one backup as a portable file: an archive or a directory for `pg_restore`, or SQL for `psql`.

Everything is a stream from the vault to the file. Memory: some 70 MiB for frames ahead, and the table of contents.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path
from typing import Final

from coffre.model.errors import IntegrityError
from coffre.model.manifest import Entry, RelationName, TableContent
from coffre.model.names import shown
from coffre.operations.export.compress import GZIP_WINDOW_BITS, zstd_file
from coffre.operations.export.plan import ExportPlan
from coffre.operations.stored_backup.entry_file import open_chunks
from coffre.postgres.archive.reader import Compression, read_archive
from coffre.postgres.archive.sql_script import PlainWriter, in_order, large_objects
from coffre.postgres.archive.writer import (
    LargeObject,
    compressed,
    custom_header,
    data_file,
    directory_toc,
    large_objects_block,
    read_large_objects,
    rows_block,
    with_end_of_rows,
)
from coffre.vault.read_ahead import Piece, read_ahead
from coffre.vault.vault import Vault

_SUFFIXES: Final = {Compression.NONE: "", Compression.GZIP: ".gz", Compression.ZSTD: ".zst"}

type Progress = Callable[[int, str], None]
"""Gets the number of bytes that were read, and the table."""


@dataclass(frozen=True)
class Exporter:
    """Writes an export by its plan."""

    vault: Vault
    plan: ExportPlan
    progress: Progress

    def custom(self) -> Generator[bytes]:
        """Yield a custom archive."""
        compression = self.plan.archive.compression
        yield from custom_header(self.plan.archive)
        with closing(_Data(self)) as data:
            for dump_id, pieces in data.tables():
                chunks = with_end_of_rows((piece.plaintext, piece.compressed) for piece in pieces)
                yield from rows_block(dump_id, compressed(chunks, compression, zlib.MAX_WBITS))
            for dump_id, objects in data.large_objects():
                yield from large_objects_block(dump_id, objects, compression)

    def plain(self, *, with_owners: bool) -> Generator[bytes]:
        """Yield a script for `psql`."""
        return _compressed_file(self._script(with_owners=with_owners), self.plan.archive.compression)

    def directory(self, folder: Path) -> None:
        """Write the files of an existing, empty directory; the table of contents last."""
        with closing(_Data(self)) as data:
            for dump_id, pieces in data.tables():
                chunks = with_end_of_rows((piece.plaintext, piece.compressed) for piece in pieces)
                self._write(folder / f"{dump_id}.dat", chunks)
            for dump_id, objects in data.large_objects():
                with (folder / f"blobs_{dump_id}.toc").open("x") as toc:
                    for item in objects:
                        name = f"blob_{item.oid}.dat"
                        self._write(folder / name, ((chunk, None) for chunk in item.chunks))
                        toc.write(f"{item.oid} {name}\n")
        with (folder / "toc.dat").open("xb") as file:
            file.writelines(directory_toc(self.plan.archive))

    def _write(self, path: Path, chunks: Iterable[tuple[bytes | memoryview, bytes | None]]) -> None:
        compression = self.plan.archive.compression
        with path.with_name(path.name + _SUFFIXES[compression]).open("xb") as file:
            file.writelines(compressed(chunks, compression, GZIP_WINDOW_BITS))

    def _script(self, *, with_owners: bool) -> Generator[bytes]:
        manifest = self.plan.manifest
        writer = PlainWriter(self.plan.archive, with_owners=with_owners)
        title = f"PostgreSQL database dump: backup {manifest.backup_id} of {manifest.target}, exported by Coffre"
        yield _encoded(writer.header(title))
        with closing(_Data(self)) as data:
            tables, objects = data.tables(), data.large_objects()
            for entry in in_order(self.plan.archive.entries):
                yield _encoded(writer.statements(entry))
                if data_file(entry) and entry.description == "BLOBS":
                    yield from large_objects(_expected(objects, entry.dump_id))
                elif entry.has_data:
                    yield _encoded(entry.copy)
                    pieces = _expected(tables, entry.dump_id)
                    chunks = with_end_of_rows((piece.plaintext, None) for piece in pieces)
                    yield from (bytes(data) for data, _ in chunks)
        yield b"--\n-- PostgreSQL database dump complete\n--\n"


class _Data:
    """The data of an export, once, in order: all tables, then the large objects."""

    def __init__(self, exporter: Exporter) -> None:
        self._plan = exporter.plan
        self._progress = exporter.progress
        self._pieces = read_ahead(exporter.vault, self._plan.decoder, self._entries(exporter.vault))
        self._groups = groupby(self._pieces, key=lambda pair: pair[0].relation)

    def close(self) -> None:
        self._pieces.close()

    def tables(self) -> Iterator[tuple[int, Iterator[Piece]]]:
        for _ in self._plan.tables:
            relation, pairs = next(self._groups)
            if relation is None:
                raise AssertionError
            dump_id, table = self._plan.tables[relation]
            yield dump_id, self._checked(pairs, relation, table)

    def large_objects(self) -> Iterator[tuple[int, Iterator[LargeObject]]]:
        """Yield the blocks of large objects, once all tables were read."""
        if self._plan.large_objects is None:
            return
        _, pairs = next(self._groups)
        file = open_chunks(self._counted(pairs))
        read_archive(file)
        for old_id, objects in read_large_objects(file):
            yield self._plan.large_object_ids[old_id], objects

    def _entries(self, vault: Vault) -> Iterator[Entry]:
        """Yield the entries in the order of the plan: few tables are of extensions, and wait for their turn."""
        waiting: dict[RelationName, list[Entry]] = {}
        for entry in vault.entries(self._plan.manifest):
            if entry.relation in self._plan.tables:
                if self._plan.tables[entry.relation][1].of_extension:
                    waiting.setdefault(entry.relation, []).append(entry)
                else:
                    yield entry
        yield from chain.from_iterable(waiting[relation] for relation in self._plan.tables if relation in waiting)
        if self._plan.large_objects is not None:
            yield self._plan.large_objects

    def _checked(
        self, pairs: Iterator[tuple[Entry, Piece]], relation: RelationName, table: TableContent
    ) -> Iterator[Piece]:
        """Yield a table's pieces, and compare their rows and size with the manifest."""
        name = shown(relation.schema_name, relation.relation_name)
        rows, size, last = 0, 0, None
        for entry, piece in pairs:
            if entry is not last:
                rows, last = rows + (entry.rows or 0), entry
            size += len(piece.plaintext)
            self._progress(len(piece.plaintext), name)
            yield piece
        if (rows, size) != (table.rows, table.size):
            raise IntegrityError(
                f"The entries of the table {name} do not match the manifest.",
                code="ENTRIES_DAMAGED",
                detail=f"{rows} rows and {size} bytes instead of {table.rows} and {table.size}",
                hint="This backup cannot be trusted. Export an older one (`coffre list`).",
            )

    def _counted(self, pairs: Iterator[tuple[Entry, Piece]]) -> Iterator[bytes | memoryview]:
        for _, piece in pairs:
            self._progress(len(piece.plaintext), "large objects")
            yield piece.plaintext


def _expected[T](blocks: Iterator[tuple[int, T]], dump_id: int) -> T:
    """Return the data of the next block, which must be this one by the plan."""
    found, data = next(blocks)
    if found != dump_id:
        raise AssertionError
    return data


def _compressed_file(chunks: Generator[bytes], compression: Compression) -> Generator[bytes]:
    if compression is Compression.GZIP:
        return (bytes(data) for data in compressed(((chunk, None) for chunk in chunks), compression, GZIP_WINDOW_BITS))
    if compression is Compression.ZSTD:
        return zstd_file(chunks)
    return chunks


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
