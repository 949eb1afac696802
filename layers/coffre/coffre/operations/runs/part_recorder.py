"""Keeps for the next run what a run has stored: records of what is stored since the record before (ADR 51).

A run that is over within a minute writes none, unless it fails.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from coffre.model.errors import CoffreError
from coffre.model.manifest import Entry, PackReference
from coffre.model.words import size
from coffre.operations.runs.run import Run
from coffre.vault.entries import EntryWriter, read_lines, write_lines
from coffre.vault.layout import writer_of
from coffre.vault.pack import PackWriter
from coffre.vault.part_records import StoredPart, write_part
from coffre.vault.vault import Vault

# What takes longer than this to store again is worth a record.
FIRST_AFTER_SECONDS: Final = 60.0
# A run that is killed loses about one in a hundred of 15 minutes; of a run that is older too.
EVERY_SECONDS: Final = 10.0
_EVERY_SHARE: Final = 0.01
_FLUSH_SECONDS: Final = 10.0
# Of text: read again whole. About 20,000 slices.
_RECORD_BYTES: Final = 8 * 1024 * 1024


@dataclass
class _Source:
    """A part: its writers while it is worked on, and its file afterwards, which goes with it if it `is_only_here`."""

    packs: PackWriter
    writer: EntryWriter | None
    file: Path | None = None
    is_only_here: bool = False
    recorded: set[str] = field(default_factory=set)

    def entries(self) -> Iterator[Entry]:
        """Yield the entries until now that are not recorded, sorted by name."""
        if self.file is not None:
            found: Iterable[Entry] = read_lines(self.file)
        else:
            writer = self.writer  # `finish` may take it away meanwhile
            found = sorted(writer.entries if writer else (), key=lambda entry: entry.name)
        return (entry for entry in found if entry.frames and entry.name not in self.recorded)


class PartRecorder:
    """Records in the vault what the parts of a run store, and in the catalog what the records are.

    Use as a context manager: leaving by an error records what is stored until then, and adds to the error that it is
    kept. A record that cannot be written is left out: the run does not depend on it.

    Parameters
    ----------
    recipients
        Who can open what the run stores.
    scratch
        Where a record is put together.
    first_number
        Where the numbers of the records begin.
    is_alone
        Whether this recorder sees all that the run stores.
    """

    def __init__(
        self,
        vault: Vault,
        recipients: tuple[str, ...],
        scratch: Path,
        run: Run,
        *,
        first_number: int = 0,
        is_alone: bool = True,
    ) -> None:
        self._vault = vault
        self._recipients = recipients
        self._scratch = scratch
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

    def finish(self, number: int, file: Path, *, is_only_here: bool = False) -> None:
        """Take note of a part whose entries are in a file, and whose packs are stored.

        With `is_only_here` nothing else needs the file: it is removed when the part is recorded.
        """
        with self._adding:
            source = self._sources[number]
            source.file, source.writer, source.is_only_here = file, None, is_only_here

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
        """Write one record of what is stored and not recorded; return whether there may be more."""
        with self._adding:
            sources = sorted(self._sources.items())
            stored = dict(self._known)
        is_whole = {number for number, source in sources if source.file is not None}
        for _, source in sources:
            stored.update((pack.key, pack) for pack in tuple(source.packs.packs))
        taken: list[tuple[_Source, str]] = []
        packs: dict[str, PackReference] = {}
        text_bytes, passed = 0, set()
        file = self._scratch / "record.jsonl"

        def lines() -> Iterator[Entry]:
            nonlocal text_bytes
            for number, source in sources:
                for entry in source.entries():
                    if text_bytes >= _RECORD_BYTES:
                        return
                    if all(frame.pack in stored for frame in entry.frames):
                        packs.update((frame.pack, stored[frame.pack]) for frame in entry.frames)
                        text_bytes += 200 * (1 + len(entry.frames))
                        taken.append((source, entry.name))
                        yield entry
                passed.add(number)

        write_lines(lines(), file)
        if taken:
            self._write(file, tuple(packs.values()))
        for source, name in taken:
            source.recorded.add(name)
        with self._adding:
            for number, source in sources:
                if number in passed & is_whole and self._sources.get(number) is source:
                    self._forget(number)
        return bool(taken)

    def _forget(self, number: int) -> None:
        source = self._sources.pop(number)
        if source.is_only_here and source.file is not None:
            source.file.unlink(missing_ok=True)

    def _write(self, file: Path, packs: tuple[PackReference, ...]) -> None:
        backup, recorded = self._run.backup, self._run.recorded
        sha256 = None
        while sha256 is None:
            number = next(self._numbers)
            part = StoredPart(number, file, packs)
            sha256 = write_part(self._vault, backup.target, backup.id, part, self._recipients)
        if recorded is not None:
            recorded(number, sha256)
        self._kept.update((pack.key, pack.length) for pack in packs if writer_of(pack.key) == backup.id)


def seconds_to_wait(age: float) -> float:
    """Return how long a run of this age in seconds waits before its next record."""
    return max(EVERY_SECONDS, FIRST_AFTER_SECONDS - age, _EVERY_SHARE * age)
