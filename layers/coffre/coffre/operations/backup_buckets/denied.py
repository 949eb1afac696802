"""Whether nothing of a bucket may be read, when its first objects may not: a few in other places of it are tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from coffre.buckets.changes import SourceObject
from coffre.buckets.object_facts import Listed
from coffre.buckets.source import ObjectSource
from coffre.model.bucket_target import BucketTarget
from coffre.model.errors import CoffreError
from coffre.operations.backup_buckets.job import BucketBackupJob
from coffre.policy.object_keys import key_choice

DENIED: Final = frozenset({"STORE_DENIED", "KMS_UNUSABLE", "STORE_FAILED"})
"""Codes of objects that may not be read: by a policy, or for want of a key."""

_LOOKED_AT: Final = 10
_DEEPEST: Final = 3
_BEHIND_ALL: Final = "\U0010ffff"


def is_all_denied(job: BucketBackupJob, bucket: str, key: str) -> bool:
    """Tell whether what comes after a key may not be read either, as far as a few objects show it."""
    if not isinstance(job.target, BucketTarget):
        return True
    source = next(one for one in job.target.buckets if one.name == bucket)
    takes = key_choice(source.prefixes, source.include, source.exclude)
    try:
        return all(
            _is_denied(job.reader, bucket, found)
            for depth in range(min(_DEEPEST, key.count("/")) + 1)
            for found in _elsewhere(job.reader, bucket, key, depth, takes)
        )
    except CoffreError:
        return False  # it cannot be known now


def fails_alone(reader: ObjectSource, found: SourceObject, error: CoffreError) -> bool:
    """Tell whether a store that failed at an object, after several attempts, gives another one of its bucket."""
    if error.code != "STORE_UNAVAILABLE":
        return False
    bucket, key = found.bucket, found.listed.key
    try:
        others = [
            one for after in (key, None) for one in reader.page(bucket, "", after=after).objects if one.key != key
        ]
        return bool(others) and bool(reader.piece(bucket, others[0], 0))
    except CoffreError:
        return False


def _elsewhere(
    reader: ObjectSource, bucket: str, key: str, depth: int, takes: Callable[[str], bool]
) -> Iterator[Listed]:
    """Yield an object of each of the next folders of a depth, or (depth 0) of each of the next pages."""
    for _ in range(_LOOKED_AT):
        is_below = 0 < depth <= key.count("/")
        after = "/".join([*key.split("/")[:depth], _BEHIND_ALL]) if is_below else key
        found = [one for one in reader.page(bucket, "", after=after).objects if one.key > after and takes(one.key)]
        if not found:
            return
        yield found[0 if depth else -1]
        key = found[0 if depth else -1].key


def _is_denied(reader: ObjectSource, bucket: str, listed: Listed) -> bool:
    try:
        reader.piece(bucket, listed, 0)
    except CoffreError as error:
        if error.code in DENIED:
            return True
        raise
    return False
