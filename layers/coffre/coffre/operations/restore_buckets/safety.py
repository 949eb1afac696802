"""Which objects in use a restore overwrites, and whether a backup holds them (docs/adr/0021)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from coffre.buckets.writer import BucketWriter
from coffre.model.bucket_target import BucketSource, BucketTarget, ObjectStore
from coffre.model.kinds import TargetKind
from coffre.model.manifest import BucketSummary, Manifest
from coffre.model.safety import Safety
from coffre.model.storage import StorageScope
from coffre.operations.restore_buckets.destination_map import DestinationMap
from coffre.operations.runs.safety import (
    Lacking,
    SafetyRecords,
    decide,
    declined,
    impossible,
    not_needed,
    require,
)

_AWS: Final = ".amazonaws.com"
_PORTS: Final = {"https": 443, "http": 80}


@dataclass(frozen=True)
class Stake:
    """Keys of one bucket that a restore may overwrite or delete: `base` and what a backup took of `source`.

    `start` is what all of them begin with.
    """

    source: BucketSummary
    bucket: str
    base: str
    start: str

    @property
    def shown(self) -> str:
        """The place, for messages."""
        return f"{self.bucket}/{self.start}"

    def is_in(self, taken: BucketSource | BucketSummary) -> bool:
        """Return whether all of it is among what a backup takes of a bucket, as far as patterns can be compared."""
        if taken.name != self.bucket:
            return False
        if taken.prefixes and not all(start.startswith(taken.prefixes) for start in self._starts()):
            return False
        include, exclude = (self.source.include, self.source.exclude) if not self.base else ((), ())
        return (not taken.include or taken.include == include) and set(taken.exclude) <= set(exclude)

    def _starts(self) -> list[str]:
        chosen = self.start.removeprefix(self.base)
        starts = [max(prefix, chosen, key=len) for prefix in self.source.prefixes or ("",)]
        return [f"{self.base}{start}" for start in starts if start.startswith(chosen)]


def stakes_of(manifest: Manifest, scope: StorageScope) -> list[Stake]:
    """Return what a restore of a backup may overwrite or delete."""
    places = DestinationMap(manifest, scope, _opens_nothing)
    stakes = []
    for source in places.sources:
        bucket, start = places.place(source.name, scope.prefix)
        stakes.append(Stake(source, bucket, start.removesuffix(scope.prefix), start))
    return stakes


def safety_of_buckets(
    manifest: Manifest,
    scope: StorageScope,
    store: ObjectStore,
    open_bucket: Callable[[str], BucketWriter],
    targets: Sequence[BucketTarget],
    records: SafetyRecords | None,
) -> Safety | None:
    """Say which backup holds what a restore overwrites or deletes; None when it does neither.

    Parameters
    ----------
    store
        The destination's.
    targets
        All configured ones, the backup's own first.
    records
        None: there is no stack that could take a backup.

    Raises
    ------
    DestinationError
        `SAFETY_NEEDED` or `SAFETY_IMPOSSIBLE`; a dry run reports these as a state.
    """
    if not scope.touches:
        return None
    stakes = [stake for stake in stakes_of(manifest, scope) if is_in_use(open_bucket(stake.bucket), stake)]
    safety = _safety_of(scope, stakes, store, targets, records)
    if not scope.dry_run:
        require(safety, TargetKind.BUCKET)
    return safety


def _safety_of(
    scope: StorageScope,
    stakes: Sequence[Stake],
    store: ObjectStore,
    targets: Sequence[BucketTarget],
    records: SafetyRecords | None,
) -> Safety:
    place = ", ".join(stake.shown for stake in stakes[:3])
    if not stakes:
        return not_needed("the destination")
    if scope.no_safety:
        return declined(place)
    if records is None:
        return impossible(place, "without a stack no function can do that")
    there = [target for target in targets if is_same_store(target.store, store)]
    target = next((one for one in there if not _uncovered(stakes, one.buckets)), None)
    if target is None:
        return impossible(place, _why_not(stakes, there))
    return decide(records, target, _lacking(stakes), place=place, is_essential=True, is_trial=scope.dry_run)


def is_same_store(one: ObjectStore, other: ObjectStore) -> bool:
    """Return whether two addresses are of the same object store. All of AWS is one: names of buckets are unique."""
    return _address(one) == _address(other)


def _address(store: ObjectStore) -> tuple[str, int, str] | None:
    if store.endpoint is None:
        return None
    parts = urlsplit(store.endpoint)
    host = (parts.hostname or "").removesuffix(".")
    if host.endswith((_AWS, f"{_AWS}.cn")):
        return None
    return host, parts.port or _PORTS.get(parts.scheme, 0), parts.path.rstrip("/")


def _why_not(stakes: Sequence[Stake], there: Sequence[BucketTarget]) -> str:
    names = {stake.bucket for stake in stakes}
    near = [one.name for one in there if names & {bucket.name for bucket in one.buckets}]
    if near:
        return f"the configuration of {near[0]} leaves some of it out"
    return "it is no target of Coffre"


def _uncovered(stakes: Iterable[Stake], taken: Sequence[BucketSource] | Sequence[BucketSummary]) -> list[Stake]:
    return [stake for stake in stakes if not any(stake.is_in(one) for one in taken)]


def _lacking(stakes: Sequence[Stake]) -> Lacking:
    return lambda manifest: tuple(stake.shown for stake in _uncovered(stakes, manifest.storage.buckets))


def is_in_use(bucket: BucketWriter, stake: Stake) -> bool:
    """Return whether any object exists there."""
    return next(iter(bucket.listing(stake.start)), None) is not None


def _opens_nothing(name: str) -> BucketWriter:
    raise AssertionError(name)
