"""Read what the dynamic linker reads of an ELF file, and cut away what it never reads."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from .model import RecipeError

# Layouts of the 64-bit little-endian tables: System V ABI, and Linux Standard Base for the symbol versions.
_FILE_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
_DYNAMIC_ENTRY = struct.Struct("<qQ")
_VERSION_NEED = struct.Struct("<HHIII")
_VERSION_NEED_AUX = struct.Struct("<IHHII")
_SECTION_FIELDS_OFFSET = 40  # e_shoff; e_shentsize, e_shnum and e_shstrndx are the last three fields of the header

_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_NEEDED, _DT_STRTAB, _DT_SONAME, _DT_VERNEED, _DT_VERNEEDNUM = 1, 5, 14, 0x6FFFFFFE, 0x6FFFFFFF


@dataclass(frozen=True)
class Elf:
    """One ELF file as the dynamic linker sees it."""

    machine: int
    soname: str | None
    needed: tuple[str, ...]
    versions: tuple[str, ...]
    segments_end: int


@dataclass(frozen=True)
class _Segment:
    kind: int
    offset: int
    address: int
    size: int


def is_elf(data: bytes) -> bool:
    return data.startswith(b"\x7fELF")


def read_elf(data: bytes) -> Elf:
    """Parse an ELF file.

    Raises
    ------
    RecipeError
        The file is not 64-bit little-endian ELF, or its tables point outside of it.
    """
    if not is_elf(data) or data[4:6] != b"\x02\x01":
        raise RecipeError("not a 64-bit little-endian ELF file")
    try:
        return _read(data)
    except (struct.error, ValueError, StopIteration) as error:
        raise RecipeError(f"damaged ELF file: {error}") from error


def strip(data: bytes) -> bytes:
    """Drop everything behind the last segment: symbols, debugging data, section headers.

    Notes
    -----
    Neither kernel nor dynamic linker reads it. Done here and not by binutils, so that the bytes do not depend on the
    build host and arm64 needs no cross tools. Against ``strip`` it saves another 2 KB per file (2026-11-22).
    """
    header = bytearray(data[: read_elf(data).segments_end])
    struct.pack_into("<Q", header, _SECTION_FIELDS_OFFSET, 0)
    struct.pack_into("<HHH", header, _FILE_HEADER.size - 6, 0, 0, 0)
    return bytes(header)


def _read(data: bytes) -> Elf:
    machine = _FILE_HEADER.unpack_from(data)[2]
    segments = _segments(data)
    dynamic = list(_dynamic(data, segments))
    table = dict(dynamic)
    strings = _offset(segments, table[_DT_STRTAB]) if _DT_STRTAB in table else 0
    return Elf(
        machine=machine,
        soname=_string(data, strings + table[_DT_SONAME]) if _DT_SONAME in table else None,
        needed=tuple(_string(data, strings + value) for tag, value in dynamic if tag == _DT_NEEDED),
        versions=tuple(sorted(set(_versions(data, segments, table, strings)))),
        segments_end=max(segment.offset + segment.size for segment in segments),
    )


def _segments(data: bytes) -> list[_Segment]:
    fields = _FILE_HEADER.unpack_from(data)
    start, entry_size, count = fields[5], fields[9], fields[10]
    segments = []
    for index in range(count):
        kind, _, offset, address, _, size, _, _ = _PROGRAM_HEADER.unpack_from(data, start + index * entry_size)
        segments.append(_Segment(kind, offset, address, size))
    return segments


def _dynamic(data: bytes, segments: list[_Segment]) -> Iterator[tuple[int, int]]:
    for segment in segments:
        if segment.kind == _PT_DYNAMIC:
            for position in range(segment.offset, segment.offset + segment.size, _DYNAMIC_ENTRY.size):
                yield _DYNAMIC_ENTRY.unpack_from(data, position)


def _versions(data: bytes, segments: list[_Segment], table: dict[int, int], strings: int) -> Iterator[str]:
    if _DT_VERNEED not in table:
        return
    need = _offset(segments, table[_DT_VERNEED])
    for _ in range(table[_DT_VERNEEDNUM]):
        _, count, _, first, following = _VERSION_NEED.unpack_from(data, need)
        aux = need + first
        for _ in range(count):
            _, _, _, name, next_aux = _VERSION_NEED_AUX.unpack_from(data, aux)
            yield _string(data, strings + name)
            aux += next_aux
        need += following


def _offset(segments: list[_Segment], address: int) -> int:
    found = (s for s in segments if s.kind == _PT_LOAD and s.address <= address < s.address + s.size)
    segment = next(found)
    return address - segment.address + segment.offset


def _string(data: bytes, position: int) -> str:
    return data[position : data.index(b"\0", position)].decode("utf-8")
