"""What a run that did not finish has stored, read from the records of its parts: of no record more than is certain.

A record counts when the catalog has its SHA-256, the same recipients can open what it names, and each of its lines can
be read. Everything else is left out: it is stored again.
"""

from __future__ import annotations

import heapq
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from backports import zstd
from pydantic import ValidationError

from coffre.model.errors import CoffreError, IntegrityError
from coffre.model.manifest import Entry
from coffre.vault.entry_lines import packed_lines
from coffre.vault.history import Unfinished
from coffre.vault.layout import writer_of
from coffre.vault.part_records import StoredPart, read_part
from coffre.vault.vault import Vault

_READ_TOGETHER: Final = 8
# How many files are merged at the same time: far below the number of files that a process may have open.
_MERGED_TOGETHER: Final = 64


@dataclass(frozen=True)
class Read:
    """What was found of a run; `ignored` says why each record that does not count was left out."""

    run: Unfinished
    ignored: tuple[str, ...]


def read_unfinished(
    vault: Vault, target: str, backup_id: str, records: Mapping[int, str], recipients: Sequence[str], scratch: Path
) -> Read:
    """Read the records of a run that did not finish. None of them is needed: no record is an error.

    Parameters
    ----------
    records
        The SHA-256 of each record, by number, as the catalog has them.
    recipients
        Who can open the new backup.
    scratch
        Where the entries go.
    """

    names: dict[int, tuple[str, str]] = {}

    def read(number: int) -> StoredPart | str:
        try:
            part, readers = read_part(vault, target, backup_id, number, scratch, sha256=records[number])
            if set(readers) != set(recipients):
                part.entries.unlink()
                return "it is for other recipients"
            names[number] = _checked(part)
        except CoffreError as error:
            return error.message
        return replace(part, entries=_packed(part.entries))

    with ThreadPoolExecutor(_READ_TOGETHER, thread_name_prefix="records") as pool:
        found = list(pool.map(read, sorted(records)))
    parts = [one for one in found if isinstance(one, StoredPart)]
    # Of a slice that was read again, in another snapshot, the last entry counts.
    entries = _merged([part.entries for part in reversed(parts)], scratch, backup_id)
    packs = {pack.key: pack for part in parts for pack in part.packs}
    return Read(Unfinished(backup_id, entries, packs, names), tuple(one for one in found if isinstance(one, str)))


def _checked(part: StoredPart) -> tuple[str, str]:
    """Check that a record's entries can be read and are sorted, and that it names packs. Return first and last name.

    Raises
    ------
    IntegrityError
        `PART_DAMAGED`
    """
    first = last = ""
    try:
        with part.entries.open("rb") as lines:
            for line in lines:
                name = Entry.model_validate_json(line).name
                if name <= last:
                    raise _damaged(part, "its entries are not in order")
                first, last = first or name, name
    except ValidationError as error:
        raise _damaged(part, "a line of it is no entry") from error
    if any(writer_of(pack.key) is None for pack in part.packs):
        raise _damaged(part, "it names something that is no pack")
    return first, last


def _damaged(part: StoredPart, why: str) -> IntegrityError:
    return IntegrityError(f"The record of part {part.number} cannot be used: {why}.", code="PART_DAMAGED")


def _packed(file: Path) -> Path:
    """Compress a file: those of a million objects are 0.5 GB of text."""
    packed = file.with_suffix(".zst")
    with file.open("rb") as lines, packed_lines(packed) as output:
        shutil.copyfileobj(lines, output)
    file.unlink()
    return packed


def _merged(files: list[Path], scratch: Path, backup_id: str) -> Path:
    """Merge sorted files of entries into one, in constant memory, and remove them."""
    merged = 0
    while len(files) != 1:
        group, files = files[:_MERGED_TOGETHER], files[_MERGED_TOGETHER:]
        target = scratch / f"unfinished-{backup_id}-{merged:06d}.zst"
        merged += 1
        with ExitStack() as stack, packed_lines(target) as output:
            opened = [stack.enter_context(zstd.open(file, "rb")) for file in group]
            lines: Iterator[bytes] = heapq.merge(*opened, key=_name_of)
            output.writelines(lines)
        for file in group:
            file.unlink()
        files.append(target)
    return files[0]


def _name_of(line: bytes) -> str:
    return str(json.loads(line)["name"])


def count_bytes(live: Mapping[str, int], unfinished: Mapping[str, str]) -> dict[str, int]:
    """Return how many bytes of a backup unfinished runs had stored, by the run (`History.unfinished`)."""
    counts: dict[str, int] = {}
    for key, length in live.items():
        if (run := unfinished.get(key)) is not None:
            counts[run] = counts.get(run, 0) + length
    return counts
