"""What a journal costs, without what it stores: a month as counted, or as expected before it is switched on."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from coffre.model.journal_options import JournalOptions
from coffre.model.usage import Job, Usage
from coffre.policy.cost import Cost, MonthCost, cost_of
from coffre.policy.prices import Prices

_MINUTES_OF_A_DAY: Final = 24 * 60
_MINUTES: Final = 30 * _MINUTES_OF_A_DAY
_GUARDS_A_DAY: Final = 24
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


def journal_months(found: MonthCost) -> dict[str, Decimal]:
    """Return what the journal of each target costs in a whole month if it continues as in this one."""
    if not found.elapsed:
        return {}
    drained = [(one.name, one.journal_cost.total) for one in found.targets if one.journal_cost.total]
    return {name: cost / found.elapsed for name, cost in drained if name is not None}


def connections_a_day(options: JournalOptions) -> int:
    """Return how often a journal connects to its server in a day: one session for a drain, and one an hour to guard."""
    return _MINUTES_OF_A_DAY // options.every_minutes + _GUARDS_A_DAY
