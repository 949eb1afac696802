"""How a recovery begins, is confirmed, carried out, resumed and reported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from ulid import ULID

from coffre import __version__
from coffre.model.errors import BackupStateError, DestinationError
from coffre.model.recovery import Recovery, Step, StepKind, StepState
from coffre.operations.points.find import whole_points
from coffre.policy.recovery import CopyLook, choose_copy, has_exceptions, is_complete, sentence_of, taken_up
from coffre_cli.backup_argument import until_of
from coffre_cli.commands.points.show import references_line
from coffre_cli.commands.recover.destinations import parse_pairs, unknown_targets
from coffre_cli.commands.recover.ground import Ground, NamedGround, scratch_ground
from coffre_cli.commands.recover.journal import Journal, JournalError
from coffre_cli.commands.recover.kit import Start, configuration_in, find_start, identities_in
from coffre_cli.commands.recover.look import Sought, look_safely, open_copy
from coffre_cli.commands.recover.notify import address_of
from coffre_cli.commands.recover.plan import NOT_EMPTY, Wanted, default_limit, make_steps, with_answers
from coffre_cli.commands.recover.plan_shown import show_plan
from coffre_cli.commands.recover.rehearsal import note_rehearsal
from coffre_cli.commands.recover.report import page_of
from coffre_cli.commands.recover.steps import Run, carry_out
from coffre_cli.confirming import ask_name, count_down, is_interactive, refuse_without_terminal
from coffre_cli.exits import Exit
from coffre_cli.screen import print_json, say, say_command, show_error
from coffre_cli.standalone import open_store
from coffre_cli.vault_choice import VaultChoice

if TYPE_CHECKING:
    from coffre.model.configuration import Configuration
    from coffre.model.points import PointRecord
    from coffre_cli.commands.keys.kit_facts import ContactFacts
    from coffre_cli.standalone import StandaloneVault

_WORK = "coffre-recovery"
_POINTS_SHOWN = 5


@dataclass(frozen=True)
class Source:
    """The options that lead to the copies and the keys."""

    kit: Path | None
    addresses: tuple[str, ...]
    endpoint_url: str | None
    identities: tuple[str, ...]
    passphrase: str | None

    def start(self) -> Start:
        """Return what they lead to; raises what `find_start` raises."""
        return find_start(self.kit, self.addresses, self.endpoint_url, self.identities, self.passphrase)


@dataclass(frozen=True)
class Choice:
    """The options that say what is restored, and where to. `until`: nothing that was taken later is chosen.

    `safety`: where the contents of destinations in use are backed up before they are replaced.
    `point`: the targets of this restore point are restored as of it.
    """

    to: dict[str, str]
    stores: dict[str, str]
    targets: tuple[str, ...]
    until: datetime | None
    limit_minutes: float | None
    point: str | None = None
    safety: str | None = None


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


def choice_of(
    to: Sequence[str],
    store: Sequence[str],
    targets: Sequence[str],
    at: str | None,
    limit: float | None,
    point: str | None = None,
    safety: str | None = None,
) -> Choice:
    """Return the options that say what is restored; raises what their forms are refused with."""
    until = until_of(at) if at else None
    return Choice(parse_pairs(to, "--to"), parse_pairs(store, "--store"), tuple(targets), until, limit, point, safety)


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
    journal = Journal(_directory(work))
    if not how.dry_run:
        journal.refuse_unfinished()
    start = source.start()
    place, look, recovery = _chosen(start, choice, began)
    configuration = configuration_in(start.kit, place)
    unknown_targets(choice.to, sorted(look.found), "--to")
    unknown_targets(choice.stores, sorted(look.found), "--store")
    wanted = with_answers(Wanted(choice.to, choice.stores, how.is_rehearsal, how.notify, choice.safety), look)
    steps, safety = _steps(place, look, configuration, wanted)
    limit = choice.limit_minutes * 60 if choice.limit_minutes else default_limit(configuration, [*look.found])
    plan = {
        "is_rehearsal": how.is_rehearsal,
        "limit_seconds": limit,
        "safety": safety,
        "steps": steps,
    }
    recovery = recovery.model_copy(update=plan)
    if not any(step.state is StepState.WAITING and step.backup_id for step in recovery.steps):
        raise typer.BadParameter("nothing would be restored: every target was left out")
    if not how.as_json:
        show_plan(recovery)
    if how.dry_run:
        _answer_plan(recovery, how)
        return
    with journal.held():
        journal.refuse_unfinished()  # again, for another run may have begun meanwhile
        _confirm(recovery, how)
        recovery = recovery.model_copy(update={"confirmed_at": datetime.now(UTC)})
        recovery = _carried_out(journal, place, configuration, recovery, how)
    if how.stack is not None:
        note_rehearsal(how.stack, recovery)
    _end(journal, recovery, how)


def resume(work: Path | None, passphrase: str | None, how: How) -> None:
    """Continue the recovery in the working directory; raises what `begin` raises, and `JournalError`."""
    journal = Journal(_directory(work))
    journal.read()  # no directory is made where nothing was begun
    with journal.held():
        recovery = journal.read()
        if recovery.is_rehearsal:
            raise JournalError(
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
        recovery = _carried_out(journal, place, configuration, recovery, how)
    _end(journal, recovery, how)


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


def _chosen(start: Start, choice: Choice, began: datetime) -> tuple[StandaloneVault, CopyLook, Recovery]:
    """Look at all copies, and choose one."""
    known = tuple(one.name for one in start.facts.targets) if start.facts else ()
    sought = Sought(choice.targets, choice.targets or known, choice.until, choice.point)
    seen = [look_safely(one, start.identities, sought) for one in start.choices]
    chosen = choose_copy([look for _, look in seen])
    if chosen is None:
        said = [look.error or " ".join(look.lacking.values()) for _, look in seen]
        raise BackupStateError(
            "No copy has a backup that can be restored.",
            code="NOTHING_TO_RECOVER",
            detail="\n".join(f"{look.address}: {why}" for (_, look), why in zip(seen, said, strict=True)),
            hint="Name another copy: --from ADDRESS. Is the disk mounted? Do the credentials of this machine belong to "
            "the copy's account?",
        )
    place = next(place for place, look in seen if look is chosen.look and place is not None)
    recovery = Recovery(
        id=str(ULID()),
        coffre_version=__version__,
        began_at=began,
        copy_address=place.choice.place,
        endpoint_url=place.choice.endpoint_url,
        region=place.choice.region,
        why=chosen.why,
        others=chosen.others,
        point=_point_words(chosen.look.point),
        points=tuple(_points_of(place)),
        kit=str(start.kit.absolute()) if start.kit else None,
        identities=start.identity_places,
        contacts=tuple(_called(one) for one in start.facts.contacts) if start.facts else (),
    )
    return place, chosen.look, recovery


def _point_words(point: PointRecord | None) -> str:
    if point is None:
        return ""
    taken = f"{point.taken_at:%Y-%m-%d %H:%M:%S} UTC"
    return f"The restore point {point.id} of {point.name}, taken {taken}: {references_line(point)}."


def _points_of(place: StandaloneVault) -> Iterator[str]:
    """Yield the newest restore points that a copy can restore."""
    for point in islice(whole_points(place.catalog), _POINTS_SHOWN):
        targets = ", ".join(part.target for part in point.parts)
        yield f"{point.id} of {point.name}, taken {point.taken_at:%Y-%m-%d %H:%M} UTC: {targets}"


def _called(contact: ContactFacts) -> str:
    return ", ".join(filter(None, (contact.name, contact.role, contact.phone, contact.mail)))


def _confirm(recovery: Recovery, how: How) -> None:
    if how.yes or how.is_rehearsal:
        return
    refuse_without_terminal("the destinations")
    waiting = [step for step in recovery.steps if step.state is StepState.WAITING]
    ask_name(waiting[0].target)
    if any(step.replaces or (step.kind is StepKind.SETTINGS and not step.is_new) for step in waiting):
        count_down()


def _carried_out(
    journal: Journal, place: StandaloneVault, configuration: Configuration | None, recovery: Recovery, how: How
) -> Recovery:
    journal.write(recovery)
    with _ground(journal, recovery, how) as ground:
        run = Run(place, journal, ground, configuration, how.streams, how.as_json)
        recovery = carry_out(run, recovery)
    journal.write_page(page_of(recovery))
    return recovery


@contextmanager
def _ground(journal: Journal, recovery: Recovery, how: How) -> Iterator[Ground]:
    if not recovery.is_rehearsal:
        yield NamedGround()
        return
    with scratch_ground(journal.directory, how.scratch, recovery.steps) as ground:
        yield ground


def _answer_plan(recovery: Recovery, how: How) -> None:
    if how.as_json:
        print_json(recovery.model_dump(mode="json"))
    else:
        say("Nothing was changed.")


def _end(journal: Journal, recovery: Recovery, how: How) -> None:
    """Say how it ended, and exit with its status."""
    good = is_complete(recovery)
    if how.as_json:
        print_json({**recovery.model_dump(mode="json"), "rto_seconds": recovery.rto_seconds, "is_complete": good})
    else:
        say(sentence_of(recovery), style="bold green" if good and not recovery.is_late else "bold red")
        say(f"The report: {journal.page} and {journal.file}")
        if not good and not recovery.is_rehearsal:
            say("Correct what is named above, and continue:")
            say_command(f"coffre recover --resume --work {journal.directory}")
    if not good or recovery.is_late:
        raise typer.Exit(Exit.FAILED)
    if has_exceptions(recovery):
        raise typer.Exit(Exit.EXCEPTIONS)
