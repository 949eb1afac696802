"""How a recovery begins, is confirmed, carried out, resumed and reported."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from coffre.model.errors import DestinationError
from coffre.model.recovery import Recovery, Step, StepKind, StepState
from coffre.policy.recovery import CopyLook, has_exceptions, is_complete, sentence_of, taken_up
from coffre_cli.commands.recover.choice import Choice, Source, chosen_plan
from coffre_cli.commands.recover.destinations import unknown_targets
from coffre_cli.commands.recover.find_copies import open_copy
from coffre_cli.commands.recover.kit import Start, configuration_in, identities_in
from coffre_cli.commands.recover.notify import address_of
from coffre_cli.commands.recover.plan import NOT_EMPTY, Wanted, default_limit, make_steps, with_answers
from coffre_cli.commands.recover.plan_shown import show_plan
from coffre_cli.commands.recover.progress_file import ProgressError, ProgressFile
from coffre_cli.commands.recover.recovery_run import Run
from coffre_cli.commands.recover.rehearsal import note_rehearsal
from coffre_cli.commands.recover.report import page_of
from coffre_cli.commands.recover.restore_places import Ground, NamedGround, scratch_ground
from coffre_cli.commands.recover.steps import carry_out
from coffre_cli.confirming import ask_name, count_down, is_interactive, refuse_without_terminal
from coffre_cli.exit_status import Exit
from coffre_cli.screen import print_json, say, say_command, show_error
from coffre_cli.standalone import open_store
from coffre_cli.vault_choice import VaultChoice

if TYPE_CHECKING:
    from coffre.model.configuration import Configuration
    from coffre_cli.standalone import StandaloneVault

_WORK = "coffre-recovery"


@dataclass(frozen=True)
class How:
    """How a recovery runs and answers. `stack` is where the time of a rehearsal is noted."""

    notify: str | None
    scratch: str | None
    is_rehearsal: bool
    dry_run: bool
    yes: bool
    streams: int | None
    as_json: bool
    stack: str | None = None


def begin(work: Path | None, source: Source, choice: Choice, how: How) -> None:
    """Plan a recovery, have it confirmed, and carry it out.

    Raises
    ------
    typer.Exit
        It is not complete, took too long, or has exceptions.
    CoffreError
        No copy can be used, or a destination cannot. Nothing was changed.
    """
    began = datetime.now(UTC)
    if how.notify is not None:
        address_of(how.notify)
    progress = ProgressFile(_directory(work))
    if not how.dry_run:
        progress.refuse_unfinished()
    place, configuration, recovery = _planned(source.start(), choice, how, began)
    if not how.as_json:
        show_plan(recovery)
    if how.dry_run:
        _answer_plan(recovery, how)
        return
    with progress.held():
        progress.refuse_unfinished()  # again, for another run may have begun meanwhile
        _confirm(recovery, how)
        recovery = recovery.model_copy(update={"confirmed_at": datetime.now(UTC)})
        recovery = _carried_out(progress, place, configuration, recovery, how)
    if how.stack is not None:
        note_rehearsal(how.stack, recovery)
    _end(progress, recovery, how)


def _planned(
    start: Start, choice: Choice, how: How, began: datetime
) -> tuple[StandaloneVault, Configuration | None, Recovery]:
    """Return the copy to recover from, the configuration that it has, and the plan, with what a person was asked."""
    place, look, recovery = chosen_plan(start, choice, began)
    configuration = configuration_in(start.kit, place)
    unknown_targets(choice.to, sorted(look.found), "--to")
    unknown_targets(choice.stores, sorted(look.found), "--store")
    wanted = with_answers(Wanted(choice.to, choice.stores, how.is_rehearsal, how.notify, choice.safety), look)
    steps, safety = _steps(place, look, configuration, wanted)
    if not any(step.state is StepState.WAITING and step.backup_id for step in steps):
        raise typer.BadParameter("nothing would be restored: every target was left out")
    limit = choice.limit_minutes * 60 if choice.limit_minutes else default_limit(configuration, [*look.found])
    plan = {"is_rehearsal": how.is_rehearsal, "limit_seconds": limit, "safety": safety, "steps": steps}
    return place, configuration, recovery.model_copy(update=plan)


def resume(work: Path | None, passphrase: str | None, how: How) -> None:
    """Continue the recovery in the working directory; raises what `begin` raises, and `ProgressError`."""
    progress = ProgressFile(_directory(work))
    progress.read()  # no directory is made where nothing was begun
    with progress.held():
        recovery = progress.read()
        if recovery.is_rehearsal:
            raise ProgressError(
                "A rehearsal cannot be resumed: its scratch places are gone.",
                code="RECOVERY_UNKNOWN",
                hint="Run it again: coffre recover --kit DIR --rehearse",
            )
        keys = tuple(key for one in recovery.identities for key in identities_in(one, passphrase))
        choice = VaultChoice(
            recovery.copy_address,
            identities=recovery.identities,
            endpoint_url=recovery.endpoint_url,
            region=recovery.region,
        )
        place = open_copy(choice, keys)
        done = sum(step.state is StepState.DONE for step in recovery.steps)
        if not how.as_json:
            say(f"Resuming the recovery of {recovery.began_at:%Y-%m-%d %H:%M} UTC: {done} of its steps are done.")
        configuration = configuration_in(Path(recovery.kit) if recovery.kit else None, place)
        recovery = taken_up(recovery, how.notify)
        recovery = _carried_out(progress, place, configuration, recovery, how)
    _end(progress, recovery, how)


def _steps(
    place: StandaloneVault, look: CopyLook, configuration: Configuration | None, wanted: Wanted
) -> tuple[tuple[Step, ...], str | None]:
    """Return the steps, and where destinations in use are backed up: a person is asked for it, if one is."""
    if wanted.safety is not None:
        next(iter(open_store(VaultChoice(wanted.safety)).list()), None)  # it has to answer before anything begins
    try:
        return make_steps(place, look, configuration, wanted), wanted.safety
    except DestinationError as error:
        if error.code != NOT_EMPTY or wanted.safety is not None or not is_interactive():
            raise
        show_error(error)
        say("It can be backed up and then replaced. Where to (directory:DIR, s3://BUCKET/PREFIX)? Empty: stop.")
        answer = str(typer.prompt("Backup", err=True, default="", show_default=False)).strip()
        if not answer:
            raise typer.Exit(Exit.FAILED) from None
        return _steps(place, look, configuration, replace(wanted, safety=answer))


def _directory(work: Path | None) -> Path:
    return (work or Path(_WORK)).expanduser().absolute()


def _confirm(recovery: Recovery, how: How) -> None:
    if how.yes or how.is_rehearsal:
        return
    refuse_without_terminal("the destinations")
    waiting = [step for step in recovery.steps if step.state is StepState.WAITING]
    ask_name(waiting[0].target)
    if any(step.replaces or (step.kind is StepKind.SETTINGS and not step.is_new) for step in waiting):
        count_down()


def _carried_out(
    progress: ProgressFile, place: StandaloneVault, configuration: Configuration | None, recovery: Recovery, how: How
) -> Recovery:
    progress.write(recovery)
    with _ground(progress, recovery, how) as ground:
        run = Run(place, progress, ground, configuration, how.streams, how.as_json)
        recovery = carry_out(run, recovery)
    progress.write_page(page_of(recovery))
    return recovery


@contextmanager
def _ground(progress: ProgressFile, recovery: Recovery, how: How) -> Iterator[Ground]:
    if not recovery.is_rehearsal:
        yield NamedGround()
        return
    with scratch_ground(progress.directory, how.scratch, recovery.steps) as ground:
        yield ground


def _answer_plan(recovery: Recovery, how: How) -> None:
    if how.as_json:
        print_json(recovery.model_dump(mode="json"))
    else:
        say("Nothing was changed.")


def _end(progress: ProgressFile, recovery: Recovery, how: How) -> None:
    """Say how it ended, and exit with its status."""
    good = is_complete(recovery)
    if how.as_json:
        print_json({**recovery.model_dump(mode="json"), "rto_seconds": recovery.rto_seconds, "is_complete": good})
    else:
        say(sentence_of(recovery), style="bold green" if good and not recovery.is_late else "bold red")
        say(f"The report: {progress.page} and {progress.file}")
        if not good and not recovery.is_rehearsal:
            say("Correct what is named above, and continue:")
            say_command(f"coffre recover --resume --work {progress.directory}")
    if not good or recovery.is_late:
        raise typer.Exit(Exit.FAILED)
    if has_exceptions(recovery):
        raise typer.Exit(Exit.EXCEPTIONS)
