"""What a month costs, by target and kind."""

from __future__ import annotations

from datetime import datetime

from coffre.model.kinds import Status
from coffre.policy.cost import MonthCost, month_cost, month_of
from coffre_console.reading.source import Source


def read_cost(source: Source, month: datetime | None = None) -> MonthCost | None:
    """Return what a month costs (default: the current one, until now); None where the region has no prices.

    It reads the record of every completed backup, which storage is paid for: seconds for 100,000 of them. The amount
    alone is in `read_status`, for nothing.
    """
    if source.prices is None:
        return None
    begin = month or source.now
    since, until = month_of(begin)
    catalog = source.catalog
    backups = {one.id: one for one in catalog.backups(status=Status.COMPLETED)}
    backups |= {one.id: one for one in catalog.backups(since=since, until=until)}
    vault = catalog.latest.vault() if since <= source.now < until else None
    return month_cost(
        catalog.usages.between(since, until), [*backups.values()], vault, source.prices, begin, source.now
    )
