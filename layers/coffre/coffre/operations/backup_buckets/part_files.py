"""What a part has stored, as files: the lines of all its entries, and those that a later run could continue from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from coffre.buckets.changes import ObjectChange
from coffre.model.manifest import Entry
from coffre.operations.backup_buckets.job import BucketPart, ToCompare, Unchanged
from coffre.vault.entries import packed_lines


def write_all(part: BucketPart, entries: Mapping[str, Entry], file: Path) -> list[str]:
    """Write the lines of a part's objects into a zstd file, and return their names. `entries` are those made now."""
    names = []
    with packed_lines(file) as output:
        for item in part.items:
            if isinstance(item, Unchanged):
                line = item.line
            elif item.name in entries:
                line = _line(entries[item.name])
            else:
                continue
            names.append(item.name)
            output.write(line)
    return names


def write_new(part: BucketPart, entries: Mapping[str, Entry], file: Path) -> None:
    """Write the lines of what no backup has yet, sorted: what was read now, and what unfinished runs had stored."""
    with packed_lines(file) as output:
        output.writelines(_new(part, entries))


def _new(part: BucketPart, entries: Mapping[str, Entry]) -> Iterator[bytes]:
    for item in part.items:
        if isinstance(item, Unchanged):
            if item.is_of_unfinished:
                yield item.line
        elif item.name in entries and not (isinstance(item, ToCompare) and item.change is ObjectChange.UNCHANGED):
            yield _line(entries[item.name])


def _line(entry: Entry) -> bytes:
    return entry.model_dump_json(exclude_defaults=True).encode() + b"\n"
