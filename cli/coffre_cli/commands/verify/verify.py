"""`coffre verify`: are backups recent, complete, undamaged, and can they be restored?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from coffre.model.kinds import Level
from coffre_cli.backup_argument import resolve_backup
from coffre_cli.commands.verify.calling import call_function
from coffre_cli.commands.verify.drill import DrillOptions, ScratchOption, drill
from coffre_cli.commands.verify.verification_result import show_verification
from coffre_cli.deployed import DeployedStack
from coffre_cli.examples import examples
from coffre_cli.exit_status import Exit
from coffre_cli.place import find_place
from coffre_cli.screen import print_json, print_table, say
from coffre_cli.stack_options import HereOption, HomeOption, JsonOption, StackOption
from coffre_cli.standalone import StandaloneVault

if TYPE_CHECKING:
    from coffre.model.freshness import Check, FreshReport
    from coffre.model.verification import VerificationReport

EXAMPLES = examples(
    "coffre verify",
    "coffre verify --level inventory",
    "coffre verify latest",
    "coffre verify --level read --target shop",
    "coffre verify --at offsite",
    "coffre verify latest --at offsite",
    "coffre verify --level drill latest",
    "coffre verify --level drill latest --target shop --here    # no time limit",
    "coffre verify --level drill latest --target shop --scratch env:EMPTY_SERVER",
    "coffre verify --json | jq '.checks[] | select(.status == \"failed\")'",
)
# One invocation reads tens of gigabytes: nothing that a person waits for needs more.
_INVOCATIONS = 200


def verify(
    backup_id: Annotated[
        str | None,
        typer.Argument(
            metavar="[ID]",
            help="Only this backup: its id (the beginning or end is enough), `latest`, or a day or time in UTC. It is "
            "read completely.",
        ),
    ] = None,
    level: Annotated[
        Level | None,
        typer.Option(help="How thoroughly to verify. Default: fresh; with an ID: read.", case_sensitive=False),
    ] = None,
    target: Annotated[str | None, typer.Option(help="Only backups of this target.")] = None,
    share: Annotated[
        float | None,
        typer.Option(min=0.0001, max=1, help="Of a target: the share of packs to read, or whose checksums to compare."),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="In this copy of the vault: levels inventory (the default) and read."),
    ] = None,
    here: HereOption = False,
    scratch: ScratchOption = None,
    postgres_home: HomeOption = None,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Verify backups. Runs automatically: fresh every hour, inventory and read (of a share) every day.

    fresh: does each target have a recent backup? inventory: does every pack exist, with the recorded size? read: is
    every byte as it was stored? drill: restored (a database into a scratch server, of buckets a sample), is it what was
    backed up? Damaged backups are marked and reported, and later backups do not refer to damaged data.
    """
    if level is Level.REPORT:
        raise typer.BadParameter("the level report is a command of its own: coffre report weekly")
    if level is Level.DOCTOR:
        raise typer.BadParameter("the level doctor is a command of its own: coffre doctor [TARGET]")
    options = DrillOptions(here, postgres_home, scratch)
    options.refuse(is_drill=level is Level.DRILL)
    place = find_place(stack)
    if target is not None:
        place.known_target(target)
    if isinstance(place, StandaloneVault):
        if at is not None:
            raise typer.BadParameter("--at needs a stack, which knows its copies: give the copy itself to --vault")
        _verify_vault(place, backup_id, level, target, share, as_json=as_json)
        return
    deployed = place
    chosen = level or _default_level(backup_id, at)
    if at is not None and chosen not in (Level.INVENTORY, Level.READ):
        raise typer.BadParameter(f"a copy is verified at the levels inventory and read, not {chosen}")
    if chosen is Level.DRILL:
        drill(deployed, backup_id, target, options, as_json=as_json)
        return
    if chosen is Level.FRESH:
        _show_fresh(_fresh(deployed, backup_id, target, quiet=as_json), as_json=as_json)
        return
    if at is not None:
        reports = [_copy_report(deployed, chosen, backup_id, target, share, at, quiet=as_json)]
    else:
        reports = list(_reports(deployed, chosen, backup_id, target, share, quiet=as_json))
    if as_json:
        print_json([report.model_dump(mode="json") for report in reports])
    else:
        for report in reports:
            show_verification(report, deployed.word_of)
    # Of one backup, a report that is not finished is followed by the next one.
    is_unfinished = backup_id is not None and any(one.outcome == "unfinished" for one in reports[-1].examined)
    if is_unfinished or any(report.status != 200 for report in reports):
        raise typer.Exit(Exit.FAILED)


