"""What a part has stored, as lines: those of all its entries, and those that a later run could continue from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from coffre.buckets.changes import ObjectChange
from coffre.model.manifest import Entry
from coffre.operations.backup_buckets.job import BucketPart, ToCompare, Unchanged
from coffre.operations.runs.part_recorder import Packed
from coffre.vault.entries import packs_of
from coffre.vault.entry_lines import pack_lines


@dataclass
class PartLines:
    """The lines of a part's entries, each made once, sorted by name from `first` to `last`.

    `new` are those that no backup has yet: of what was read now, and of what unfinished runs had stored.
    """

    all: list[bytes] = field(default_factory=list)
    new: list[bytes] = field(default_factory=list)
    new_in: set[str] = field(default_factory=set)
    first: str = ""
    last: str = ""

    def write(self, file: Path) -> None:
        """Write all lines into a zstd file."""
        file.write_bytes(self._packed)

    def write_new(self, file: Path) -> Packed:
        """Write the new lines into a zstd file: in a first backup, those are all."""
        file.write_bytes(self._packed if len(self.new) == len(self.all) else pack_lines(self.new))
        return Packed(file, frozenset(self.new_in), sum(map(len, self.new)))

    @cached_property
    def _packed(self) -> bytes:
        return pack_lines(self.all)


def lines_of(part: BucketPart, entries: Mapping[str, Entry]) -> PartLines:
    """Return the lines of a part's objects. `entries` are those made now."""
    lines = PartLines()
    for item in part.items:
        if isinstance(item, Unchanged):
            line, new_in = item.line, item.new_in
        elif item.name in entries:
            entry = entries[item.name]
            line = entry.model_dump_json(exclude_defaults=True).encode() + b"\n"
            is_of_previous = isinstance(item, ToCompare) and item.change is ObjectChange.UNCHANGED
            new_in = frozenset() if is_of_previous else packs_of(entry)
        else:
            continue
        lines.first, lines.last = lines.first or item.name, item.name
        lines.all.append(line)
        if new_in:
            lines.new.append(line)
            lines.new_in |= new_in
    return lines
