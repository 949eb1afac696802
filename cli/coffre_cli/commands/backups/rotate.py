"""`coffre rotate`: delete backups that have expired, or show which would be deleted and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from coffre.model.errors import PermanentError
from coffre.model.words import size
from coffre_cli.deployed import DeployedStack
from coffre_cli.examples import examples
from coffre_cli.exit_status import Exit
from coffre_cli.screen import age, error_console, print_json, print_table, remark, say, say_command
from coffre_cli.stack_choice import find_stack
from coffre_cli.stack_options import JsonOption, StackOption

if TYPE_CHECKING:
    from coffre.model.rotation import Decision, RotationReport, SweepReport

EXAMPLES = examples(
    "coffre rotate --dry-run",
    "coffre rotate shop",
    "coffre rotate --at offsite --dry-run",
    "coffre rotate --dry-run --json | jq .decisions",
)
_KEYS_SHOWN = 5


class RotationError(PermanentError):
    """The function `rotate` failed."""

    default_code = "ROTATION_FAILED"


def rotate(
    target: Annotated[str | None, typer.Argument(help="Only backups of this target. Default: of every one.")] = None,
    at: Annotated[
        str | None, typer.Option(metavar="NAME", help="In this copy of the vault, by the copy's own retention.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would happen and why; change nothing.")] = False,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete the backups that have outlived their tiers, and data in the vault that no backup needs.

    Runs automatically every day and after each backup. Pinned backups, those taken by hand (unless --keep has passed),
    the newest ones and the newest verified ones are kept. What is deleted from the vault stays in copies for as long as
    their own retention says.
    """
    deployed = find_stack(stack)
    event: dict[str, Any] = {"dry_run": dry_run}
    if at is not None:
        event["at"] = deployed.configuration.destination(at).name
    if target is not None:
        event["target"] = deployed.configuration.target(target).name
    report = _call(deployed, event, quiet=as_json)
    if as_json:
        print_json(report.model_dump(mode="json"))
    elif report.skipped is None:
        _show(report)
    if report.skipped is not None:
        remark(f"Skipped: {report.skipped}.")
        raise typer.Exit(Exit.SKIPPED)


def _call(deployed: DeployedStack, event: Mapping[str, Any], *, quiet: bool) -> RotationReport:
    from coffre.model.rotation import RotationReport

    with error_console.status("Rotating" if not event["dry_run"] else "Looking", spinner="dots") as status:
        if quiet:
            status.stop()
        answer, succeeded = deployed.call("rotate", event)
    if not succeeded:
        words = answer.get("errorMessage", "") if isinstance(answer, dict) else ""
        raise RotationError(
            "The rotation stopped. No backup was lost.",
            detail=str(words)[:2000],
            hint="Correct the cause, and run it again: it continues where it stopped.",
        )
    return RotationReport.model_validate(answer)


def _show(report: RotationReport) -> None:
    from coffre.model.rotation import Action

    rows = sorted(report.decisions, key=lambda decision: (decision.target, decision.taken_at), reverse=True)
    if rows:
        print_table(["ID", "TARGET", "TIERS", "TAKEN", "WHAT", "WHY"], (_row(one) for one in rows))
    else:
        say("No completed backups yet.")
    if report.decisions_left_out:
        say(f"{report.decisions_left_out:,} more that are kept are not shown.")
    for name in report.not_configured:
        say(f"{name} is not in the configuration: its backups are kept. To delete one: coffre delete ID")
    gone = [one for one in report.decisions if one.action is Action.DELETE]
    held = [one for one in report.decisions if one.held_back]
    would = "would be " if report.dry_run else ""
    say(f"{len(gone)} of {len(report.decisions)} backups {would}deleted.", style="bold")
    if report.locks is not None and report.locks.objects:
        objects = f"{report.locks.objects:,} objects of {report.locks.backups:,} backups"
        say(f"Object Lock {'would be ' if report.dry_run else ''}extended on {objects}.")
    if report.locks is not None and report.locks.unfinished:
        say(f"Locks of {report.locks.unfinished:,} more backups are extended by the next rotation: the time was over.")
    if held:
        say(f"{len(held)} have outlived their tiers but are kept ({size(_bytes(held))} that they added): see WHY.")
    for backup_id in report.to_copy_again:
        say(f"{backup_id} was damaged in the copy {report.copy_name}: it is copied again by the next run. Now:")
        say_command(f"coffre copy {backup_id} --to {report.copy_name}")
    for problem in report.problems:
        say(f"Problem: {problem.text} [{problem.code}]", style="red")
    if report.sweep is not None:
        _show_sweep(report.sweep, would, f"the copy {report.copy_name}" if report.copy_name else "the vault")


def _show_sweep(swept: SweepReport, would: str, place: str) -> None:
    removed = swept.packs_removed.size_bytes + swept.records_removed.size_bytes
    objects = swept.packs_removed.objects + swept.records_removed.objects
    say(f"{size(removed)} in {objects:,} objects {would}removed from {place}.", style="bold")
    share = 100 * swept.wasted_bytes / swept.living.size_bytes if swept.living.size_bytes else 0
    say(
        f"Needed: {size(swept.living.size_bytes)} in {swept.living.objects:,} packs; "
        f"{size(swept.wasted_bytes)} ({share:.0f} %) of it only shares a pack with what is needed."
    )
    if swept.journal.objects:
        left = swept.journal.size_bytes - swept.journal_removed.size_bytes
        say(f"Journals: {size(swept.journal_removed.size_bytes)} {would}removed, {size(left)} needed.")
    if swept.waiting.objects:
        say(f"Waiting: {size(swept.waiting.size_bytes)} in {swept.waiting.objects:,} packs will be removed later:")
        for reason in swept.waits:
            say(f"  {reason}")
    if swept.foreign.objects:
        say(f"Not Coffre's, and not touched: {swept.foreign.objects:,} objects, {size(swept.foreign.size_bytes)}:")
        for key in swept.foreign_keys[:_KEYS_SHOWN]:
            say(f"  {key!a}")
        if swept.foreign.objects > _KEYS_SHOWN:
            say("  ...")
    for problem in swept.problems:
        say(f"Problem: {problem.text} [{problem.code}]", style="red")


def _row(decision: Decision) -> list[str | Text]:
    from coffre.model.rotation import Action

    return [
        decision.backup_id,
        decision.target,
        " ".join(tier.lower() for tier in decision.tiers),
        age(decision.taken_at),
        Text(decision.action.value, style="red" if decision.action is Action.DELETE else ""),
        decision.reason,
    ]


def _bytes(decisions: Iterable[Decision]) -> int:
    return sum(decision.size_bytes for decision in decisions)
