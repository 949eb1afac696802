"""The groups of tables of a drill, one after another, over as many invocations as they take.

A drill tries everything together first, as far as it fits the disk. A group that a whole invocation could not prove is
halved for the next one; a table that alone takes longer needs a machine without a time limit.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

from coffre.model.drill_report import DrillState
from coffre.model.manifest import DatabaseContent, TableContent
from coffre.operations.drill.findings import Found
from coffre.operations.drill.restorable_subset import estimated_bytes, groups_of
from coffre.operations.runs.heartbeat import DEADLINE_RESERVE_SECONDS

# A day of invocations of a quarter of an hour: a drill that needs longer will not end.
MOST_INVOCATIONS: Final = 96
# Groups differ in what their indexes take, and an invocation has to start the next one.
_TIME_FACTOR: Final = 1.3
_RESERVE_SECONDS: Final = 2 * DEADLINE_RESERVE_SECONDS


@dataclass
class Course:
    """Which groups are proven, and which wait.

    Parameters
    ----------
    state
        Of the drill at the end of the invocation before; of the first one nothing but the ids.
    is_whole
        All tables are one group: what needs several tables can be checked.
    is_proving
        All groups are done: what is left is the proof of the journal.
    has_compared
        This invocation has done a part of that.
    """

    state: DrillState
    is_whole: bool = False
    is_proving: bool = False
    has_compared: bool = False
    waiting: deque[list[TableContent]] = field(default_factory=deque)
    done: list[list[TableContent]] = field(default_factory=list)
    _current: list[TableContent] = field(default_factory=list)
    _has_proven: bool = False
    _seconds: float = 0.0
    _size_bytes: int = 0

    @property
    def continues(self) -> bool:
        """Whether earlier invocations have done a part of it."""
        return self.state.invocation > 1

    def plan(self, content: DatabaseContent, room_bytes: float, found: Found) -> None:
        """Divide the tables into groups, or take up the groups and findings of the invocation before."""
        if not self.continues:
            self.waiting.extend(groups_of(content, room_bytes))
            self.is_whole = len(self.waiting) == 1 and not found.unreadable
        else:
            tables = {table.oid: table for table in content.tables}
            self.waiting.extend([tables[oid] for oid in group] for group in self.state.waiting)
            self.done = [[tables[oid] for oid in group] for group in self.state.done]
            self._seconds, self._size_bytes = self.state.seconds, self.state.size_bytes
            self.is_whole = self.state.is_whole
            found.load(self.state.findings)
        self.keep(found)

    def has_time(self, remaining_seconds: float) -> bool:
        """Return whether the next group will end in time, by the rate of those before; the first one is tried."""
        if not self._has_proven:
            return True
        return self.fits(self.waiting[0], remaining_seconds)

    def fits(self, tables: Iterable[TableContent], remaining_seconds: float) -> bool:
        """Return whether these tables can be restored in time, by the rate of the groups that are done."""
        return sum(map(estimated_bytes, tables)) <= self.bytes_in(remaining_seconds)

    def bytes_in(self, remaining_seconds: float) -> float:
        """Return how much can be restored in time, by the rate of the groups that are done."""
        rate = self._size_bytes / max(self._seconds, 0.001)
        return rate * (remaining_seconds - _RESERVE_SECONDS) / _TIME_FACTOR

    def begin_proof(self, found: Found) -> None:
        """Say that all groups are done, and keep what was found."""
        self.is_proving = True
        self.keep(found)

    @property
    def is_of_proof(self) -> bool:
        """Whether this invocation does nothing but the proof of the journal."""
        return self.continues and not self.state.waiting

    @property
    def may_continue_proof(self) -> bool:
        """Whether another invocation can do more of the proof of the journal."""
        return (not self.is_of_proof or self.has_compared) and self.state.invocation < MOST_INVOCATIONS

    def proven(self, found: Found) -> None:
        """Keep what the proof of the journal has found so far."""
        self.has_compared = True
        self.keep(found)

    @contextmanager
    def group(self, found: Found) -> Iterator[list[TableContent]]:
        """Give the next group; when the block ends without an error, it is proven, and its findings are kept."""
        self._current, began = self.waiting.popleft(), time.monotonic()
        proven = len(self.done)
        yield self._current
        if len(self.done) > proven:
            self._seconds += time.monotonic() - began
            self._size_bytes += sum(map(estimated_bytes, self._current))
            self._has_proven = True
            self.keep(found)
        self._current = []

    def halve(self) -> None:
        """Put the group that is being worked on back, in two halves."""
        self.waiting.extendleft(reversed(halves(self._current)))
        self.is_whole = False

    def left(self) -> DrillState:
        """Return the drill for the next invocation, which takes up the groups that wait."""
        return self.state.model_copy(
            update={
                "invocation": self.state.invocation + 1,
                "waiting": _oids(self.waiting),
                "done": _oids(self.done),
                "seconds": self._seconds,
                "size_bytes": self._size_bytes,
                "is_whole": self.is_whole and not self.waiting,
            }
        )

    def after_deadline(self) -> DrillState | None:
        """Return the drill for the next invocation when time ran out in a group; None: it would be no better there."""
        if self.is_proving:
            return self.left() if self.may_continue_proof else None
        is_last = self.state.invocation >= MOST_INVOCATIONS
        if not self._current or is_last or (not self._has_proven and len(self._current) == 1):
            return None
        if self._has_proven:
            self.waiting.appendleft(self._current)
        else:
            self.halve()
        self.done = [group for group in self.done if group is not self._current]
        return self.left()

    def keep(self, found: Found) -> None:
        """Keep what was found for the next invocation."""
        self.state = self.state.model_copy(update={"findings": found.saved()})


def halves(group: Sequence[TableContent]) -> list[list[TableContent]]:
    """Divide several tables into two groups, in their order, so that both take about the same."""
    sizes = list(accumulate(map(estimated_bytes, group)))
    place = min(range(1, len(group)), key=lambda end: abs(2 * sizes[end - 1] - sizes[-1]))
    return [list(group[:place]), list(group[place:])]


def _oids(groups: Sequence[list[TableContent]] | deque[list[TableContent]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(table.oid for table in group) for group in groups)
