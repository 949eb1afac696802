"""Keeps for the next run what a run has stored: records of what is stored since the record before (ADR 51).

A run that is over within a minute writes none, unless it fails.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from coffre.model.errors import CoffreError
from coffre.model.manifest import Entry, PackReference
from coffre.model.words import size
from coffre.operations.runs.run import Run
from coffre.vault.entries import EntryWriter, packs_of
from coffre.vault.entry_lines import pack_lines, read_lines
from coffre.vault.layout import writer_of
from coffre.vault.pack import PackWriter
from coffre.vault.part_records import write_packed
from coffre.vault.vault import Vault

# What takes longer than this to store again is worth a record.
FIRST_AFTER_SECONDS: Final = 60.0
# A run that is killed loses about one in a hundred of 15 minutes; of a run that is older too.
EVERY_SECONDS: Final = 10.0
_EVERY_SHARE: Final = 0.01
_FLUSH_SECONDS: Final = 10.0
# Of text: read again whole. About 20,000 slices.
_RECORD_BYTES: Final = 8 * 1024 * 1024


@dataclass(frozen=True)
class Packed:
    """A zstd file of the lines that a part has to record, sorted by name, and the packs that they name."""

    file: Path
    packs: frozenset[str]
    text_bytes: int


@dataclass
class _Source:
    """A part: its writers while it is worked on, and afterwards the file of its entries or what it has packed."""

    packs: PackWriter
    writer: EntryWriter | None
    file: Path | None = None
    packed: Packed | None = None
    recorded: set[str] = field(default_factory=set)

    @property
    def is_finished(self) -> bool:
        return self.file is not None or self.packed is not None

    def entries(self) -> Iterator[Entry]:
        """Yield the entries until now that are not recorded, sorted by name."""
        file, writer = self.packed.file if self.packed else self.file, self.writer
        if file is not None:
            yield from (entry for entry in read_lines(file) if self._is_new(entry))
        elif writer is not None:
            yield from sorted(filter(self._is_new, tuple(writer.entries)), key=lambda entry: entry.name)

    def _is_new(self, entry: Entry) -> bool:
        return bool(entry.frames) and entry.name not in self.recorded


class _Record:
    """A record that is being put together: lines that are made for it, and files of parts, in the order of the names.

    `stored` are the packs that it may name, by key.
    """

    def __init__(self, stored: Mapping[str, PackReference]) -> None:
        self._stored = stored
        self._lines: list[bytes] = []
        self._body = bytearray()
        self._taken: list[tuple[_Source, str]] = []
        self._text_bytes = 0
        self.packs: dict[str, PackReference] = {}

    def take(self, source: _Source) -> bool:
        """Take what there is of a part; return whether that is all. What a full record has no room for, is not."""
        packed = source.packed
        if packed is not None and packed.text_bytes <= _RECORD_BYTES and packed.packs <= self._stored.keys():
            return self._take_whole(packed)
        for entry in source.entries():
            if self._is_full:
                return False
            if all(frame.pack in self._stored for frame in entry.frames):
                self._name(packs_of(entry))
                self._lines.append(entry.model_dump_json(exclude_defaults=True).encode() + b"\n")
                self._text_bytes += len(self._lines[-1])
                self._taken.append((source, entry.name))
        return True

    def close(self) -> bytes:
        """Return the lines, packed."""
        self._flush()
        return bytes(self._body)

    def written(self) -> None:
        """Take note that the record is stored."""
        for source, name in self._taken:
            source.recorded.add(name)

    @property
    def _is_full(self) -> bool:
        return self._text_bytes >= _RECORD_BYTES

    def _take_whole(self, packed: Packed) -> bool:
        """Take a file as it is, without a look at its lines."""
        if self._is_full:
            return False
        if packed.packs:
            self._flush()
            self._name(packed.packs)
            self._body += packed.file.read_bytes()
            self._text_bytes += packed.text_bytes
        return True

    def _name(self, packs: frozenset[str]) -> None:
        self.packs.update((key, self._stored[key]) for key in packs)

    def _flush(self) -> None:
        if self._lines:
            self._body += pack_lines(self._lines)
            self._lines.clear()


class PartRecorder:
    """Records in the vault what the parts of a run store, and in the catalog what the records are.

    Use as a context manager: leaving by an error records what is stored until then, and adds to the error that it is
    kept. A record that cannot be written is left out: the run does not depend on it.

    Parameters
    ----------
    recipients
        Who can open what the run stores.
    first_number
        Where the numbers of the records begin.
    is_alone
        Whether this recorder sees all that the run stores.
    """

    def __init__(
        self,
        vault: Vault,
        recipients: tuple[str, ...],
        run: Run,
        *,
        first_number: int = 0,
        is_alone: bool = True,
    ) -> None:
        self._vault = vault
        self._recipients = recipients
        self._run = run
        self._known: dict[str, PackReference] = {}
        self._sources: dict[int, _Source] = {}
        self._kept: dict[str, int] = {}
        self._numbers = itertools.count(first_number)
        self._is_alone = is_alone
        self._adding = threading.Lock()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._record_on, name="records", daemon=True)

    def begin_plan(self, known: Mapping[str, PackReference]) -> None:
        """Begin with the parts of a plan; `known` are the packs of earlier runs that their entries may point at.

        Of an earlier plan of the same run, whose snapshot was given up, only what is recorded is kept.
        """
        with self._adding:
            self._known.update(known)
            self._sources.clear()

    def begin(self, number: int, packs: PackWriter, writer: EntryWriter) -> None:
        """Take note of a part that is begun, or is repeated."""
        with self._adding:
            self._sources[number] = _Source(packs, writer)

    def finish(self, number: int, file: Path) -> None:
        """Take note of a part whose entries are in a file, and whose packs are stored."""
        with self._adding:
            source = self._sources[number]
            source.file, source.writer = file, None

    def finish_packed(self, number: int, packed: Packed) -> None:
        """Take note of a part whose packs are stored. The file is removed when the part is recorded.

        It is recorded whole, with what was recorded while the part was worked on: to read a thousand small entries
        costs more than to store a few of them twice.
        """
        with self._adding:
            source = self._sources[number]
            source.packed, source.writer = packed, None

    def flush(self) -> None:
        """Record what is stored, as the last records: the run continues elsewhere, which does not wait for long."""
        self._stop()
        self._record(_FLUSH_SECONDS)

    def __enter__(self) -> Self:
        if self._run.recorded is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._run.recorded is None:
            return
        self._stop()
        if error is not None:
            self._record()
            if self._kept:
                amount = f" ({size(sum(self._kept.values()))})" if self._is_alone else ""
                error.add_note(
                    f"What was stored{amount} is kept for a day: the next backup of this target continues from there."
                )

    def _stop(self) -> None:
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()

    def _record_on(self) -> None:
        while not self._done.wait(seconds_to_wait(self._age())):
            self._record()

    def _age(self) -> float:
        return (datetime.now(UTC) - self._run.backup.created_at).total_seconds()

    def _record(self, seconds: float = math.inf) -> None:
        end = time.monotonic() + seconds
        # ValueError: another plan has begun, which writes its own entries into the file that is read.
        with contextlib.suppress(CoffreError, OSError, ValueError):
            while self._record_once() and time.monotonic() < end:
                pass

    def _record_once(self) -> bool:
        """Write one record of what is stored and not recorded; return whether it had room for less than there is."""
        with self._adding:
            sources = sorted(self._sources.items())
            finished = {number for number, source in sources if source.is_finished}
            stored = dict(self._known)
        for _, source in sources:
            stored.update((pack.key, pack) for pack in tuple(source.packs.packs))
        record, done, is_full = _Record(stored), [], False
        for number, source in sources:
            if is_full := not record.take(source):
                break
            if number in finished:
                done.append((number, source))
        if record.packs:
            self._write(record.close(), tuple(record.packs.values()))
            record.written()
        with self._adding:
            for number, source in done:
                if self._sources.get(number) is source:
                    self._forget(number)
        return is_full

    def _forget(self, number: int) -> None:
        source = self._sources.pop(number)
        if source.packed is not None:
            source.packed.file.unlink(missing_ok=True)

    def _write(self, entries: bytes, packs: tuple[PackReference, ...]) -> None:
        backup, recorded = self._run.backup, self._run.recorded
        sha256 = None
        while sha256 is None:
            number = next(self._numbers)
            sha256 = write_packed(self._vault, backup.target, backup.id, number, packs, entries, self._recipients)
        if recorded is not None:
            recorded(number, sha256)
        self._kept.update((pack.key, pack.length) for pack in packs if writer_of(pack.key) == backup.id)


def seconds_to_wait(age: float) -> float:
    """Return how long a run of this age in seconds waits before its next record."""
    return max(EVERY_SECONDS, FIRST_AFTER_SECONDS - age, _EVERY_SHARE * age)
