"""Where a measured process spends its own CPU seconds: timers around the steps of a backup, put in from outside.

Each counts the thread's CPU time without that of timers inside it, so that the shares add up. A step that is not where
a timer looks for it is left out and named: its seconds are then with whoever called it.
"""

from __future__ import annotations

import hashlib
import importlib
import resource
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial, wraps
from time import process_time, thread_time
from typing import Any, Final, Self

# Share -> where the functions are called from, "module:name" or "module:Class.name".
_STEPS: Final = (
    ("zstd", "coffre.vault.compression_level:Levels.compress"),
    ("age", "pyrage:encrypt"),
    ("plan", "coffre.operations.backup_database.backup:open_snapshot_and_plan"),
    ("schema, roles", "coffre.operations.backup_database.backup:store_metadata"),
    ("entries, frames", "coffre.vault.entries:EntryWriter.add"),
    ("packs", "coffre.vault.pack:PackWriter.append"),
    ("packs", "coffre.vault.pack:PackWriter._put"),
    ("store", "coffre.stores.directory:DirectoryStore.put"),
    ("seal", "coffre.operations.backup_database.backup:seal"),
)
# Generators: what counts is the time inside them.
_READERS: Final = (("reading", "coffre.postgres.source.dump:SliceReader.chunks"),)


class Timers:
    """CPU seconds by step, over all threads."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)
        self._lock = threading.Lock()
        self._local = threading.local()
        self._missing: list[str] = []

    @classmethod
    def installed(cls, start_seconds: float) -> Self:
        """Return timers that are in place in this process, which took `start_seconds` to start and import."""
        timers = cls()
        timers._seconds["interpreter start, imports"] = start_seconds
        for share, where in _STEPS:
            timers._replace(where, partial(timers._timed, share))
        for share, where in _READERS:
            timers._replace(where, partial(timers._timed_generator, share))
        # Every hash of the package is made by calling `hashlib.sha256`; hashing itself is in methods that cannot be
        # replaced, so the object is.
        hashlib.sha256 = partial(_TimedHash, timers, hashlib.sha256)  # type: ignore[assignment]
        return timers

    def run[T](self, share: str, function: Callable[..., T], *args: Any, **options: Any) -> T:
        """Call a function on the account of a step."""
        inside: list[float] = self._local.__dict__.setdefault("inside", [])
        inside.append(0.0)
        began = thread_time()
        try:
            return function(*args, **options)
        finally:
            spent = thread_time() - began
            own = spent - inside.pop()
            if inside:
                inside[-1] += spent
            with self._lock:
                self._seconds[share] += own

    def shares(self) -> dict[str, float]:
        """Return seconds by step; what no timer saw is "the rest", and steps that were not found have no seconds."""
        with self._lock:
            found = dict(self._seconds)
        rest = process_time() - sum(found.values())
        return {
            **found,
            "the rest (threads, waking, Python)": rest,
            **{f"not found: {where}": 0 for where in self._missing},
        }

    def _replace(self, where: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        module, _, path = where.partition(":")
        *parents, name = path.split(".")
        try:
            owner: Any = importlib.import_module(module)
            for parent in parents:
                owner = getattr(owner, parent)
            setattr(owner, name, wrap(getattr(owner, name)))
        except (ImportError, AttributeError):
            self._missing.append(where)

    def _timed[T](self, share: str, function: Callable[..., T]) -> Callable[..., T]:
        @wraps(function)
        def call(*args: Any, **options: Any) -> T:
            return self.run(share, function, *args, **options)

        return call

    def _timed_generator[T](self, share: str, function: Callable[..., Iterator[T]]) -> Callable[..., Iterator[T]]:
        @wraps(function)
        def call(*args: Any, **options: Any) -> Iterator[T]:
            found = function(*args, **options)
            end = object()
            while (item := self.run(share, next, found, end)) is not end:
                yield item

        return call


class _TimedHash:
    """A SHA-256 whose work is on the account of its own step."""

    def __init__(self, timers: Timers, make: Callable[..., Any], data: Any = b"", **options: Any) -> None:
        self._timers = timers
        self._hash = timers.run("SHA-256", make, data, **options)

    def update(self, data: Any) -> None:
        self._timers.run("SHA-256", self._hash.update, data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._hash, name)


def cpu_report() -> dict[str, float]:
    """Return the CPU seconds of the programs that this process ran and waited for, as the harness wants them."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"programs_cpu_seconds": children.ru_utime + children.ru_stime}
