"""What the store says of single objects, asked ahead of their turn by a few threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from coffre.model.errors import ObjectMissingError
from coffre.model.manifest import EntriesFile
from coffre.model.verification import Damage
from coffre.operations.verify.damages import pack_missing, pack_swapped, pack_truncated
from coffre.operations.verify.job import VerifyJob
from coffre.operations.verify.lock_check import LockCheck
from coffre.stores.store import ObjectInfo
from coffre.vault.pack_references import LivingPack

# A HEAD takes S3 about 20 ms: twelve in parallel check 100,000 packs in three minutes; the client has the connections.
_WORKERS: Final = 12

_UNDER_WAY: Final = 256


@dataclass
class _Unkept:
    """Objects without a checksum at the store. If it `keeps` those of others, these objects were overwritten."""

    keeps: bool = False
    packs: list[LivingPack] = field(default_factory=list)
    lists: list[tuple[str, EntriesFile]] = field(default_factory=list)


def confirmed(job: VerifyJob, suspects: Iterable[LivingPack]) -> Iterator[Damage]:
    """Check each pack that a listing lacks, or has with another length, by its name: listings may be behind."""
    for pack in suspects:
        if (damage := _ask(job, pack)[0]) is not None:
            yield damage


def _ask(job: VerifyJob, pack: LivingPack) -> tuple[Damage | None, ObjectInfo | None]:
    try:
        info = job.vault.store.head(pack.key)
    except ObjectMissingError:
        return pack_missing(pack.key), None
    if info.size != pack.length:
        return pack_truncated(pack.key, info.size, pack.length), info
    if info.sha256 not in (None, pack.sha256):
        return pack_swapped(pack.key), info
    return None, info


class Heads:
    """Asks the store about single packs, many in parallel, in bounded memory. Leaving waits for the answers."""

    def __init__(self, job: VerifyJob, locks: LockCheck | None) -> None:
        self._job = job
        self.locks = locks
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="head")
        self._under_way: deque[tuple[LivingPack, str, Future[tuple[Damage | None, ObjectInfo | None]]]] = deque()
        self.unkept = _Unkept()
        self.compared = 0
        self.not_kept = 0
        self.damages: list[Damage] = []

    def ask(self, pack: LivingPack, target: str) -> None:
        if len(self._under_way) >= _UNDER_WAY:
            self._take()
        self._under_way.append((pack, target, self._pool.submit(_ask, self._job, pack)))

    def _take(self) -> None:
        pack, target, asked = self._under_way.popleft()
        damage, info = asked.result()
        if info is not None and self.locks is not None:
            self.locks.look(pack.key, target, info.locked, pack.needed_until)
        if damage is not None:
            self.damages.append(damage)
        if info is not None and info.sha256 is not None:
            self.compared += 1
            self.unkept.keeps = True
        elif info is not None:
            self.not_kept += 1
            if damage is None:
                self.unkept.packs.append(pack)

    def __enter__(self) -> Heads:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            while kind is None and self._under_way:
                self._take()
        finally:
            self._pool.shutdown(cancel_futures=True)
