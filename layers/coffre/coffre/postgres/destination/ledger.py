"""What could not be made of an archive, and what was made otherwise than the backup has it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from coffre.postgres.archive.reader import TocEntry
from coffre.postgres.destination.reduced_tables import LackingPart

_WITH_ROWS: Final = frozenset({"TABLE", "MATERIALIZED VIEW"})


@dataclass
class Refusal:
    """An entry that was not made, why in one sentence without its full stop, and what was not made because of it."""

    entry: TocEntry
    reason: str
    sqlstate: str | None = None
    needing: list[TocEntry] = field(default_factory=list)


class Ledger:
    """What could not be made so far, and what was made otherwise than the backup has it. Threads share it.

    With `reduces_tables`, a table is made without the parts that cannot be made: what is lost does not cost its rows.
    """

    def __init__(self, *, reduces_tables: bool = True) -> None:
        self._reduces_tables = reduces_tables
        self._lock = threading.Lock()
        self._lost: dict[int, Refusal] = {}
        self._postponed: dict[int, TocEntry] = {}
        self.refusals: list[Refusal] = []
        self.not_valid: list[Refusal] = []
        self.owners_refused: list[Refusal] = []
        self.other_paths: list[tuple[TocEntry, str]] = []
        self.access_methods: set[str] = set()
        self.lacking: list[LackingPart] = []
        self.options: list[tuple[TocEntry, str]] = []
        self.made: set[int] = set()
        self.lack_create: set[tuple[str, str]] = set()  # schemas, and owners that may not create anything in them

    def refuse(self, entry: TocEntry, reason: str, sqlstate: str | None = None) -> None:
        """Record that an entry could not be made: from now on what needs it is lost too."""
        with self._lock:
            refusal = Refusal(entry, reason, sqlstate)
            self.refusals.append(refusal)
            self._lost[entry.dump_id] = refusal

    def is_lost(self, entry: TocEntry) -> bool:
        """Whether an entry was refused or needs one that was, which is recorded."""
        with self._lock:
            return entry.dump_id in self._lost or self._follows(entry, self._is_needed)

    def lose_with_needed(self, entry: TocEntry) -> bool:
        """Record that a refused entry is lost because one that it needs is; False where it needs none that is lost."""
        with self._lock:
            return self._follows(entry, self._is_used)

    def _follows(self, entry: TocEntry, is_needed: Callable[[TocEntry, int], bool]) -> bool:
        refusal = next((self._lost[needed] for needed in entry.dependencies if is_needed(entry, needed)), None)
        if refusal is not None:
            refusal.needing.append(entry)
            self._lost[entry.dump_id] = refusal
        return refusal is not None

    def _is_needed(self, entry: TocEntry, other: int) -> bool:
        """Whether something that is lost is really needed: a table can be made with fewer parts."""
        is_reducible = self._reduces_tables and entry.description == "TABLE"
        return self._is_used(entry, other) and not (is_reducible and self._lost[other].entry.description != "SCHEMA")

    def _is_used(self, entry: TocEntry, other: int) -> bool:
        """Whether an entry uses something that is lost: a table can have another access method."""
        lost = self._lost.get(other)
        return lost is not None and not (lost.entry.description == "ACCESS METHOD" and entry.description in _WITH_ROWS)

    def add_lacking(self, entry: TocEntry, parts: Iterable[LackingPart]) -> None:
        """Record what a table was made without: where what it needs was refused, that is the reason's SQLSTATE."""
        with self._lock:
            states = {self._lost[needed].sqlstate for needed in entry.dependencies if needed in self._lost}
            for part in parts:
                state = next(iter(states)) if len(states) == 1 else part.sqlstate
                self.lacking.append(replace(part, sqlstate=state))

    def lost(self) -> frozenset[int]:
        """Return the dump ids of all that was not made."""
        with self._lock:
            return frozenset(self._lost)

    def state(self) -> dict[str, Any]:
        """Return all of it but what is postponed, as JSON: entries by their dump ids."""
        with self._lock:
            numbers = {id(refusal): number for number, refusal in enumerate(self.refusals)}
            return {
                "refusals": [_said(refusal) for refusal in self.refusals],
                "lost": {str(key): numbers[id(refusal)] for key, refusal in self._lost.items()},
                "not_valid": [_said(refusal) for refusal in self.not_valid],
                "owners_refused": [_said(refusal) for refusal in self.owners_refused],
                "other_paths": [[entry.dump_id, path] for entry, path in self.other_paths],
                "options": [[entry.dump_id, option] for entry, option in self.options],
                "access_methods": sorted(self.access_methods),
                "lack_create": sorted(self.lack_create),
                "lacking": [[one.entry.dump_id, one.what, one.reason, one.sql, one.sqlstate] for one in self.lacking],
                "made": sorted(self.made),
            }

    def take_up(self, state: Mapping[str, Any], by_id: Mapping[int, TocEntry]) -> None:
        """Become what `state` has returned."""

        def refusals(name: str) -> list[Refusal]:
            return [
                Refusal(by_id[one], reason, code, [by_id[need] for need in needing])
                for one, reason, code, needing in state[name]
            ]

        with self._lock:
            self.refusals = refusals("refusals")
            self._lost = {int(key): self.refusals[number] for key, number in state["lost"].items()}
            self.not_valid, self.owners_refused = refusals("not_valid"), refusals("owners_refused")
            self.other_paths = [(by_id[one], path) for one, path in state["other_paths"]]
            self.options = [(by_id[one], option) for one, option in state["options"]]
            self.access_methods = set(state["access_methods"])
            self.lack_create = {(schema, owner) for schema, owner in state["lack_create"]}
            self.lacking = [LackingPart(by_id[one], *rest) for one, *rest in state["lacking"]]
            self.made = set(state["made"])

    def postpone(self, entry: TocEntry) -> None:
        """Record that an entry is to be tried again when nothing else runs."""
        with self._lock:
            self._postponed[entry.dump_id] = entry

    def is_postponed(self, entry: TocEntry) -> bool:
        """Whether an entry, or one that it needs, is to be tried again later."""
        with self._lock:
            if entry.dump_id in self._postponed:
                return True
            if any(needed in self._postponed for needed in entry.dependencies):
                self._postponed[entry.dump_id] = entry
                return True
            return False

    def take_postponed(self) -> list[TocEntry]:
        """Return what is to be tried again, and forget it."""
        with self._lock:
            entries, self._postponed = list(self._postponed.values()), {}
            return entries


def _said(refusal: Refusal) -> list[Any]:
    needing = [entry.dump_id for entry in refusal.needing]
    return [refusal.entry.dump_id, refusal.reason, refusal.sqlstate, needing]
