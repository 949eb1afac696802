"""A listing on disk: as it came when it came in order, otherwise sorted there, in bounded memory."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path
from typing import Final, Self

from backports import zstd

from coffre.buckets.object_facts import Listed

# About 0.4 KB each: 10 MB. A listing that is no longer never touches the disk.
RUN_OBJECTS: Final = 25_000
# Runs that are merged together: each has a file open, and a window of zstd.
_RUNS_MERGED: Final = 32
_LEVEL: Final = 1


class Spool:
    """Takes objects in any order and gives them back sorted by key. A context manager that removes its files."""

    def __init__(self, scratch: Path, *, run_objects: int = RUN_OBJECTS) -> None:
        self._scratch = scratch
        self._run_objects = run_objects
        self._waiting: list[Listed] = []
        self._runs: list[Path] = []
        self._made = 0
        self.is_sorted = True
        self.last: str | None = None
        self.count = 0
        self.size = 0

    def add(self, objects: Sequence[Listed]) -> None:
        """Take the objects of a page."""
        for found in objects:
            if self.last is not None and found.key <= self.last:
                self.is_sorted = False
            self.last = max(self.last or "", found.key)
            self.size += found.size
        self.count += len(objects)
        self._waiting += objects
        if len(self._waiting) >= self._run_objects:
            self._spill()

    def in_order(self) -> Iterator[Listed]:
        """Yield every object, sorted by key."""
        self._waiting.sort(key=attrgetter("key"))
        if self.is_sorted:
            for run in self._runs:
                yield from _read(run)
            yield from self._waiting
            return
        while len(self._runs) > _RUNS_MERGED:
            self._merge_some()
        yield from _merged(self._runs, self._waiting)

    def _merge_some(self) -> None:
        some, self._runs = self._runs[:_RUNS_MERGED], self._runs[_RUNS_MERGED:]
        self._write(_merged(some, ()))
        for run in some:
            run.unlink()

    def _spill(self) -> None:
        self._write(sorted(self._waiting, key=attrgetter("key")))
        self._waiting = []

    def _write(self, objects: Iterable[Listed]) -> None:
        run = self._scratch / f"listing-{self._made:06d}.zst"
        self._made += 1
        with zstd.open(run, "wb", level=_LEVEL) as file:
            for found in objects:
                file.write(_line(found))
        self._runs.append(run)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for run in self._runs:
            run.unlink(missing_ok=True)


def _merged(runs: Iterable[Path], rest: Iterable[Listed]) -> Iterator[Listed]:
    with ExitStack() as stack:
        reading = [_read(run) for run in runs]
        for run in reading:
            stack.callback(run.close)  # type: ignore[attr-defined]
        yield from heapq.merge(*reading, rest, key=attrgetter("key"))


def _line(found: Listed) -> bytes:
    modified = found.last_modified.timestamp() if found.last_modified else None
    return (
        json.dumps([found.key, found.size, found.etag, modified, found.storage_class, found.is_sized]).encode() + b"\n"
    )


def _read(run: Path) -> Iterator[Listed]:
    with zstd.open(run, "rb") as lines:
        for line in lines:
            key, size, etag, modified, storage_class, is_sized = json.loads(line)
            time = datetime.fromtimestamp(modified, UTC) if modified is not None else None
            yield Listed(key, size, etag, time, storage_class, is_sized=is_sized)
