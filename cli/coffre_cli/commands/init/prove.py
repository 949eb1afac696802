"""After the deployment: is anyone notified, and does a backup restore? What is missing is named."""

from __future__ import annotations

import time
from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from coffre.model.any_target import AnyTarget, is_gone
from coffre.model.database_target import DatabaseTarget, FoundDatabase
from coffre.model.errors import CoffreError
from coffre.model.kinds import Status
from coffre.model.words import duration, size
from coffre_cli import aws
from coffre_cli.commands.backups.run_backup import Wanted, start_backup, start_servers, wait_for_backup
from coffre_cli.commands.doctor.doctor import look_at_targets
from coffre_cli.commands.verify.drill import await_report
from coffre_cli.deployed import DeployedStack
from coffre_cli.screen import error_console, remark, say, show_error

if TYPE_CHECKING:
    from coffre.model.backup import Backup
    from coffre.model.database_target import DatabaseTarget

_POLL_SECONDS: Final = 3.0
# What SNS has instead of an ARN until the link in its mail was followed.
_PENDING: Final = "PendingConfirmation"


@dataclass
class Findings:
    """What was proved, and what is missing, in sentences."""

    proved: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    has_failed: bool = False


def prove(deployed: DeployedStack, changed: Set[str], findings: Findings) -> None:
    """Take the first backup of each target and restore it in a drill; what was done already is not repeated.

    Parameters
    ----------
    changed
        Names of targets that have just been changed: their earlier backups do not count.
    """
    started = start_servers(deployed, list(_unfinished_servers(deployed, changed)), Wanted())
    deployed = DeployedStack(deployed.name, deployed.outputs)  # knows the databases that were just found
    for target in deployed.configuration.targets:
        if is_gone(target):
            continue
        try:
            _examine(deployed, target.name, findings)
            is_new = target.name in changed or target.name in started
            known = None if is_new else _newest(deployed, target.name)
            backup = known or _first_backup(deployed, target, started.get(target.name))
            findings.proved.append(f"{target.name}: {_words(backup)}, {_drilled(deployed, target, backup, findings)}")
        except CoffreError as error:
            show_error(error)
            findings.has_failed = True
            findings.missing.append(f"{target.name} has no backup that was restored: {error.message} [{error.code}]")


def _examine(deployed: DeployedStack, target: str, findings: Findings) -> None:
    """Let the function that backs the target up look for what prevents or thins out backups."""
    for checkup in look_at_targets(deployed, [target], probe=False, quiet=False):
        for one in checkup.blockers:
            findings.missing.append(f"{target}: {one.sentence} [{one.code}] What to do: coffre doctor {target}")
        findings.warnings += [f"{target}: {one.sentence} [{one.code}]" for one in checkup.warnings]
        if checkup.is_uncertain:
            findings.warnings.append(f"{target}: not everything could be looked at: coffre doctor {target}")


def _unfinished_servers(deployed: DeployedStack, changed: Set[str]) -> Iterator[str]:
    """Yield the servers whose databases are not known yet, or of which one has no backup."""
    configuration = deployed.configuration
    for server in configuration.started_databases:
        if server.databases is None:
            continue
        found = [one for one in configuration.databases if isinstance(one, FoundDatabase) and one.server == server.name]
        if server.name in changed or not found or not all(is_gone(one) or _newest(deployed, one.name) for one in found):
            yield server.name


def _newest(deployed: DeployedStack, target: str) -> Backup | None:
    return next(iter(deployed.catalog.completed_backups(target)), None)


def _running(deployed: DeployedStack, target: str) -> str | None:
    """Return the id of a backup in progress, such as that of an interrupted `init`."""
    newest = next(iter(deployed.catalog.backups(target=target)), None)
    return newest.id if newest is not None and newest.status is Status.IN_PROGRESS else None


def _first_backup(deployed: DeployedStack, target: AnyTarget, started: str | None) -> Backup:
    running = started or _running(deployed, target.name)
    remark(f"{'Waiting for the backup that runs' if running else 'Taking a backup'}: {target.name}.")
    function = target.kind.function
    backup_id = running or start_backup(deployed, function, target.name)
    record = wait_for_backup(deployed, target.name, backup_id, title=f"Backing up {target.name}", quiet=False)
    if isinstance(record, str):
        raise CoffreError(
            f"The backup of {target.name} was skipped: {record}.",
            code="SKIPPED",
            hint="Wait for the other run (coffre list), and run `coffre init` again.",
        )
    if record.status is not Status.COMPLETED:
        failure = record.failure
        raise CoffreError(
            failure.message.partition("\n")[0] if failure else f"The backup of {target.name} failed.",
            code=failure.code if failure else "BACKUP_FAILED",
            hint=failure.hint if failure else f"coffre show {record.id}",
        )
    return record


