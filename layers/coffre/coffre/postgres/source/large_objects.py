"""Large objects on their way into a database: pieces of an archive, and the statements that write them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import psycopg2
import psycopg2.extensions

from coffre.model.names import quoted
from coffre.postgres.archive.reader import TocEntry
from coffre.postgres.archive.writer import LargeObject

# What one statement writes: a multiple of the server's pages (2 KiB), so that each is written once.
_PIECE_BYTES: Final = 512 * 1024
_OBJECTS_AT_ONCE: Final = 500
_METADATA: Final = "BLOB METADATA"
_OF_SEVERAL: Final = "LARGE OBJECTS "
# Names in double quotes may have anything in them.
_OBJECT_OF_GRANT: Final = re.compile(r'("[^"]*")|(\bLARGE OBJECT )\d+')


@dataclass(frozen=True)
class Piece:
    """Bytes of a large object from `offset` on; larger ones have several.

    `position` is where the object begins in the archive.
    """

    oid: int
    offset: int
    data: bytes
    is_last: bool
    position: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether this is all that the object has."""
        return self.is_last and not self.offset


def pieces(objects: Iterable[LargeObject]) -> Iterator[Piece]:
    """Yield the bytes of large objects, an empty piece of an empty one."""
    for item in objects:
        data, offset = bytearray(), 0
        for chunk in item.chunks:
            data += chunk
            while len(data) > _PIECE_BYTES:
                yield Piece(item.oid, offset, bytes(data[:_PIECE_BYTES]), is_last=False, position=item.position)
                del data[:_PIECE_BYTES]
                offset += _PIECE_BYTES
        yield Piece(item.oid, offset, bytes(data), is_last=True, position=item.position)


def batches(found: Iterable[Piece]) -> Iterator[list[Piece]]:
    """Yield pieces for one statement each: many whole objects, or a piece of a larger one."""
    batch: list[Piece] = []
    size = 0
    for piece in found:
        if not piece.is_whole:
            yield [piece]
            continue
        if batch and (size + len(piece.data) > _PIECE_BYTES or len(batch) == _OBJECTS_AT_ONCE):
            yield batch
            batch, size = [], 0
        batch.append(piece)
        size += len(piece.data)
    if batch:
        yield batch


def write(cursor: psycopg2.extensions.cursor, batch: Sequence[Piece]) -> None:
    """Create whole objects with their bytes, or write a piece of an object that exists."""
    if not batch[0].is_whole:
        piece = batch[0]
        cursor.execute("SELECT lo_put(%s::oid, %s, %s::bytea)", (piece.oid, piece.offset, psycopg2.Binary(piece.data)))
        return
    values: list[object] = []
    for piece in batch:
        values += (piece.oid, psycopg2.Binary(piece.data))
    rows = ", ".join(["(%s::oid, %s::bytea)"] * len(batch))
    cursor.execute(
        f"SELECT count(lo_from_bytea(oid, data)) FROM (VALUES {rows}) AS piece(oid, data)",  # noqa: S608 - placeholders
        values,
    )


def oids_of(entries: Iterable[TocEntry]) -> list[int]:
    """Return all objects that an archive creates."""
    return [oid for entry in entries if entry.description == _METADATA for oid in _oids(entry)]


def owner_statements(entries: Iterable[TocEntry], is_wanted: Callable[[int], bool], creator: str) -> Iterator[str]:
    """Yield the statements that make another role than their creator the owner of objects."""
    for entry in entries:
        if entry.description == _METADATA and entry.owner != creator:
            owner = quoted(entry.owner)
            yield from (f"ALTER LARGE OBJECT {oid} OWNER TO {owner};" for oid in _oids(entry) if is_wanted(oid))


def other_statements(
    entries: Sequence[TocEntry], is_wanted: Callable[[int], bool], *, with_rights: bool
) -> Iterator[str]:
    """Yield the statements for rights, comments and labels of the objects.

    Rights of several objects stand in the archive for the first one.
    """
    by_id = {entry.dump_id: entry for entry in entries}
    for entry in entries:
        if entry.description not in ("ACL", "COMMENT", "SECURITY LABEL") or (
            entry.description == "ACL" and not with_rights
        ):
            continue
        if not entry.tag.startswith(_OF_SEVERAL):
            if is_wanted(int(entry.tag.rsplit(" ", 1)[-1])):
                yield entry.definition
            continue
        for oid in filter(is_wanted, _oids(by_id[entry.dependencies[0]])):
            yield _of_object(entry.definition, oid)


def _of_object(grants: str, oid: int) -> str:
    def replaced(found: re.Match[str]) -> str:
        return found[1] or f"{found[2]}{oid}"

    return _OBJECT_OF_GRANT.sub(replaced, grants)


def _oids(entry: TocEntry) -> list[int]:
    return [int(oid) for oid in entry.definition.split()]
