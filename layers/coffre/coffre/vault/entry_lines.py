"""Lists of entries: JSON lines in the order of their names, on this machine's disk and in the vault."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from backports import zstd

from coffre.model.errors import IntegrityError
from coffre.model.manifest import Entry
from coffre.vault.entries import live_bytes

_LIST_LEVEL: Final = 6
# Of what is read once, from this machine's disk.
_SCRATCH_LEVEL: Final = 1
# About 300,000 frames.
_LINE_LIMIT_BYTES: Final = 64 * 1024 * 1024


def read_lines(path: Path) -> Iterator[Entry]:
    """Yield what `write_lines` wrote, or from a file `.zst`, which has the same lines in a tenth of the space."""
    with zstd.open(path, "rb") if path.suffix == ".zst" else path.open("rb") as lines:
        for line in lines:
            yield Entry.model_validate_json(line)


def pack_lines(lines: Iterable[bytes]) -> bytes:
    """Return what a file `.zst` has that `read_lines` reads. Such files can be put together to one."""
    return zstd.compress(b"".join(lines), _SCRATCH_LEVEL)


@contextmanager
def packed_lines(path: Path) -> Iterator[zstd.ZstdFile]:
    """Open a file `.zst` for lines that `read_lines` reads."""
    with zstd.open(path, "wb", level=_SCRATCH_LEVEL) as output:
        output.write(b"")  # without it, a file of no lines would have no bytes, and be damaged
        yield output


def write_lines(entries: Iterable[Entry], path: Path) -> None:
    """Write entries as JSON lines, in the order given."""
    with path.open("wb") as file:
        for entry in entries:
            file.write(entry.model_dump_json(exclude_defaults=True).encode() + b"\n")


@dataclass
class Merged:
    """What the entries of all parts amount to: how many they are, and what they use of each pack."""

    count: int = 0
    first: str = ""
    live_bytes: Counter[str] = field(default_factory=Counter)


def merge_lines(paths: Iterable[Path], destination: Path) -> Merged:
    """Concatenate files of JSON lines into one zstd file.

    The files' order must be the order of the names: parts are cut from the sorted list of entries, so it is the order
    of the parts.

    Raises
    ------
    IntegrityError
        When the names are not strictly ascending (code `ENTRIES_UNSORTED`): a part came twice, or is mixed up.
    """
    merged = Merged()
    last = ""
    with zstd.open(destination, "wb", level=_LIST_LEVEL) as output:
        for path in paths:
            with path.open("rb") as lines:
                for line in lines:
                    entry = Entry.model_validate_json(line)
                    if entry.name <= last:
                        raise unsorted(entry.name, last)
                    last = entry.name
                    merged.first = merged.first or last
                    output.write(line)
                    merged.count += 1
                    for pack, length in live_bytes(entry):
                        merged.live_bytes[pack] += length
    return merged


def unsorted(name: str, last: str) -> IntegrityError:
    """Return the error for an entry that does not come after the one before."""
    return IntegrityError(
        "The entries of this backup are not in order; nothing was published.",
        code="ENTRIES_UNSORTED",
        detail=f"{name!r} follows {last!r}",
        hint="This is a defect of Coffre: please report it.",
    )


def parse_lines(compressed: bytes, *, where: str) -> Iterator[Entry]:
    """Yield the entries of a stored entries file one by one, in constant memory.

    Raises
    ------
    IntegrityError
        When a line is not an entry (code `ENTRIES_DAMAGED`).
    """
    try:
        for line in lines_of(compressed):
            yield Entry.model_validate_json(line)
    except (zstd.ZstdError, ValueError, EOFError) as error:
        raise IntegrityError(
            f"The list of entries {where} is damaged.",
            code="ENTRIES_DAMAGED",
            hint="This backup cannot be trusted. Restore an older one (`coffre list`).",
        ) from error


def lines_of(compressed: bytes) -> Iterator[bytes]:
    """Yield the lines of a zstd file as they are unpacked.

    Raises
    ------
    EOFError
        It ends too early.
    ValueError
        A line has more than 64 MiB: the memory that this takes stays bounded.
    """
    decompressor = zstd.ZstdDecompressor()
    data, rest = compressed, bytearray()
    while not decompressor.eof:
        block = decompressor.decompress(data, max_length=1024 * 1024)
        data = b""
        if not block and decompressor.needs_input:
            raise EOFError
        first, *others = block.split(b"\n")
        rest += first
        if len(rest) > _LINE_LIMIT_BYTES:
            raise ValueError("a line is too long")
        if others:
            yield bytes(rest)
            *lines, last = others
            yield from lines
            rest = bytearray(last)
    if rest:
        raise EOFError