def _drilled(deployed: DeployedStack, target: AnyTarget, backup: Backup, findings: Findings) -> str:
    """Drill the backup if that was not done, and return what the drill found, in words."""
    from coffre.model.drill import Outcome
    from coffre.operations.drill.report_page import heading_of
    from coffre.vault.reports import DrillReports

    if not isinstance(target, DatabaseTarget) and not target.drill.objects:
        return "never drilled, as its configuration has it"
    reports = DrillReports(deployed.vault.store)
    found = reports.newest(target.name, backup.id)
    if found is None:
        remark(f"Restoring it in a drill, and comparing every byte: {target.name}.")
        with error_console.status(f"Drilling {target.name}", spinner="dots"):
            answer = deployed.ask("drill", {"backup_id": backup.id})
        await_report(deployed, backup, answer, quiet=False)
        found = reports.newest(target.name, backup.id)
    if found is not None and found.outcome in (Outcome.PASSED, Outcome.INCOMPLETE):
        exceptions = "" if found.outcome is Outcome.PASSED else f" with exceptions (coffre report {backup.id})"
        return f"restored and compared in {duration(round(found.duration_seconds * 1000))}{exceptions}"
    why = heading_of(found).lower() if found else "it left no report"
    findings.missing.append(
        f"{target.name} was backed up, but its drill did not pass ({why}): coffre report {backup.id}"
    )
    return "NOT proved by a drill"


def _words(backup: Backup) -> str:
    if backup.kind.has_objects:
        return f"{backup.objects or 0:,} objects, {size(backup.plaintext_bytes)}"
    return f"{backup.tables or 0:,} tables, {backup.rows or 0:,} rows, {size(backup.plaintext_bytes)}"


# --- mail ---


def await_mail(topic: str, mail: str | None, minutes: float, findings: Findings) -> None:
    """Wait until the mail's link was followed; Ctrl-C skips that, and it is named as missing."""
    if mail is None:
        findings.missing.append("No one is notified when a backup fails: coffre init --mail ADDRESS")
        return
    sns: Any = aws.client("sns")
    until = time.monotonic() + minutes * 60
    is_confirmed = _is_confirmed(sns, topic, mail)
    if not is_confirmed and minutes > 0:
        remark(f"AWS sent a mail to {mail}: follow its link now. (Ctrl-C skips this.)")
    with _skipped_by_interrupt(), error_console.status(f"Waiting for the confirmation of {mail}", spinner="dots"):
        while not is_confirmed and time.monotonic() < until:
            time.sleep(_POLL_SECONDS)
            is_confirmed = _is_confirmed(sns, topic, mail)
    if is_confirmed:
        findings.proved.append(f"alerts go to {mail}, who confirmed it")
    else:
        findings.missing.append(f"{mail} has not confirmed yet, and gets no alerts: follow the link in AWS's mail.")


def _is_confirmed(sns: Any, topic: str, mail: str) -> bool:
    for page in sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic):
        for one in page["Subscriptions"]:
            if one["Endpoint"] == mail and one["SubscriptionArn"] != _PENDING:
                return True
    return False


@contextmanager
def _skipped_by_interrupt() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        remark("Skipped.")


# --- the end ---


def conclude(stack: str, findings: Findings) -> None:
    """Say in one line whether all is well, and then what is behind it."""
    if findings.missing:
        say(f"You are NOT fully protected yet: {len(findings.missing)} missing.", style="bold red")
        for sentence in findings.missing:
            say(f"  missing  {sentence}", style="red")
    else:
        say("You are protected.", style="bold green")
    for sentence in findings.proved:
        say(f"  proved   {sentence}")
    for sentence in findings.warnings:
        say(f"  warning  {sentence}", style="yellow")
    if findings.missing:
        say("`coffre init` can be run again at any time: it continues with what is missing.")
    else:
        say(f"Backups run by themselves from now on. To look at them: coffre status --stack {stack}")
