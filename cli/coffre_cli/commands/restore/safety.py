"""The backup of what a restore overwrites: taken before it, named after it (docs/restore.md, docs/adr/0021)."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Final

import typer

from coffre.model.errors import BackupStateError, CoffreError, DestinationError, SettingsError
from coffre.model.kinds import SafetyState, Status, TargetKind
from coffre.model.tier import Tier
from coffre_cli.commands.backups.run_backup import wait_for_backup
from coffre_cli.confirming import is_interactive
from coffre_cli.deployed import DeployedStack
from coffre_cli.place import Place
from coffre_cli.screen import remark, say, say_command, show_failure

if TYPE_CHECKING:
    from coffre.model.backup import Backup
    from coffre.model.restore import Scope
    from coffre.model.safety import Safety
    from coffre.model.storage import StorageScope

NoSafetyOption = Annotated[
    bool,
    typer.Option(
        "--no-safety",
        help="Overwrite although no backup holds the present state. Without this, a SAFETY backup is taken first.",
    ),
]
# Another backup of the target may be running, or start just before ours.
_TRIES: Final = 3


def show_plan(safety: Safety | None) -> None:
    """Print what a dry run says about the backup of what would be overwritten."""
    if safety is not None:
        is_lost = safety.state in (SafetyState.IMPOSSIBLE, SafetyState.DECLINED)
        say(f"  {safety.text}", style="yellow" if is_lost or safety.lacks else "")


def secured(place: Place, kind: TargetKind, plan: Safety | None, *, yes: bool, quiet: bool) -> Safety | None:
    """Take the SAFETY backup that a plan asks for.

    Where that is impossible or fails, a person is asked whether to overwrite without one; `--yes` does not answer that.

    Raises
    ------
    DestinationError
        `SAFETY_IMPOSSIBLE` or `SAFETY_FAILED`: no one can be asked. Nothing was changed.
    typer.Abort
        The person said no.
    """
    if plan is None or plan.state in (SafetyState.NOT_NEEDED, SafetyState.PRESENT, SafetyState.DECLINED):
        return plan
    why, code = plan.text, "SAFETY_IMPOSSIBLE"
    if plan.state is SafetyState.NEEDED and isinstance(place, DeployedStack):
        try:
            backup = _take(place, kind, plan.target or "", quiet=quiet)
        except SettingsError:  # --here: programs or rights that a person can supply
            raise
        except CoffreError as error:
            why, code = f"{error.message} [{error.code}]", "SAFETY_FAILED"
        else:
            if backup.status is Status.COMPLETED:
                return _present(plan, backup)
            why, code = f"The SAFETY backup {backup.id} failed, and nothing was changed.", "SAFETY_FAILED"
            if backup.failure is not None:
                show_failure(backup.failure)
    if yes or not is_interactive():
        raise DestinationError(
            why,
            code=code,
            hint="Nothing was changed. To overwrite without a backup of the present state: --no-safety",
        )
    remark(why)
    typer.confirm("Overwrite it WITHOUT a backup of its present state?", abort=True, err=True)
    return plan.model_copy(update={"state": SafetyState.DECLINED})


def show_way_back(safety: Safety | None, command: str) -> None:
    """Print which backup holds what existed before, and the command that restores it."""
    if safety is None or safety.backup_id is None or safety.taken_at is None:
        return
    is_own = safety.kept_days is not None
    kept = f", kept for {safety.kept_days} days" if is_own else ""
    what = "SAFETY backup" if is_own else "backup"
    say(f"Before: {what} {safety.backup_id} of {safety.taken_at:%Y-%m-%d %H:%M:%S} UTC{kept}. To go back:")
    say_command(command)


def back_to_database(safety: Safety, scope: Scope, to: str | None) -> str:
    """Return the command that sets a database, or chosen tables of it, back."""
    command = f"coffre restore {'database' if scope.is_whole else 'tables'}"
    options = [f"--schema={shlex.quote(pattern)}" for pattern in scope.schemas]
    options += ["--replace", *([f"--to {shlex.quote(to)}"] if to else [])]
    words = [safety.backup_id or "", *(shlex.quote(pattern) for pattern in scope.tables)]
    if any(pattern.startswith("-") for pattern in scope.tables):
        # A name that begins with a dash is not an option.
        return " ".join([command, *options, "--", *words])
    return " ".join([command, *words, *options])


def back_to_objects(safety: Safety, scope: StorageScope) -> str:
    """Return the command that sets objects back; a mirror also deletes those that did not exist before."""
    bucket, prefix = scope.bucket, scope.prefix
    if scope.to is not None:
        bucket, _, folder = scope.to.partition("/")
        prefix = f"{folder.rstrip('/')}/{prefix}" if folder.strip("/") else prefix
    chosen = [f"--bucket {shlex.quote(bucket)}"] if bucket else []
    chosen += [f"--prefix {shlex.quote(prefix)}"] if prefix else []
    mode = "overwrite" if scope.is_listed else "mirror"
    return " ".join(["coffre restore objects", safety.backup_id or "", *chosen, f"--mode {mode}"])


def _take(stack: DeployedStack, kind: TargetKind, target: str, *, quiet: bool) -> Backup:
    """Take a SAFETY backup of a target. Another backup of it that is running is waited for."""
    from ulid import ULID

    title = f"Backing up the present state of {target}"
    for _ in range(_TRIES):
        backup_id = str(ULID())
        run = stack.start(kind.function, {"target": target, "tier": Tier.SAFETY.value, "backup_id": backup_id})
        found = wait_for_backup(stack, target, backup_id, run, title=title, quiet=quiet)
        if not isinstance(found, str):
            if not quiet and found.status is Status.COMPLETED:
                say(f"The present state of {target} is in the SAFETY backup {found.id}.", style="green")
            return found
        remark(f"Waiting: {found}.")
        for other in list(stack.catalog.backups(target=target, status=Status.IN_PROGRESS)):
            wait_for_backup(stack, target, other.id, title=f"Waiting for the backup {other.id}", quiet=quiet)
    raise BackupStateError(
        f'No SAFETY backup of "{target}" could be started: other backups of it are running.',
        code="RUN_STARTING",
        hint="Nothing was changed. Run the restore again in some minutes.",
    )


def _present(plan: Safety, backup: Backup) -> Safety:
    taken = {"state": SafetyState.PRESENT, "backup_id": backup.id, "taken_at": backup.created_at}
    return plan.model_copy(update=taken)
