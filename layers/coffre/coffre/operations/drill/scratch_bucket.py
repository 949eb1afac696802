"""Where a drill puts objects for a while: below `scratch/<its id>/` in the vault's own bucket, next to the vault."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Final

from ulid import ULID

from coffre.buckets.writer import BucketWriter
from coffre.model.errors import CoffreError, DrillImpossibleError, StoreError
from coffre.model.manifest import ObjectFacts
from coffre.vault.layout import SCRATCH, drill_of

if TYPE_CHECKING:
    from coffre.operations.drill.findings import Found

# A function lives for 15 minutes: what is older is of a drill that died.
_DEAD_AFTER: Final = timedelta(days=1)
_MOST_LEFTOVERS: Final = 2000
_PROBE: Final = "probe"


@dataclass(frozen=True)
class ScratchPlace:
    """A bucket, and what all keys in it begin with: the vault's prefix with its slash, or nothing."""

    bucket: BucketWriter
    prefix: str = ""

    def folder(self, drill_id: str) -> str:
        """Return what the keys of one drill begin with."""
        return f"{self.prefix}{SCRATCH}{drill_id}/"


@contextmanager
def scratch_folder(place: ScratchPlace, drill_id: str, now: datetime, found: Found) -> Iterator[str]:
    """Make sure that a drill may write, and remove what it wrote in the end, and before that what dead drills left.

    Raises
    ------
    DrillImpossibleError
        `SCRATCH_DENIED`
    """
    folder = place.folder(drill_id)
    try:
        with found.phase("scratch folder"):
            _try_out(place.bucket, folder)
            _remove(place, _leftovers(place, now), found)
        yield folder
    finally:
        with found.phase("clean up"):
            _remove(place, (info.key for info in place.bucket.listing(folder)), found)


def _try_out(bucket: BucketWriter, folder: str) -> None:
    """Do once what a drill does with each object, so that a refusal is not taken for something else later."""
    facts = ObjectFacts(tags={"coffre": "drill"})
    key = folder + _PROBE
    try:
        bucket.put(key, b"", facts, sha256=hashlib.sha256(b"").hexdigest(), if_absent=False)
        bucket.read_back(key, facts)
        bucket.delete(key)
    except StoreError as error:
        if error.code != "STORE_DENIED":
            raise
        raise DrillImpossibleError(
            f"A drill may not write, read and delete objects below s3://{bucket.name}/{folder}",
            code="SCRATCH_DENIED",
            detail=error.message,
            hint="Nothing is known against the backup. The function's role needs s3:PutObject, s3:PutObjectTagging, "
            "s3:GetObject, s3:GetObjectTagging and s3:DeleteObject there: deploy the stack again, and look for a deny "
            "in the bucket's policy. Have the backup read back meanwhile: coffre verify --level read",
        ) from error


def _leftovers(place: ScratchPlace, now: datetime) -> Iterator[str]:
    base = place.prefix + SCRATCH
    for info in islice(place.bucket.listing(base), _MOST_LEFTOVERS):
        drill_id = drill_of(info.key.removeprefix(place.prefix))
        if drill_id is not None and ULID.from_str(drill_id).datetime < now - _DEAD_AFTER:
            yield info.key


def _remove(place: ScratchPlace, keys: Iterable[str], found: Found) -> None:
    """Delete; what cannot be deleted is left to the next drill, for what this one found must not be lost by it."""
    try:
        for key in list(keys):
            place.bucket.delete(key)
    except CoffreError as error:
        where = f"s3://{place.bucket.name}/{place.prefix}{SCRATCH}"
        found.except_for([f"Not all objects could be removed from {where}; a later drill tries again: {error.message}"])
