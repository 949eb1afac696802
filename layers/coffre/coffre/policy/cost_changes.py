"""What a change of frequency, retention or copies would cost a month: upper bounds, from what the month has shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from coffre.policy.cost import MonthCost, TargetCost
from coffre.policy.prices import GB, Prices

EVERY_HOURS: Final[Mapping[str, float]] = {"hourly": 1, "every 6 hours": 6, "daily": 24, "weekly": 168}
_RETENTIONS: Final = {"retention twice as long": Decimal(2), "retention half as long": Decimal("0.5")}
_PACK_BYTES: Final = 16 * 2**20
_HOUR: Final = 3_600


@dataclass(frozen=True)
class Change:
    """What a month would cost with a change, and how much more (or, negative, less) that is. US dollars."""

    name: str
    month: Decimal
    difference: Decimal


def changes(month: MonthCost, prices: Prices, every_hours: Mapping[str, float] = EVERY_HOURS) -> tuple[Change, ...]:
    """Return what each change would cost; those of the frequency only when the month has a backup.

    `every_hours` has the frequencies by name. Each backup is taken to add as many new bytes as those before, however
    often it runs, and all of them to be kept as now: it is less when the same changes are only found sooner.
    """
    found = []
    if any(one.backups for one in month.targets):
        found += [(f"backups {name}", _every(month, hours, prices)) for name, hours in every_hours.items()]
    found += [(name, _retention(month, factor, prices)) for name, factor in _RETENTIONS.items()]
    found.append(("another copy in another region", _copy(month, prices)))
    return tuple(Change(name, month.whole_month + more, more) for name, more in found)


def _every(month: MonthCost, hours: float, prices: Prices) -> Decimal:
    whole = Decimal(str((month.ends - month.since).total_seconds())) / _HOUR / Decimal(str(hours))
    more = Decimal(0)
    for one in month.targets:
        if one.backups:
            now = one.backups / month.elapsed
            of_a_run = one.run_cost.total / one.backups
            more += (whole - now) * of_a_run + _grown(one, whole / now - 1, prices)
    return more


def _retention(month: MonthCost, factor: Decimal, prices: Prices) -> Decimal:
    return sum((_grown(one, factor - 1, prices) for one in month.targets), Decimal(0))


def _grown(one: TargetCost, factor: Decimal, prices: Prices) -> Decimal:
    """Return what storage costs more when what later backups added grows by a factor; the first one stays."""
    return Decimal(one.stored_bytes - one.first_bytes) / GB * factor * prices.gb_month


def _copy(month: MonthCost, prices: Prices) -> Decimal:
    """Return what the whole vault costs a second time, with the transfer of what later backups add."""
    more = Decimal(0)
    for one in month.targets:
        later = one.stored_bytes - one.first_bytes
        packs = -(-later // _PACK_BYTES)
        more += Decimal(one.stored_bytes) / GB * prices.gb_month
        more += Decimal(later) / GB * prices.gb_to_another_region + packs * prices.write
    return more
