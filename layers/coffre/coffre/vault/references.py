"""The packs that living manifests name, sorted by key, in bounded memory: what no manifest names can go."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
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
    """A pack that at least one manifest names. `live_bytes` is what the one that uses most of it uses."""

    key: str
    length: int
    live_bytes: int
    sha256: str


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

    def add(self, packs: Iterable[PackReference]) -> None:
        """Take what one manifest names; what has no pack's key is nothing that could be removed."""
        for pack in packs:
            if writer_of(pack.key) is None:
                continue
            known = self._gathered.get(pack.key)
            live_bytes = max(pack.live_bytes, known.live_bytes if known else 0)
            self._gathered[pack.key] = LivingPack(pack.key, pack.length, live_bytes, pack.sha256)
            if len(self._gathered) >= self._limit:
                self._spill()

    def in_order(self) -> Iterator[LivingPack]:
        """Yield each pack once, sorted by key."""
        runs = [_read(run) for run in self._runs]
        rest = iter(sorted(self._gathered.values(), key=attrgetter("key")))
        for _, same in groupby(heapq.merge(*runs, rest, key=attrgetter("key")), key=attrgetter("key")):
            yield max(same, key=attrgetter("live_bytes"))

    def _spill(self) -> None:
        run = self._scratch / f"references-{len(self._runs):06d}"
        with run.open("w") as file:
            for pack in sorted(self._gathered.values(), key=attrgetter("key")):
                file.write(f"{pack.length} {pack.live_bytes} {pack.sha256} {pack.key}\n")
        self._runs.append(run)
        self._gathered = {}


def _read(run: Path) -> Iterator[LivingPack]:
    with run.open() as lines:
        for line in lines:
            length, live_bytes, sha256, key = line.rstrip("\n").split(" ", 3)
            yield LivingPack(key, int(length), int(live_bytes), sha256)
