"""A vault's store with its copies: what one place cannot give, or has damaged, is read from the next one.

A copy holds the same objects by the same keys, and readers check them by their SHA-256. So any place that has the right
bytes will do, and it does not matter whether a copy is complete.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from coffre.model.copies import ReadFrom
from coffre.model.errors import CoffreError, IntegrityError, ObjectMissingError, StoreError, StoreTransientError
from coffre.stores.body import Body
from coffre.stores.store import MAX_OBJECT_BYTES, ObjectInfo, Store

VAULT: Final = "vault"
_KEYS_KEPT: Final = 5

type Failed = IntegrityError | StoreError | StoreTransientError


class Place:
    """Where a store is: `vault`, or the name of a copy. It is opened when it is first needed."""

    def __init__(self, name: str, open_store: Callable[[], Store]) -> None:
        self.name = name
        self._open = open_store
        self._store: Store | None = None
        self._lock = threading.Lock()

    @property
    def words(self) -> str:
        """How a person calls it."""
        return "the vault" if self.name == VAULT else f"the copy {self.name}"

    def store(self) -> Store:
        """Return the store.

        Raises
        ------
        StoreError
            `COPY_CLOSED`: it cannot be opened, because its secret is missing or not as it should be.
        """
        with self._lock:
            if self._store is None:
                try:
                    self._store = self._open()
                except CoffreError as error:
                    raise StoreError(
                        f"{self.words.capitalize()} cannot be opened: {error.message}",
                        code="COPY_CLOSED",
                        detail=error.detail,
                        hint=error.hint,
                    ) from error
            return self._store


@dataclass
class _Taken:
    """What was read from a place that is not the first."""

    because: Failed
    keys: set[str] = field(default_factory=set)


class StoreWithCopies(Store):
    """Several places with the same objects, read as one. Safe to use from several threads.

    What a backup is made of is read by `checked`. Everything else (reports, lists of names) goes through the methods of
    a store, to the first place of `records` that takes it or has it.

    Parameters
    ----------
    places
        Where backups are read from, the first choice first.
    records
        Where the caller's own records are, the first choice first; by default the same places.
    report
        Gets the name of a place and its error when another place is first used instead of it.
    """

    def __init__(
        self,
        places: Sequence[Place],
        records: Sequence[Place] | None = None,
        report: Callable[[str, CoffreError], None] = lambda _, __: None,
    ) -> None:
        self._places = list(places)
        self._records = list(places if records is None else records)
        self._first = self._places[0]
        self._report = report
        self._taken: dict[str, _Taken] = {}
        self._down: dict[str, Failed] = {}
        self._lock = threading.Lock()

    @property
    def read_from(self) -> tuple[ReadFrom, ...]:
        """What came from another place than the first, and why."""
        with self._lock:
            return tuple(
                ReadFrom(
                    place=name,
                    objects=len(taken.keys),
                    keys=tuple(sorted(taken.keys)[:_KEYS_KEPT]),
                    because=f"{taken.because.message.rstrip('.')} [{taken.because.code}]",
                )
                for name, taken in self._taken.items()
            )

    def checked[T](self, key: str, read: Callable[[Store], T]) -> T:
        """Return what `read` returns of the first place whose bytes it accepts.

        A place that refuses or does not answer is asked last from then on: each of its errors takes several attempts.

        Parameters
        ----------
        key
            The object that is read.
        read
            Reads it in a store, and checks it; may be called several times.

        Raises
        ------
        IntegrityError, StoreError, StoreTransientError
            No place has it. The error is that of the first choice; its notes say what was wrong with the others.
        """
        failed: dict[Place, Failed] = {}
        for place in self._in_order(self._places):
            try:
                found = read(place.store())
            except (IntegrityError, StoreError, StoreTransientError) as error:
                failed[place] = error
                self._demote(place, error)
                continue
            if place is not self._first:
                self._note(place, key, failed.get(self._first) or self._down[self._first.name])
            return found
        raise _of_all(self._first, failed)

    def put(self, key: str, body: Body, *, sha256: str, if_absent: bool = False) -> None:
        self._of_records(lambda store: store.put(key, body, sha256=sha256, if_absent=if_absent), writes=True)

    def get(self, key: str, *, limit_bytes: int = MAX_OBJECT_BYTES) -> bytes:
        return self._of_records(lambda store: store.get(key, limit_bytes=limit_bytes))

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        return self._of_records(lambda store: store.get_range(key, offset, length))

    def head(self, key: str) -> ObjectInfo:
        return self._of_records(lambda store: store.head(key))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield what the first place that answers has: its listing is not continued in another one."""
        first, rest = self._of_records(lambda store: _begun(store.list(prefix)))
        if first is not None:
            yield first
            yield from rest

    def delete(self, key: str) -> None:
        self._of_records(lambda store: store.delete(key), writes=True)

    def _of_records[T](self, use: Callable[[Store], T], *, writes: bool = False) -> T:
        failed: dict[Place, Failed] = {}
        for place in self._in_order(self._records):
            try:
                return use(place.store())
            except (StoreError, StoreTransientError) as error:
                if writes and error.code == "OBJECT_EXISTS":
                    raise
                failed[place] = error
                if not writes:  # who may not write may read
                    self._demote(place, error)
        raise _of_all(self._records[0], failed)

    def _in_order(self, places: Sequence[Place]) -> Sequence[Place]:
        with self._lock:
            return sorted(places, key=lambda place: place.name in self._down)

    def _demote(self, place: Place, error: Failed) -> None:
        """Ask a place last that refuses or does not answer. One that lacks an object is as good as before."""
        if isinstance(error, IntegrityError | ObjectMissingError):
            return
        with self._lock:
            is_new = self._down.setdefault(place.name, error) is error
        if is_new:
            self._report(place.name, error)

    def _note(self, place: Place, key: str, because: Failed) -> None:
        with self._lock:
            is_new = place.name not in self._taken
            self._taken.setdefault(place.name, _Taken(because)).keys.add(key)
            is_reported = self._first.name in self._down
        if is_new and not is_reported:
            self._report(self._first.name, because)


def _begun(found: Iterator[ObjectInfo]) -> tuple[ObjectInfo | None, Iterator[ObjectInfo]]:
    return next(found, None), found


def _of_all(first: Place, failed: dict[Place, Failed]) -> Failed:
    """Return the error of the first choice, with notes about the other places."""
    error = failed.pop(first) if first in failed else failed.pop(next(iter(failed)))
    if first.name != VAULT:
        error.add_note(f"It was read from {first.words} alone.")
    for place, other in failed.items():
        if str(other.message) not in str(getattr(error, "__notes__", "")):
            error.add_note(f"{place.words.capitalize()} cannot give it either: {other.message} [{other.code}]")
    return error
