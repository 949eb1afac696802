"""`coffre cost`: what backups cost, and what a change would cost."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from coffre.model.times import parse_span
from coffre.model.words import counted, size
from coffre_cli import aws
from coffre_cli.deployed import DeployedStack
from coffre_cli.examples import examples
from coffre_cli.screen import print_json, print_table, say
from coffre_cli.stack_choice import find_stack
from coffre_cli.stack_options import JsonOption, StackOption

if TYPE_CHECKING:
    from coffre.model.backup import Backup, Restore
    from coffre.model.usage import Usage
    from coffre.policy.cost import Cost, MonthCost
    from coffre.policy.cost_changes import Change
    from coffre.policy.prices import Prices

EXAMPLES = examples(
    "coffre cost",
    "coffre cost shop --month 2026-10",
    "coffre cost --every 6h",
    "coffre cost --json | jq -r .whole_month",
)
_WORDS: Final = {"hourly": 1, "daily": 24, "weekly": 168}
_NOT_IN_IT: Final = (
    "Not in these numbers: free tiers, taxes, logs, alarms, the monthly price of a KMS key, network gateways of a VPC, "
    "and what your database's provider charges for data that leaves it."
)


def cost(
    target: Annotated[str | None, typer.Argument(help="Only this target.")] = None,
    month: Annotated[
        str | None, typer.Option(metavar="YYYY-MM", help="Which month (UTC). Default: the current one, until now.")
    ] = None,
    every: Annotated[
        str | None,
        typer.Option(metavar="hourly|daily|weekly|SPAN", help="What backups this often would cost. A span: 6h, 2d."),
    ] = None,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show about what backups cost, by target and kind, and what a change would cost.

    From what each run used (time and memory of functions, requests, bytes) and the list prices of AWS.
    """
    from coffre.policy.cost_changes import EVERY_HOURS, changes

    now = _now()
    begin = _month(month, now) if month is not None else now
    hours = {f"every {every}": _hours(every)} if every is not None else EVERY_HOURS
    deployed = find_stack(stack)
    if target is not None:
        deployed.known_target(target)
    prices = _prices()
    found = _look(deployed, target, begin, now, prices)
    what_if = changes(found, prices, hours)
    if every is not None:
        what_if = tuple(change for change in what_if if change.name.startswith("backups "))
    if as_json:
        print_json(_json(found, what_if, prices))
    else:
        _show(found, what_if, prices)


def find_usage(place: object, run: Backup | Restore) -> Usage | None:
    """Return what a backup or a restore used; None if it is not known."""
    from coffre.model.backup import Backup
    from coffre.policy.cost import estimated_usage

    if not isinstance(place, DeployedStack):
        return None
    used = place.catalog.usages.find(run.id)
    if used is None and isinstance(run, Backup) and run.duration_ms is not None:
        return estimated_usage(run)
    return used


def used_line(used: Usage) -> str:
    """Return what a run used, all its functions together: `90 GB-s in 4 invocations, 812 requests, 2.1 GB sent`."""
    requests = used.vault_writes + used.vault_reads + used.source_writes + used.source_reads
    sent, received = used.vault_sent_bytes + used.source_sent_bytes, used.vault_received_bytes
    parts = (
        f"{used.gb_seconds:,.0f} GB-s in {counted(used.invocations, 'invocation')}",
        counted(used.transitions, "transition") if used.transitions else "",
        counted(requests, "request"),
        f"{size(sent)} sent" if sent else "",
        f"{size(received + used.source_received_bytes)} received" if received + used.source_received_bytes else "",
    )
    return ", ".join(filter(None, parts))


def cost_line(used: Usage) -> str:
    """Return about what a run cost, by kind."""
    from coffre.policy.cost import cost_of, dollars

    price = cost_of(used, _prices())
    how = "estimated from its size and duration" if used.estimated else _kinds(price)
    return f"about {dollars(price.total)} without storage ({how})"


def usage_json(used: Usage | None) -> dict[str, Any] | None:
    """Return what a run used and cost, for scripts: amounts in US dollars, without storage."""
    from coffre.policy.cost import cost_of

    if used is None:
        return None
    price = cost_of(used, _prices())
    counts = used.counts.model_dump()
    return {**counts, "estimated": used.estimated, "cost": {**vars(price), "total": price.total}}


def _prices() -> Prices:
    from coffre.policy.prices import prices_of

    return prices_of(aws.region())


def _look(deployed: DeployedStack, target: str | None, month: datetime, now: datetime, prices: Prices) -> MonthCost:
    from dataclasses import replace

    from coffre.model.kinds import Status
    from coffre.policy.cost import month_cost, month_of

    since, until = month_of(month)
    catalog = deployed.catalog
    backups = {one.id: one for one in catalog.backups(status=Status.COMPLETED)}
    backups |= {one.id: one for one in catalog.backups(since=since, until=until)}
    vault = catalog.latest.vault() if since <= now < until else None
    found = month_cost(catalog.usages.between(since, until), [*backups.values()], vault, prices, month, now)
    if target is None:
        return found
    return replace(found, targets=tuple(one for one in found.targets if one.name == target))


