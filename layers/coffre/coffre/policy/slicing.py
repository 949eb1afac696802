"""How tables are cut into slices, and slices gathered into parts.

A slice is the unit of reading and naming: a range of heap blocks that one `COPY` reads. Its borders depend on the block
numbers alone, so that the same rows have the same slice in the next backup. A part is the unit of work: consecutive
slices, big enough to fill a pack, small enough to keep every stream busy to the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from coffre.model.names import shown

# 2 MiB of heap at 8 KiB a block: about one frame of text. A changed row costs one slice in the next backup.
SLICE_BLOCKS: Final = 256
# Huge tables get larger slices, so that the plan stays small: at most this many of a table.
_MOST_SLICES: Final = 4096
SMALLEST_PART_BYTES: Final = 16 * 1024 * 1024
LARGEST_PART_BYTES: Final = 256 * 1024 * 1024
_PARTS_A_STREAM: Final = 8
_MOST_SLICES_A_PART: Final = 1000


@dataclass(frozen=True)
class TableExtent:
    """A table to read: `columns` in order, `blocks` of heap, `size_bytes` with TOAST, `condition` an SQL expression.

    `is_uncut` tables are read whole whatever their size. `after` are oids of tables that are loaded before it.
    `is_member` tables are an extension's, and no configuration of it.
    """

    oid: int
    schema: str
    name: str
    columns: tuple[str, ...]
    blocks: int
    size_bytes: int
    condition: str | None = None
    of_extension: bool = False
    is_uncut: bool = False
    after: tuple[int, ...] = ()
    is_member: bool = False

    @property
    def shown_name(self) -> str:
        """The name for a person."""
        return shown(self.schema, self.name)


@dataclass(frozen=True)
class Slice:
    """Blocks `first_block` up to but without `end_block` of a table; both None: the whole table."""

    table: TableExtent
    number: int
    first_block: int | None
    end_block: int | None
    size_bytes: int

    @property
    def name(self) -> str:
        """The entry's name, which sorts in the order of the blocks."""
        return f"tables/{self.table.shown_name}/{self.number:06d}"


@dataclass(frozen=True)
class Part:
    """An independent piece of a job: consecutive slices. `number` gives the order of the names."""

    number: int
    slices: tuple[Slice, ...]
    size_bytes: int


def cut(table: TableExtent, *, by_block: bool) -> Iterator[Slice]:
    """Cut one table into slices, in the order of their names.

    Parameters
    ----------
    table
        The table.
    by_block
        Whether the server can scan a range of blocks (PostgreSQL 14 and newer; field note 26).
    """
    if not by_block or table.is_uncut or table.blocks <= SLICE_BLOCKS or table.condition is not None:
        yield Slice(table, 0, None, None, table.size_bytes)
        return
    bytes_per_block = table.size_bytes / table.blocks
    step = slice_blocks(table.blocks)
    for number, first in enumerate(range(0, table.blocks, step)):
        # The last slice is open: blocks that were added after the count hold rows that the snapshot may see.
        is_last = first + step >= table.blocks
        blocks = min(step, table.blocks - first)
        yield Slice(table, number, first, None if is_last else first + step, int(blocks * bytes_per_block))


def slice_blocks(blocks: int) -> int:
    """Return how many blocks a slice has: a power of two, so that the borders move only when a huge table doubles."""
    step = SLICE_BLOCKS
    while blocks > step * _MOST_SLICES:
        step *= 2
    return step


def gather(
    slices: Iterable[Slice], *, total_bytes: int, streams: int, first_number: int = 1, part_bytes: int | None = None
) -> Iterator[Part]:
    """Gather slices, sorted by name, into parts.

    Parameters
    ----------
    slices
        Sorted by name.
    total_bytes
        Of all slices: a part is about one eighth of a stream's share, within limits.
    streams
        How many parts are worked on at the same time.
    first_number
        Number of the first part.
    part_bytes
        The size of a part, if it is decided already.
    """
    wanted = part_bytes or min(max(total_bytes // (streams * _PARTS_A_STREAM), SMALLEST_PART_BYTES), LARGEST_PART_BYTES)
    waiting: list[Slice] = []
    size, number = 0, first_number
    for piece in slices:
        if waiting and (size + piece.size_bytes > wanted or len(waiting) >= _MOST_SLICES_A_PART):
            yield Part(number, tuple(waiting), size)
            waiting, size, number = [], 0, number + 1
        waiting.append(piece)
        size += piece.size_bytes
    if waiting:
        yield Part(number, tuple(waiting), size)


def plan_parts(
    tables: Sequence[TableExtent],
    *,
    by_block: bool,
    streams: int,
    first_number: int = 1,
    part_bytes: int | None = None,
) -> list[Part]:
    """Cut and gather all tables. Part numbers follow the names; about 0.3 KB of memory a slice."""
    slices = sorted(
        (piece for table in tables for piece in cut(table, by_block=by_block)), key=lambda piece: piece.name
    )
    total = sum(table.size_bytes for table in tables)
    return list(gather(slices, total_bytes=total, streams=streams, first_number=first_number, part_bytes=part_bytes))