def _default_level(backup_id: str | None, at: str | None) -> Level:
    if backup_id is not None:
        return Level.READ
    return Level.FRESH if at is None else Level.INVENTORY


# --- a vault alone ---


def _verify_vault(
    place: StandaloneVault,
    backup_id: str | None,
    level: Level | None,
    target: str | None,
    share: float | None,
    *,
    as_json: bool,
) -> None:
    from coffre_cli.commands.verify.without_stack import verify_here

    if share is not None:
        raise typer.BadParameter("--share is for daily verification by a stack: a vault alone is verified as a whole")
    report = verify_here(place, backup_id, level, target, quiet=as_json)
    if as_json:
        print_json([report.model_dump(mode="json")])
    else:
        show_verification(report, None)
    if report.status != 200:
        raise typer.Exit(Exit.FAILED)


# --- fresh ---


def _fresh(deployed: DeployedStack, backup_id: str | None, target: str | None, *, quiet: bool) -> FreshReport:
    from coffre.model.freshness import FreshReport

    if backup_id is not None:
        raise typer.BadParameter("the level fresh is about targets: give --target, or another level")
    event = {"level": Level.FRESH.value, "target": target}
    return FreshReport.model_validate(call_function(deployed, event, "Looking", quiet=quiet))


def _show_fresh(report: FreshReport, *, as_json: bool) -> None:
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        print_table(
            ["TARGET", "CHECK", "STATUS", "LAST BACKUP", "AGE", "LIMIT"],
            (_check_row(check) for check in report.checks),
            right=["AGE", "LIMIT"],
        )
        for check in report.checks:
            if check.text is not None:
                say(check.text, style="" if check.is_ok else "red")
        for one in report.settled:
            say(f"The {one.kind} {one.id} of {one.target} had stopped without a result; it is {one.status} now.")
    if report.status != 200:
        raise typer.Exit(Exit.FAILED)


def _check_row(check: Check) -> list[str | Text]:
    return [
        check.target,
        check.check.value if check.copy_name is None else f"{check.check.value}: {check.copy_name}",
        Text(check.status, style="green" if check.is_ok else "red"),
        check.last_backup or "-",
        "-" if check.age_hours is None else f"{check.age_hours:.1f} h",
        "-" if check.limit_hours is None else f"{check.limit_hours:g} h",
    ]


# --- inventory and read ---


def _reports(
    deployed: DeployedStack,
    level: Level,
    backup_id: str | None,
    target: str | None,
    share: float | None,
    *,
    quiet: bool,
) -> Iterator[VerificationReport]:
    event: dict[str, Any] = {"level": level.value, "share": share}
    if backup_id is not None:
        found = resolve_backup(deployed, backup_id, target)
        yield from _until_done(deployed, {**event, "backup_id": found.id}, f"Verifying {found.id}", quiet=quiet)
        return
    if level is Level.INVENTORY:
        yield from _until_done(deployed, {**event, "target": target}, "Looking for every pack", quiet=quiet)
        return
    names = [target] if target else list(_with_backups(deployed))
    for name in names:
        wanted = {**event, "target": deployed.configuration.target(name).name}
        yield from _until_done(deployed, wanted, f"Reading backups of {name}", quiet=quiet)


def _copy_report(
    deployed: DeployedStack,
    level: Level,
    backup_id: str | None,
    target: str | None,
    share: float | None,
    at: str,
    *,
    quiet: bool,
) -> VerificationReport:
    from coffre.model.verification import VerificationReport

    event: dict[str, Any] = {"level": level.value, "share": share, "at": deployed.configuration.destination(at).name}
    if backup_id is not None:
        event["backup_id"] = resolve_backup(deployed, backup_id, target).id
    else:
        event["target"] = target
    return VerificationReport.model_validate(call_function(deployed, event, f"Looking at the copy {at}", quiet=quiet))


def _with_backups(deployed: DeployedStack) -> list[str]:
    """Return the targets that have something to be read; if none has, all of them, and the function refuses it."""
    names = [one.name for one in deployed.configuration.targets]
    return [name for name in names if deployed.catalog.completed_backups(name)] or names


def _until_done(
    deployed: DeployedStack, event: Mapping[str, Any], words: str, *, quiet: bool
) -> Iterator[VerificationReport]:
    """Call the function, and again while one backup is too large to be read by one invocation."""
    from coffre.model.verification import VerificationReport

    for _ in range(_INVOCATIONS):
        report = VerificationReport.model_validate(call_function(deployed, event, words, quiet=quiet))
        yield report
        if "backup_id" not in event or not any(one.outcome == "unfinished" for one in report.examined):
            return