def _now() -> datetime:
    return datetime.now(UTC)


def _month(text: str, now: datetime) -> datetime:
    try:
        found = datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC)
    except ValueError as error:
        raise typer.BadParameter(f"--month {text} is no month: write it as 2026-11") from error
    if found > now:
        raise typer.BadParameter(f"--month {text} has not begun: nothing was used yet")
    return found


def _hours(text: str) -> float:
    if text in _WORDS:
        return _WORDS[text]
    try:
        hours = parse_span(text).total_seconds() / 3600
    except ValueError:
        hours = 0.0
    if hours < 1:
        raise typer.BadParameter(
            f"--every {text} is no frequency: write {', '.join(_WORDS)}, or a span of an hour or more: 6h, 2d"
        )
    return hours


# --- showing it ---


def _show(found: MonthCost, what_if: tuple[Change, ...], prices: Prices) -> None:
    from coffre.policy.cost import dollars

    total, name = dollars(found.cost.total), f"{found.since:%B %Y}"
    is_over = found.until == found.ends
    say(
        f"About {total} in {name}."
        if is_over
        else f"About {total} in {name} until now, about {dollars(found.whole_month)} for the whole month."
    )
    if found.per_protected_gb is not None:
        say(f"About {dollars(found.per_protected_gb)} a month for each protected GB.")
    if not found.cost.total:
        say(f"Nothing was used in {name}, as far as it was counted.")
        return
    say(f"By kind: {_kinds(found.cost)}.")
    print_table(
        ["TARGET", "RUNS", "FUNCTION", "REQUESTS", "STORAGE", "OTHER", "TOTAL"],
        (_row(one.name, one.runs, one.cost) for one in found.targets),
        right=["RUNS", "FUNCTION", "REQUESTS", "STORAGE", "OTHER", "TOTAL"],
    )
    print_table(
        ["WITH THIS CHANGE", "A MONTH, AT MOST ABOUT", "DIFFERENCE"],
        ([change.name, dollars(change.month), _signed(change)] for change in what_if),
        right=["A MONTH, AT MOST ABOUT", "DIFFERENCE"],
    )
    say(_journals(found, prices))
    for line in _remarks(found, prices):
        say(line, style="dim")


def _row(name: str | None, runs: int, price: Cost) -> list[str]:
    from coffre.policy.cost import dollars

    other = price.transfer + price.kms + price.catalog + price.machine
    amounts = (price.function, price.requests, price.storage, other, price.total)
    return [name or "(all targets)", f"{runs:,}", *(dollars(amount) for amount in amounts)]


def _kinds(price: Cost) -> str:
    from coffre.policy.cost import KINDS, dollars

    return ", ".join(f"{kind} {dollars(getattr(price, kind))}" for kind in KINDS if getattr(price, kind))


def _signed(change: Change) -> str:
    from coffre.policy.cost import dollars

    return ("+" if change.difference >= 0 else "") + dollars(change.difference)


def _journals(found: MonthCost, prices: Prices) -> str:
    """Return what journals cost, without storage; where none was drained, what one would."""
    from coffre.model.journal_options import JournalOptions
    from coffre.policy.cost import dollars
    from coffre.policy.journal_cost import ASSUMED, expected_month, journal_months

    months = journal_months(found)
    if months:
        listed = ", ".join(f"{name} {dollars(month)}" for name, month in months.items())
        return f"Journals, of it, for a whole month and without storage: about {listed}."
    options = JournalOptions()
    month = dollars(expected_month(options, prices).total)
    return f"A journal, drained every {options.every_minutes} minutes, would add about {month} a month ({ASSUMED})."


def _remarks(found: MonthCost, prices: Prices) -> Iterator[str]:
    place = prices.region if prices.is_exact else f"{prices.region}, since those of this region are not known"
    yield f"Prices: AWS list prices of {place}, read on {prices.read_on}."
    if prices.unsourced:
        yield f"Prices that could not be looked up again: {', '.join(prices.unsourced)}."
    if found.estimated:
        yield f"Of {counted(found.estimated, 'run')} no counts were recorded: estimated from size and duration."
    yield _NOT_IN_IT


def _json(found: MonthCost, what_if: tuple[Change, ...], prices: Prices) -> dict[str, Any]:
    return {
        "version": 1,
        "since": found.since.isoformat(),
        "until": found.until.isoformat(),
        "currency": "USD",
        "prices": {"region": prices.region, "exact": prices.is_exact, "read_on": prices.read_on},
        "total": found.cost.total,
        "whole_month": found.whole_month,
        "per_protected_gb": found.per_protected_gb,
        "estimated_runs": found.estimated,
        "cost": vars(found.cost),
        "targets": [
            {
                "target": one.name,
                "runs": one.runs,
                "stored_bytes": one.stored_bytes,
                "cost": vars(one.cost),
                "journal": one.journal_cost.total,
            }
            for one in found.targets
        ],
        "changes": [vars(change) for change in what_if],
    }
