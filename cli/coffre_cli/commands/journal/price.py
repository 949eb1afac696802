"""What journals cost their servers and a month in AWS, and whether anything drains them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from coffre.model.errors import CoffreError
from coffre.model.words import size
from coffre_cli import aws
from coffre_cli.deployed import DeployedStack

if TYPE_CHECKING:
    from coffre.model.journal_options import JournalOptions


def counted_months(deployed: DeployedStack) -> dict[str, Decimal]:
    """Return what the journal of each target costs a month, as `coffre cost` counts it; none that was not drained."""
    from coffre.policy.cost import month_cost, month_of
    from coffre.policy.journal_cost import journal_months
    from coffre.policy.prices import prices_of

    now = _now()
    usages = deployed.catalog.usages.between(*month_of(now))
    return journal_months(month_cost(usages, [], None, prices_of(aws.region()), now, now))


def _now() -> datetime:
    return datetime.now(UTC)


def price_line(options: JournalOptions, month: Decimal | None = None) -> str:
    """Return what a journal costs its server and AWS.

    Parameters
    ----------
    month
        As it was counted; None: as it is expected.
    """
    from coffre.policy.cost import dollars
    from coffre.policy.journal_cost import connections_a_day, expected_month
    from coffre.policy.prices import prices_of

    about = dollars(expected_month(options, prices_of(aws.region())).total if month is None else month)
    how = "expected" if month is None else "as counted this month"
    return (
        f"A journal costs: {connections_a_day(options):,} connections to the server a day (a drain each "
        f"{options.every_minutes} minutes), up to {size(options.maximum_lag_bytes)} of WAL kept there, and about "
        f"{about} a month ({how}) besides what it stores."
    )


def journal_lines(deployed: DeployedStack, names: Sequence[str]) -> dict[str, str]:
    """Return what the journal of each of these targets costs, if it has one; nothing is read where none has."""
    from coffre.policy.journal_health import has_journal

    found = {one.name: one.journal for one in deployed.configuration.databases if has_journal(one)}
    wanted = {name: options for name, options in found.items() if name in names and options is not None}
    if not wanted:
        return {}
    try:
        months = counted_months(deployed)
    except CoffreError:  # doctor says what is wrong with the catalog
        months = {}
    return {name: price_line(options, months.get(name)) for name, options in wanted.items()}


def undrained(deployed: DeployedStack, names: Sequence[str]) -> list[str]:
    """Return a sentence if the journals of these targets are drained by nothing in the stack."""
    from coffre.model.status_facts import JOURNAL_SCHEDULE
    from coffre.operations.status.schedules import rules_of

    rules = deployed.outputs.get("Schedules")
    if not names or rules is None or JOURNAL_SCHEDULE in rules_of(rules):
        return []
    return [f"The journal of {', '.join(names)} does nothing: the stack's parameter Journal is off."]
