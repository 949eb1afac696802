"""What a journal is expected to cost, before it is switched on: a month of drains, without what they store."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from coffre.model.journal_options import JournalOptions
from coffre.model.usage import Job, Usage
from coffre.policy.cost import Cost, cost_of
from coffre.policy.prices import Prices

_MINUTES: Final = 30 * 24 * 60
# Assumed of each drain: the function's default memory for a second; a pack and a record; the state of the slot's end.
_MEMORY_MB: Final = 3_538
_DRAIN_MS: Final = 1_000
_WRITES: Final = 2
_READS: Final = 2
# Of the tick of each minute, which all journals of a stack share.
_TICK_MS: Final = 100
ASSUMED: Final = f"{_MEMORY_MB:,} MB for a second, {_WRITES} writes and {_READS} reads a drain"


def expected_month(options: JournalOptions, prices: Prices) -> Cost:
    """Return what a month costs if a stack has one journal."""
    drains = _MINUTES // options.every_minutes
    used = Usage(
        id="",
        job=Job.JOURNAL,
        at=datetime.fromtimestamp(0, UTC),
        invocations=drains + _MINUTES,
        function_mb_ms=_MEMORY_MB * (drains * _DRAIN_MS + _MINUTES * _TICK_MS),
        vault_writes=drains * _WRITES,
        vault_reads=drains * _READS,
    )
    return cost_of(used, prices)
