"""The ids of runs, which begin with their time: the range of ids between two times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from pynamodb.expressions.condition import Condition
from ulid import ULID

from coffre.catalog.run_items import RunItem

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_LAST_MILLISECOND: Final = 2**48 - 1  # A ULID has 48 bits of time.


def id_range(since: datetime | None, until: datetime | None, before: str | None = None) -> Condition | None:
    """Return the condition on ids (ULIDs) made at or after `since` and before `until`, to the millisecond.

    `before` is an id: only those below it.
    """
    if since is None and until is None and before is None:
        return None
    first = 0 if since is None else _milliseconds(since)
    last = _LAST_MILLISECOND if until is None else _milliseconds(until) - 1
    lowest, highest = _ulid(first, b"\x00"), _ulid(last, b"\xff") if last >= 0 else ""
    if before is not None:
        highest = min(highest, _before(before))
    if lowest > highest:  # DynamoDB refuses a reversed BETWEEN; no id is below the first ULID.
        return RunItem.sk < _ulid(0, b"\x00")
    return RunItem.sk.between(lowest, highest)


def _before(run_id: str) -> str:
    number = int.from_bytes(ULID.from_str(run_id).bytes)
    return str(ULID.from_bytes((number - 1).to_bytes(16))) if number else ""


def _milliseconds(time: datetime) -> int:
    return max(0, -((_EPOCH - time) // timedelta(milliseconds=1)))


def _ulid(milliseconds: int, filler: bytes) -> str:
    return str(ULID.from_bytes(milliseconds.to_bytes(6) + filler * 10))
