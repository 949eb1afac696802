"""How the names of a bucket are divided among several functions: ranges that cover every name exactly once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from coffre.model.words import size, span
from coffre.policy.spread import Choice, Mode

# One function reads some 1,000 small objects a second, and some 60 MB: ranges of this size take it about a minute.
_MOST_OBJECTS: Final = 50_000
_MOST_BYTES: Final = 4 * 1024**3
_LEAST_OBJECTS: Final = 1000
_LEAST_BYTES: Final = 256 * 1024**2
# Fewer would leave workers idle while the last range is read.
_RANGES_A_WORKER: Final = 4
# Of what one function can do, a run that is expected to take more is spread from its beginning.
_SHARE_OF_THE_TIME: Final = 0.7


@dataclass(frozen=True)
class NameRange:
    """The names after `after` up to `end`, which belongs to it; None: all that follow. Names have no order but this."""

    after: str = ""
    end: str | None = None


@dataclass(frozen=True)
class Mark:
    """A name at which a range may end, and what was found since the mark before."""

    name: str
    objects: int
    size_bytes: int


@dataclass(frozen=True)
class PlannedRange:
    """A range for one function, and what was found in it when it was planned. `before` are the objects before it."""

    names: NameRange
    objects: int
    size_bytes: int
    before: int = 0


def marks_of(found: Iterable[tuple[str, int]], least_objects: int | None = None) -> Iterator[Mark]:
    """Yield marks among names with their sizes, which are in order: close enough to divide any bucket evenly."""
    least_objects = least_objects or _LEAST_OBJECTS
    last, objects, size_bytes = "", 0, 0
    for name, length in found:
        last, objects, size_bytes = name, objects + 1, size_bytes + length
        if objects >= least_objects or size_bytes >= _LEAST_BYTES:
            yield Mark(last, objects, size_bytes)
            objects = size_bytes = 0
    if objects:
        yield Mark(last, objects, size_bytes)


def divide(names: NameRange, marks: Sequence[Mark], width: int, least_objects: int | None = None) -> list[PlannedRange]:
    """Divide a range at marks of it, into about four ranges for each of `width` functions, none of them large.

    `least_objects` of a range; by default a thousand, or fewer that are large.
    """
    share = width * _RANGES_A_WORKER
    objects = min(max(sum(mark.objects for mark in marks) // share, least_objects or _LEAST_OBJECTS), _MOST_OBJECTS)
    size_bytes = min(max(sum(mark.size_bytes for mark in marks) // share, _LEAST_BYTES), _MOST_BYTES)
    ranges: list[PlannedRange] = []
    after, taken, taken_bytes = names.after, 0, 0
    for mark in marks:
        taken, taken_bytes = taken + mark.objects, taken_bytes + mark.size_bytes
        is_inside = after < mark.name and (names.end is None or mark.name < names.end)
        if is_inside and (taken >= objects or taken_bytes >= size_bytes):
            ranges.append(PlannedRange(NameRange(after, mark.name), taken, taken_bytes))
            after, taken, taken_bytes = mark.name, 0, 0
    ranges.append(PlannedRange(NameRange(after, names.end), taken, taken_bytes))
    return ranges


def cover(done: Iterable[tuple[int, NameRange]]) -> tuple[list[int], list[NameRange]]:
    """Choose, among numbered ranges that are done, some that have no name twice, and return what they leave.

    Where two begin at the same name, the newer one counts. A range that begins within another one is left out: a
    worker that was taken for dead can finish after its range was given to others.

    Returns
    -------
    tuple
        The numbers of the chosen ranges, in the order of the names, and the ranges that are not done.
    """
    chosen: list[int] = []
    rests: list[NameRange] = []
    covered: str | None = ""
    for number, names in sorted(done, key=lambda one: (one[1].after, -one[0])):
        if covered is None or names.after < covered or (names.end is not None and names.end <= names.after):
            continue
        if names.after > covered:
            rests.append(NameRange(covered, names.after))
        chosen.append(number)
        covered = names.end
    if covered is not None:
        rests.append(NameRange(covered, None))
    return chosen, rests


def choose_ranges(mode: Mode, earlier_seconds: float | None, objects: int, size_bytes: int, window: float) -> Choice:
    """Say whether a backup of buckets is spread from its beginning.

    What is not, and is not finished by its first invocation, is divided then: so `auto` needs no guess about a bucket
    that was never backed up.

    Parameters
    ----------
    earlier_seconds
        What the last backup of the target took, of all its functions together; None: there is none.
    objects, size_bytes
        In that backup.
    window
        How long the function can still run.
    """
    if mode != "auto":
        return Choice(mode == "always", f"limits.spread is {mode}.")
    if earlier_seconds is None:
        return Choice(False, "There is no earlier backup: the first function finds out how much it can do.")
    seen = f"The last backup ({objects:,} objects, {size(size_bytes)}) took {span(earlier_seconds)} of functions' time"
    if earlier_seconds > window * _SHARE_OF_THE_TIME:
        return Choice(True, f"{seen}; one function has {span(window)}.")
    return Choice(False, f"{seen}: it fits into one function.")
