"""The packs that living manifests name, sorted by key, in bounded memory: what no manifest names can go."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import reduce
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Final

from coffre.model.manifest import PackReference
from coffre.vault.layout import writer_of

# About 0.4 KB each: 20 MB. A vault of 1 TB in full packs has 65,000 packs.
_IN_MEMORY: Final = 50_000


@dataclass(frozen=True, slots=True)
class LivingPack:
    """A pack that at least one manifest names. `live_bytes` is what the one that uses most of it uses.

    `needed_until` is the latest time until which a backup needs its lock.
    """

    key: str
    length: int
    live_bytes: int
    sha256: str
    needed_until: datetime | None = None


class References:
    """Gathers what manifests name; goes through files, so that neither their number nor that of packs is limited.

    Parameters
    ----------
    scratch
        Where sorted runs are put: about 0.2 KB for each different pack of every 50,000.
    """

    def __init__(self, scratch: Path, *, in_memory: int = _IN_MEMORY) -> None:
        self._scratch = scratch
        self._limit = in_memory
        self._gathered: dict[str, LivingPack] = {}
        self._runs: list[Path] = []

    def add(self, packs: Iterable[PackReference], needed_until: datetime | None = None) -> None:
        """Take what one manifest names; what has no pack's key is nothing that could be removed."""
        for pack in packs:
            if writer_of(pack.key) is None:
                continue
            known = self._gathered.get(pack.key)
            live_bytes = max(pack.live_bytes, known.live_bytes if known else 0)
            until = _later(needed_until, known.needed_until if known else None)
            self._gathered[pack.key] = LivingPack(pack.key, pack.length, live_bytes, pack.sha256, until)
            if len(self._gathered) >= self._limit:
                self._spill()

    def in_order(self) -> Iterator[LivingPack]:
        """Yield each pack once, sorted by key."""
        runs = [_read(run) for run in self._runs]
        rest = iter(sorted(self._gathered.values(), key=attrgetter("key")))
        for _, same in groupby(heapq.merge(*runs, rest, key=attrgetter("key")), key=attrgetter("key")):
            yield reduce(_merged, same)

    def _spill(self) -> None:
        run = self._scratch / f"references-{len(self._runs):06d}"
        with run.open("w") as file:
            for pack in sorted(self._gathered.values(), key=attrgetter("key")):
                until = int(pack.needed_until.timestamp()) if pack.needed_until else 0
                file.write(f"{pack.length} {pack.live_bytes} {pack.sha256} {until} {pack.key}\n")
        self._runs.append(run)
        self._gathered = {}


def _read(run: Path) -> Iterator[LivingPack]:
    with run.open() as lines:
        for line in lines:
            length, live_bytes, sha256, until, key = line.rstrip("\n").split(" ", 4)
            needed_until = datetime.fromtimestamp(int(until), UTC) if int(until) else None
            yield LivingPack(key, int(length), int(live_bytes), sha256, needed_until)


def _merged(one: LivingPack, other: LivingPack) -> LivingPack:
    most = max(one, other, key=attrgetter("live_bytes"))
    return replace(most, needed_until=_later(one.needed_until, other.needed_until))


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max((time for time in (one, other) if time is not None), default=None)
