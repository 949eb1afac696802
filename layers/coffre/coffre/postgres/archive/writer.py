"""Writing archives that `pg_restore` of PostgreSQL 17 and 18 reads: custom ones as a stream, and directories.

Every chunk of a custom archive's data holds one whole zstd frame: `pg_restore` drops what follows a frame in its chunk.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from backports import zstd

from coffre.postgres.archive.reader import (
    FORMAT_CUSTOM,
    INT_BYTES,
    MAGIC,
    OFFSET_BYTES,
    Archive,
    Compression,
    TocEntry,
    damaged,
)

VERSION: Final = (1, 16, 0)
# A directory calls itself a tar file: both have the same table of contents.
_FORMAT_DIRECTORY: Final = 3
_OFFSET_NOT_SET: Final = 1
_NO_DATA: Final = 3
_ROWS: Final = b"\x01"
_LARGE_OBJECTS: Final = b"\x03"
_SMALL_BYTES: Final = 128 * 1024
END_OF_ROWS: Final = b"\\.\n\n\n"

type Chunk = tuple[bytes | memoryview, bytes | None]
"""Data, and the one zstd frame that holds exactly this data if it is at hand."""


@dataclass(frozen=True)
class LargeObject:
    """An object of a block; `chunks` are to be read before the next object is asked for.

    `position` is where it begins in the archive: `read_large_objects` can begin there.
    """

    oid: int
    chunks: Iterator[bytes]
    position: int = 0


def custom_header(archive: Archive) -> Iterator[bytes]:
    """Yield header and table of contents of a custom archive; data blocks follow in the order of the entries."""

    def place(entry: TocEntry) -> bytes:
        return bytes([_OFFSET_NOT_SET if entry.has_data else _NO_DATA]) + bytes(OFFSET_BYTES)

    return _header(archive, FORMAT_CUSTOM, place)


def directory_toc(archive: Archive) -> Iterator[bytes]:
    """Yield the file `toc.dat` of a directory."""
    return _header(archive, _FORMAT_DIRECTORY, lambda entry: _text(data_file(entry)))


def data_file(entry: TocEntry) -> str:
    """Return which file of a directory has an entry's data, without the compression's suffix; empty when none has."""
    if not entry.has_data:
        return ""
    return f"blobs_{entry.dump_id}.toc" if entry.description == "BLOBS" else f"{entry.dump_id}.dat"


def rows_block(dump_id: int, chunks: Iterable[bytes | memoryview]) -> Iterator[bytes]:
    """Yield a custom archive's block of one table."""
    yield _ROWS + _int(dump_id)
    yield from _chunks(chunks)


def large_objects_block(dump_id: int, objects: Iterable[LargeObject], compression: Compression) -> Iterator[bytes]:
    """Yield a custom archive's block of large objects."""
    yield _LARGE_OBJECTS + _int(dump_id)
    for item in objects:
        yield _int(item.oid if item.oid < 2**31 else item.oid - 2**32)
        yield from _chunks(compressed(((chunk, None) for chunk in item.chunks), compression, zlib.MAX_WBITS))
    yield _int(0)


def compressed(chunks: Iterable[Chunk], compression: Compression, window_bits: int) -> Iterator[bytes | memoryview]:
    """Yield data as an archive stores it; `window_bits` tells zlib's format from gzip's."""
    if compression is Compression.GZIP:
        deflate = zlib.compressobj(6, zlib.DEFLATED, window_bits)
        for data, _ in chunks:
            yield deflate.compress(data)
        yield deflate.flush()
    elif compression is Compression.ZSTD:
        for data, frame in chunks:
            if data:
                yield frame or zstd.compress(data)
    else:
        for data, _ in chunks:
            yield data


def with_end_of_rows(chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    """Yield a table's data with the line that ends it; small pieces are joined, so that each frame is worth it."""
    small = b""
    for data, frame in chunks:
        if len(data) < _SMALL_BYTES:
            small += data
        else:
            if small:
                yield small, None
                small = b""
            yield data, frame
        if len(small) >= _SMALL_BYTES:
            yield small, None
            small = b""
    yield small + END_OF_ROWS, None


def read_large_objects(file: BinaryIO, *, is_inside: bool = False) -> Iterator[tuple[int, Iterator[LargeObject]]]:
    """Yield the blocks of an uncompressed custom archive of large objects, the table of contents being read.

    With `is_inside` the file is at the beginning of an object; the first block has no number then (0).

    Raises
    ------
    IntegrityError
        Code `ARCHIVE_DAMAGED`.
    """
    if is_inside:
        yield 0, _objects(file)
    while kind := file.read(1):
        if kind != _LARGE_OBJECTS:
            damaged(f"A block of kind {kind[0]} is not one of large objects.")
        yield _read_int(file), _objects(file)


def _objects(file: BinaryIO) -> Iterator[LargeObject]:
    position = file.tell()
    while oid := _read_int(file):
        yield LargeObject(oid % 2**32, _object_chunks(file), position)
        position = file.tell()


def _object_chunks(file: BinaryIO) -> Iterator[bytes]:
    while (length := _read_int(file)) > 0:
        data = file.read(length)
        if len(data) < length:
            damaged("It is cut off.")
        yield data


def _read_int(file: BinaryIO) -> int:
    data = file.read(1 + INT_BYTES)
    if len(data) < 1 + INT_BYTES:
        damaged("It is cut off.")
    value = int.from_bytes(data[1:], "little")
    return -value if data[0] else value


def _header(archive: Archive, kind: int, place: Callable[[TocEntry], bytes]) -> Iterator[bytes]:
    yield MAGIC + bytes([*VERSION, INT_BYTES, OFFSET_BYTES, kind, archive.compression])
    yield b"".join(_int(number) for number in archive.created)
    yield _text(archive.database) + _text(archive.server_version) + _text(archive.client_version)
    yield _int(len(archive.entries))
    for entry in archive.entries:
        yield _entry(entry) + place(entry)


def _entry(entry: TocEntry) -> bytes:
    return b"".join(
        (
            _int(entry.dump_id),
            _int(int(entry.has_data)),
            *(_text(str(number)) for number in (entry.catalog_oid, entry.oid)),
            _text(entry.tag),
            _text(entry.description),
            _int(entry.section),
            *(_text(text or None) for text in (entry.definition, entry.drop, entry.copy)),
            *(_text(text) for text in (entry.schema, entry.tablespace, entry.table_access_method)),
            _int(ord(entry.relation_kind) if entry.relation_kind else 0),
            _text(entry.owner or None),
            _text("false"),  # WITH OIDS
            *(_text(str(dump_id)) for dump_id in entry.dependencies),
            _text(None),
        )
    )


def _chunks(chunks: Iterable[bytes | memoryview]) -> Iterator[bytes]:
    for chunk in chunks:
        if chunk:
            yield _int(len(chunk))
            yield bytes(chunk)
    yield _int(0)


def _int(value: int) -> bytes:
    return bytes([value < 0]) + abs(value).to_bytes(INT_BYTES, "little")


def _text(text: str | None) -> bytes:
    if text is None:
        return _int(-1)
    data = text.encode("utf-8", "surrogateescape")
    return _int(len(data)) + data
