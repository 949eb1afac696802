"""Whether a backup of a database is spread over several functions, and how it is cut into groups of parts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from coffre.model.words import size, span
from coffre.policy.slicing import LARGEST_PART_BYTES, Part

type Mode = Literal["auto", "never", "always"]

# Even the slowest disks that providers sell read this much before the time is over.
_ALWAYS_FITS_BYTES: Final = 1024**3
# A backup of less says little about a rate: connecting and planning took most of its time.
_TELLING_BYTES: Final = 256 * 1024**2
# Before a first backup. A function that reads rows over one connection was seen to read 10.5 GB in 891 s.
_CAUTIOUS_BYTES_PER_SECOND: Final = 10_000_000
# The rate of a run varies, and planning, sealing and the reserve of the deadline take their time.
_SHARE_OF_THE_TIME: Final = 0.7
# A third of what a function lives: a group that is three times as slow as expected still ends.
_GROUP_SECONDS: Final = 300
# Fewer would leave workers idle while the last group is read. One worker alone needs no balance.
_GROUPS_A_WORKER: Final = 3
# Below this, a second group costs a worker more (connections, the snapshot) than balance gains.
_SMALLEST_GROUP_BYTES: Final = 100_000_000
# At the end of a group, streams wait for the last part: half of one, on average.
_PARTS_A_STREAM: Final = 8
_SMALLEST_PART_BYTES: Final = 8 * 1024**2
# Without limits.streams: what four workers of four streams need.
MOST_CONNECTIONS: Final = 16


@dataclass(frozen=True)
class Read:
    """What an earlier backup of the target read: bytes of plaintext, and the seconds and functions that it took."""

    size_bytes: int
    seconds: float
    workers: int = 1


@dataclass(frozen=True)
class Earlier:
    """What is known of earlier runs of the target: the newest complete ones, and whether the last ran out of time."""

    read: tuple[Read, ...] = ()
    ran_out_of_time: bool = False

    @property
    def bytes_per_second(self) -> float:
        """What one function reads in a second: of the slowest of them, or a cautious guess."""
        rates = [
            one.size_bytes / one.seconds / one.workers
            for one in self.read
            if one.size_bytes >= _TELLING_BYTES and one.seconds > 0
        ]
        return min(rates, default=_CAUTIOUS_BYTES_PER_SECOND)


@dataclass(frozen=True)
class Choice:
    """Whether a backup is spread, and why, for a person."""

    is_spread: bool
    why: str


@dataclass(frozen=True)
class Shape:
    """How the work is divided: `width` functions of `streams` connections, groups and parts of about these sizes."""

    width: int
    streams: int
    group_bytes: int
    part_bytes: int


def choose(mode: Mode, total_bytes: int, earlier: Earlier, window_seconds: float) -> Choice:
    """Say whether a backup is spread.

    Parameters
    ----------
    total_bytes
        Of the tables, with their TOAST.
    window_seconds
        How long the function can still run.
    """
    if mode != "auto":
        return Choice(mode == "always", f"limits.spread is {mode}.")
    if total_bytes <= _ALWAYS_FITS_BYTES:
        return Choice(False, f"{size(total_bytes)} fit into one function.")
    seconds = total_bytes / earlier.bytes_per_second
    rate = f"{size(total_bytes)} at {size(earlier.bytes_per_second)} a second take about {span(seconds)}"
    if earlier.ran_out_of_time:
        return Choice(True, f"The last run did not end within one function's time ({rate}).")
    if seconds > window_seconds * _SHARE_OF_THE_TIME:
        return Choice(True, f"{rate}; one function has {span(window_seconds)}.")
    return Choice(False, f"{rate}: they fit into one function.")


def shape(
    total_bytes: int, earlier: Earlier, *, streams: int, connections: int, group_bytes: int | None = None
) -> Shape:
    """Divide the work among functions.

    Parameters
    ----------
    streams
        Connections of one function.
    connections
        Of all functions together: what the configuration and the server have room for.
    group_bytes
        A smaller limit for groups than their time sets.
    """
    streams = min(streams, connections)
    width = max(1, connections // streams)
    of_time = max(1, int(earlier.bytes_per_second * _GROUP_SECONDS))
    of_balance = _GROUPS_A_WORKER if width > 1 else 1
    rounds = max(
        1, min(of_balance, total_bytes // (width * _SMALLEST_GROUP_BYTES)), -(-total_bytes // (width * of_time))
    )
    group = max(1, min(total_bytes // (width * rounds), group_bytes or of_time))
    part = max(1, min(group // (streams * _PARTS_A_STREAM), LARGEST_PART_BYTES))
    return Shape(width, streams, group, part if group_bytes else max(part, _SMALLEST_PART_BYTES))


def grouped(parts: Iterable[Part], group_bytes: int) -> list[Sequence[Part]]:
    """Divide parts, in their order, into groups of about this size.

    All are alike, since a small last one would leave workers idle: larger than that by a half, and a part, at most.
    """
    parts = list(parts)
    total = sum(part.size_bytes for part in parts)
    number = max(1, round(total / group_bytes))
    groups: dict[int, list[Part]] = {}
    before = 0
    for part in parts:
        middle = before + part.size_bytes / 2
        groups.setdefault(min(number - 1, int(number * middle / total)) if total else 0, []).append(part)
        before += part.size_bytes
    return list(groups.values())
