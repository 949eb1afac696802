"""Seal a spread backup: count every planned part once, by the records, and stream their entries into the lists."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from coffre.model.errors import IntegrityError
from coffre.model.manifest import Entry, Manifest, PackReference
from coffre.operations.backup_database.job import DatabaseBackupJob
from coffre.operations.backup_database.seal import Sealed, add_counts, check_complete, commit
from coffre.operations.backup_database.spread.plan_files import SpreadHeader, read_tables
from coffre.operations.runs.run import Run
from coffre.vault.entries import live_bytes
from coffre.vault.entry_files import EntryFiles, lists_as_packs
from coffre.vault.entry_lines import unsorted
from coffre.vault.layout import writer_of
from coffre.vault.part_records import StoredPart, read_part, recorded_parts
from coffre.vault.vault import Committed

_LOOKS: Final = 4
_PAUSE_SECONDS: Final = 1.0


def seal_spread(
    job: DatabaseBackupJob, header: SpreadHeader, run: Run, recorded: Callable[[], Mapping[int, str]]
) -> tuple[Manifest, Committed]:
    """Write the lists of entries, then the manifest, which commits the backup.

    `recorded` reads the SHA-256 of each record that a worker wrote. Others in the vault do not count: an
    identity that may add objects there could have put them.

    Raises
    ------
    IntegrityError
        `PART_MISSING`: the recorded parts are not exactly the planned ones. `PART_DAMAGED`, `PART_SWAPPED`: a record
        cannot be read, is not the one that was written, or was stored for other recipients. `PLAN_MISSING`,
        `PLAN_CHANGED`.
    """
    plan = read_tables(job.vault, header)
    first, last = header.parts
    numbers = list(recorded_parts(job.vault, header.target, header.backup_id))
    check_complete(range(first, last + 1), numbers)
    known = _known(numbers, recorded)
    gathered = _Gathered(job, header)
    for number in numbers:
        run.watch.check()
        part, recipients = read_part(
            job.vault, header.target, header.backup_id, number, job.scratch, sha256=known[number]
        )
        if recipients != job.recipients:
            raise _other_recipients(number)
        gathered.add(part)
        part.entries.unlink()
    return commit(job, plan, gathered.sealed(), run)


def _known(numbers: Sequence[int], recorded: Callable[[], Mapping[int, str]]) -> Mapping[int, str]:
    """Return the hashes of all records. A worker adds one right after the record itself: it may be about to."""
    for _ in range(_LOOKS):
        known = recorded()
        if known.keys() >= set(numbers):
            return known
        time.sleep(_PAUSE_SECONDS)
    check_complete(numbers, sorted(known.keys() & set(numbers)))
    return known


class _Gathered:
    """What parts amount to, one after another: no list of all entries is ever in memory."""

    def __init__(self, job: DatabaseBackupJob, header: SpreadHeader) -> None:
        self._backup_id = header.backup_id
        self._live: Counter[str] = Counter()
        self._packs: dict[str, PackReference] = {}
        self._files = EntryFiles(job.vault, header.backup_id, self._packs)
        self._counts: dict[int, tuple[int, int]] = {}
        self._size = 0
        self._notes: list[str] = []

    def add(self, part: StoredPart) -> None:
        lines = part.entries.read_bytes().splitlines(keepends=True)
        first = last = ""
        for line in lines:
            entry = Entry.model_validate_json(line)
            if entry.name <= last:
                raise unsorted(entry.name, last)
            first, last = first or entry.name, entry.name
            for pack, length in live_bytes(entry):
                self._live[pack] += length
        if lines:
            self._files.add(lines, first, last)
        self._packs.update({pack.key: pack for pack in part.packs})
        add_counts(self._counts, part.counts)
        self._size += part.size_bytes
        self._notes += part.notes

    def sealed(self) -> Sealed:
        files = self._files.close()
        own = (pack for pack in self._packs.values() if writer_of(pack.key) == self._backup_id)
        return Sealed(
            entries=files,
            live_bytes={**self._live, **lists_as_packs(files)},
            packs=self._packs,
            stored_bytes=sum(pack.length for pack in own),
            size_bytes=self._size,
            counts=self._counts,
            notes=tuple(dict.fromkeys(self._notes)),
            unfinished={key: writer for key in self._live if (writer := writer_of(key)) is not None},
        )


def _other_recipients(number: int) -> IntegrityError:
    return IntegrityError(
        f"Part {number} of the backup was stored for other recipients than the configuration names now.",
        code="PART_DAMAGED",
        hint="Nothing was published. The configuration was changed while the backup ran: take it again.",
    )
