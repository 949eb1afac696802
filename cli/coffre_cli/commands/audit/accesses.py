"""`coffre audit accesses`: who read, wrote or deleted what in the vault's bucket, other than Coffre itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer

from coffre.model.access import AccessAction
from coffre.model.errors import PermanentError
from coffre.model.times import parse_span
from coffre.model.words import counted
from coffre_cli.deployed import DeployedStack
from coffre_cli.examples import examples
from coffre_cli.screen import error_console, print_json, remark, say
from coffre_cli.stack_choice import find_stack
from coffre_cli.stack_options import JsonOption, StackOption

if TYPE_CHECKING:
    from coffre.model.access import AccessGroup, AccessRecord, AccessReport

EXAMPLES = examples(
    "coffre audit accesses",
    "coffre audit accesses --since 7d --action delete",
    "coffre audit accesses --actor '*:user/alice'",
    "coffre audit accesses --json | jq '.groups[] | select(.expected | not)'",
)
_DELIVERY: Final = (
    "AWS delivers these logs hours late, and does not promise that they are complete: no line proves no access."
)


class AccessLogsOffError(PermanentError):
    """Nothing logs who accesses the vault."""

    default_code = "ACCESS_LOGS_OFF"


def accesses(
    since: Annotated[str, typer.Option("--since", metavar="SPAN", help="How far to look back: 12h, 7d, 4w.")] = "90d",
    actor: Annotated[
        str | None,
        typer.Option("--actor", metavar="PATTERN", help="Only these principals; * stands for any text, - for none."),
    ] = None,
    action: Annotated[
        AccessAction | None, typer.Option("--action", help="Only this kind of access. Default: all but look.")
    ] = None,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show who read, wrote or deleted objects of the vault, other than Coffre's functions and AWS itself.

    Needs the template's parameter AccessLogs=on. Principals that the configuration expects (access.expected) are
    marked. With --action look: listings and metadata, which read no object.
    """
    try:
        begin = datetime.now(UTC) - parse_span(since)
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(f"--since {since}: {error}") from error
    deployed = find_stack(stack)
    report = _read(deployed, begin, _wanted(begin, actor, action))
    if as_json:
        print_json({"since": begin.isoformat(), **report.model_dump(mode="json")})
    else:
        _show(report, begin)
    remark(_DELIVERY)


def _wanted(begin: datetime, actor: str | None, action: AccessAction | None) -> Callable[[AccessRecord], bool]:
    from coffre.policy.accesses import matches

    def fits(record: AccessRecord) -> bool:
        is_action = record.action is not AccessAction.LOOK if action is None else record.action is action
        return record.at >= begin and is_action and (actor is None or matches(actor, record.principal))

    return fits


def _read(deployed: DeployedStack, begin: datetime, wanted: Callable[[AccessRecord], bool]) -> AccessReport:
    from coffre.operations.accesses.read_logs import AccessLogs
    from coffre.policy.accesses import Principals, Tally
    from coffre.stores.s3 import S3Store
    from coffre.stores.s3_client import make_client

    bucket = deployed.outputs.get("AccessLogBucket")
    if bucket is None:
        raise AccessLogsOffError(
            f"The stack {deployed.name} does not log who accesses its vault.",
            hint="Deploy it with AccessLogs=on: sam deploy --parameter-overrides AccessLogs=on. Logs begin then: "
            "of earlier accesses, only CloudTrail can know (docs/accesses.md).",
        )
    region, account = deployed.outputs["AlertTopic"].split(":")[3:5]
    principals = Principals(
        account, frozenset(deployed.outputs["OwnRoles"].split(",")), deployed.configuration.access.expected
    )
    prefix = deployed.outputs["VaultPrefix"].lstrip("/")
    tally = Tally(principals, prefix=f"{prefix}/" if prefix else "", wanted=wanted)
    logs = AccessLogs(S3Store(bucket, client=make_client()), account, region, deployed.outputs["VaultBucket"])
    with error_console.status("Reading the logs", spinner="dots") as status:
        today = datetime.now(UTC).date()
        day = max(begin.date(), logs.oldest_day() or today)
        while day <= today:
            status.update(f"Reading the logs of {day}")
            logs.read(tally, day, day)
            day += timedelta(days=1)
    return tally.report()


def _show(report: AccessReport, begin: datetime) -> None:
    by_principal: dict[str, list[AccessGroup]] = {}
    for group in report.groups:
        by_principal.setdefault(group.principal, []).append(group)
    for principal, groups in by_principal.items():
        who = "anonymous, without credentials" if principal == "-" else principal
        say(f"{who} (expected)" if groups[0].expected else who, style="bold")
        for group in groups:
            _show_group(group)
    unexpected = sum(not groups[0].expected for groups in by_principal.values())
    say(f"{counted(unexpected, 'principal')} neither Coffre's nor expected, since {begin:%Y-%m-%d %H:%M} UTC.")
    say(
        f"{counted(report.own, 'request')} of Coffre's functions and {report.aws:,} of AWS's lifecycle rules "
        "are not shown."
    )
    if report.unreadable:
        say(f"{counted(report.unreadable, 'line')} of an unknown form in the logs, not counted.", style="bold red")
    if report.newest_log is None:
        say("No log of this period was found: logs of a new deployment begin after some hours.", style="bold")
    else:
        say(f"{counted(report.logs, 'log')} read; the newest was delivered {report.newest_log:%Y-%m-%d %H:%M} UTC.")


def _show_group(group: AccessGroup) -> None:
    refused = f" ({group.refused:,} of them refused)" if group.refused else ""
    say(
        f"  {group.action.value}: {counted(group.requests, 'request')}{refused}, {group.first_at:%Y-%m-%d %H:%M} to "
        f"{group.last_at:%Y-%m-%d %H:%M} UTC, from {', '.join(group.ips)}"
    )
    for key in group.keys:
        say(f"    {key}")
