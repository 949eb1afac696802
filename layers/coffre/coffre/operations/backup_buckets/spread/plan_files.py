"""The plan of a spread backup of buckets as files in the vault, each written once.

- `plan.json`, the header: what every step needs to know of the run. The state machine's input has its SHA-256.
- `ranges-NNNNNN.jsonl`, one for each round: a line for each range. The state machine maps over its lines, and passes
  only their numbers on; a worker compares the file with the SHA-256 that the step which wrote it has answered.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import TypeAdapter, ValidationError

from coffre.model.document import FrozenModel
from coffre.model.errors import StoreError
from coffre.operations.runs.plan_file import plan_changed, read_plan_file
from coffre.policy.ranges import PlannedRange
from coffre.stores.store import put_new
from coffre.vault.bucket_progress import EarlierRun
from coffre.vault.layout import plan_key, ranges_name, ranges_round
from coffre.vault.vault import Vault

_HEADER: Final = "plan.json"
_LIMIT_BYTES: Final = 256 * 1024 * 1024
# The numbers of the ranges of a round begin at its own number times this.
_NUMBERS_OF_A_ROUND: Final = 100_000


class RangesHeader(FrozenModel):
    """What every step of a run needs to know.

    `source` says what is backed up, and from where; `previous` is the id of the backup that this one is compared with;
    `width` functions work together. `why` says why it is spread, and `actor` asked for it. `range_objects` makes ranges
    smaller than time demands. `unfinished` are runs since then that did not finish, with the records that can be read
    of them, and `notes` say what of them cannot be used.
    """

    backup_id: str
    target: str
    source: str
    previous: str | None
    width: int
    why: str
    actor: str = "unknown"
    actor_verified: bool = False
    range_objects: int | None = None
    unfinished: tuple[EarlierRun, ...] = ()
    notes: tuple[str, ...] = ()


class RangeLine(FrozenModel):
    """One range of a round. `group` is its number; the record `begun` has objects that others have begun to read.

    `objects` and `size_bytes` are what was found when it was planned, a part of it or all; `before`, how many objects
    come before it.
    """

    group: int
    after: str
    end: str | None
    objects: int
    size_bytes: int
    begun: int | None = None
    before: int = 0


_LINES: Final = TypeAdapter(list[RangeLine])


@dataclass(frozen=True)
class StoredFile:
    """The key of a file of the plan, and its SHA-256."""

    key: str
    sha256: str


def write_header(vault: Vault, header: RangesHeader) -> StoredFile:
    """Store the header; raises what `put_new` raises."""
    key = plan_key(header.target, header.backup_id, _HEADER)
    return StoredFile(key, put_new(vault.store, key, header.model_dump_json().encode()))


def read_header(vault: Vault, target: str, backup_id: str, sha256: str) -> RangesHeader:
    """Return the header whose bytes have this SHA-256.

    Raises
    ------
    IntegrityError
        `PLAN_MISSING`, or `PLAN_CHANGED`: its bytes are not those that the run was started with.
    """
    key = plan_key(target, backup_id, _HEADER)
    try:
        header = RangesHeader.model_validate_json(_read(vault, key, sha256))
    except ValidationError as error:
        raise plan_changed(key) from error
    if (header.target, header.backup_id) != (target, backup_id):
        raise plan_changed(key)
    return header


def write_ranges(
    vault: Vault, header: RangesHeader, after_round: int, ranges: Sequence[tuple[PlannedRange, int | None]]
) -> StoredFile:
    """Store the ranges of the next round that has no file yet, each with the record that has begun objects of it."""
    for number in itertools.count(after_round + 1):
        lines = [
            RangeLine(
                group=number * _NUMBERS_OF_A_ROUND + place,
                after=one.names.after,
                end=one.names.end,
                objects=one.objects,
                size_bytes=one.size_bytes,
                begun=begun,
                before=one.before,
            )
            for place, (one, begun) in enumerate(ranges)
        ]
        body = b"".join(line.model_dump_json().encode() + b"\n" for line in lines)
        key = plan_key(header.target, header.backup_id, ranges_name(number))
        try:
            return StoredFile(key, put_new(vault.store, key, body))
        except StoreError as error:
            if error.code != "OBJECT_EXISTS":  # of an attempt that was killed before it could answer
                raise
    raise AssertionError


def read_ranges(vault: Vault, key: str, sha256: str) -> list[RangeLine]:
    """Return the ranges of a round; raises what `read_header` raises."""
    body = _read(vault, key, sha256)
    try:
        return _LINES.validate_json(b"[" + b",".join(body.splitlines()) + b"]")
    except ValidationError as error:
        raise plan_changed(key) from error


def round_of(key: str | None) -> int:
    """Return the number of the round whose ranges have this key; 0: there was none yet."""
    return 0 if key is None else ranges_round(key)


def _read(vault: Vault, key: str, sha256: str) -> bytes:
    return read_plan_file(key, lambda: vault.store.get(key, limit_bytes=_LIMIT_BYTES), sha256)
