"""The plan of a recovery: which backups, where to, how long, and what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import typer
from ulid import ULID

from coffre.model.errors import CoffreError, DestinationError
from coffre.model.kinds import TargetKind
from coffre.model.names import visible
from coffre.model.recovery import KIND_OF, Step, StepKind, StepState
from coffre.model.restore import Scope
from coffre.operations.points.find import dangling_references
from coffre.operations.stored_backup.open_backup import open_manifest
from coffre.policy.recovery import CopyLook, Found, estimated, in_order
from coffre_cli.commands.recover.destinations import (
    HOW_BUCKET,
    HOW_DATABASE,
    HOW_SETTINGS,
    bucket_place_of,
    check_reference,
    connection_of,
    is_used,
    put_away,
    refuse_used,
)
from coffre_cli.commands.recover.safety import REPLACE, needs_safety, safety_step, stakes_in_use
from coffre_cli.commands.recover.settings import plan_settings
from coffre_cli.commands.recover.steps import checks_of
from coffre_cli.commands.restore.database_result import Ask
from coffre_cli.commands.restore.destination import DestinationChoice
from coffre_cli.commands.restore.without_stack import restore_database_here
from coffre_cli.confirming import is_interactive, loss_of
from coffre_cli.screen import say

if TYPE_CHECKING:
    from pathlib import Path

    from coffre.model.backup import Backup
    from coffre.model.configuration import Configuration
    from coffre_cli.standalone import StandaloneVault

# With the passphrase and the name that confirms, a person types at most ten things.
_MOST_QUESTIONS = 8
NOT_EMPTY = "DESTINATION_NOT_EMPTY"
NOTIFY_STEP = "notify"
_NAMED = 20


@dataclass(frozen=True)
class Wanted:
    """Where targets are to go, as the person said: references by target.

    `safety` is the address of a vault: destinations in use are backed up to it, and replaced. None: they are refused.
    """

    to: Mapping[str, str]
    stores: Mapping[str, str]
    is_rehearsal: bool
    notify: str | None
    safety: str | None = None


def with_answers(wanted: Wanted, look: CopyLook) -> Wanted:
    """Return the destinations, of which a person was asked for those that are missing.

    An empty answer leaves the target out.

    Raises
    ------
    typer.BadParameter
        No one can be asked, or there would be too many questions.
    """
    asked = [name for name, found in sorted(look.found.items()) if found.backup.kind in KIND_OF]
    missing = [name for name in asked if name not in wanted.to]
    if wanted.is_rehearsal or not missing:
        return wanted
    if not is_interactive() or len(missing) > _MOST_QUESTIONS:
        raise typer.BadParameter(
            f"say where to: --to {missing[0]}=WHERE (and {', '.join(missing[1:]) or 'no other'}); leave targets out "
            "with --target"
        )
    say("Where is each target restored to? An empty answer leaves it out.")
    answers = {name: _asked(name, look.found[name].backup.kind) for name in missing}
    return replace(wanted, to={**wanted.to, **answers})


def _asked(target: str, kind: TargetKind) -> str:
    how = {TargetKind.DATABASE: HOW_DATABASE, TargetKind.SETTINGS: HOW_SETTINGS}.get(kind, HOW_BUCKET)
    answer = str(typer.prompt(f"{target} ({how})", err=True, default="", show_default=False)).strip()
    if answer:
        check_reference(target, kind, answer)
    return answer


def make_steps(
    place: StandaloneVault, look: CopyLook, configuration: Configuration | None, wanted: Wanted
) -> tuple[Step, ...]:
    """Return the steps in their order. Each destination is looked at; nothing is changed.

    Raises
    ------
    CoffreError
        A destination cannot be used, or is in use.
    """
    steps = list(_all_steps(place, look, wanted))
    steps += [safety_step(step) for step in steps if needs_safety(step)]
    steps += [_check(step) for step in steps if _has_checks(step, configuration)]
    steps += [_lacking(name, why) for name, why in look.lacking.items()]
    if wanted.notify:
        steps.append(Step(name=NOTIFY_STEP, kind=StepKind.NOTIFY, target="", reference=wanted.notify))
    return in_order(steps)


def _all_steps(place: StandaloneVault, look: CopyLook, wanted: Wanted) -> Iterator[Step]:
    """Yield the step of each target; in the end raise what is wrong with destinations, all of it together."""
    errors: list[CoffreError] = []
    points = {one.backup.point for one in look.found.values() if one.backup.kind is TargetKind.DATABASE} - {None}
    for name, found in sorted(look.found.items(), key=lambda item: (item[1].backup.kind != "database", item[0])):
        try:
            yield _step(place, name, found, wanted, points)
        except CoffreError as error:
            errors.append(error)
    if errors:
        first, *others = errors
        said = [first.detail, *(f"{other.message} [{other.code}] {other.hint or ''}" for other in others)]
        first.detail = "\n".join(filter(None, said)) or None
        raise first


def _lacking(name: str, why: str) -> Step:
    return Step(name=f"restore {name}", kind=StepKind.OTHER, target=name, state=StepState.LEFT_OUT, problem=why)


def _has_checks(step: Step, configuration: Configuration | None) -> bool:
    is_restored = step.kind is StepKind.DATABASE and step.state is StepState.WAITING
    return is_restored and checks_of(configuration, step.target) is not None


def _check(step: Step) -> Step:
    """Return the step that asks the owner's checks of the database that a step restores."""
    return Step(
        name=f"check {step.target}",
        kind=StepKind.CHECKS,
        target=step.target,
        destination=step.destination,
        reference=step.reference,
        restore_id=step.restore_id,
    )


def _step(place: StandaloneVault, name: str, found: Found, wanted: Wanted, points: Set[str | None]) -> Step:
    backup = found.backup
    dangling = tuple(_dangling(place, backup)) if backup.point in points else ()
    kind = KIND_OF.get(backup.kind, StepKind.OTHER)
    seconds, basis = estimated(kind, found)
    step = Step(
        name=f"restore {name}",
        kind=kind,
        target=name,
        backup_id=backup.id,
        manifest_sha256=backup.manifest_sha256 or "",
        created_at=backup.created_at,
        size_bytes=backup.plaintext_bytes or 0,
        reference=wanted.to.get(name, ""),
        store=wanted.stores.get(name),
        restore_id=str(ULID()),
        dangling=dangling,
        expected_seconds=seconds,
        basis=basis,
        missing=found.passed_over,
    )
    if kind is StepKind.OTHER:
        problem = f"Restore it by its own command, first of all: {place.command} restore {backup.kind.word} {backup.id}"
        return step.model_copy(update={"state": StepState.LEFT_OUT, "problem": problem})
    place.decoder_of(backup)
    if wanted.is_rehearsal:
        return step.model_copy(update={"destination": "a scratch place", "is_new": True})
    if not step.reference:
        return step.model_copy(update={"state": StepState.LEFT_OUT, "problem": "No destination was given."})
    place_of = {StepKind.SETTINGS: plan_settings, StepKind.DATABASE: _database, StepKind.BUCKET: _bucket}
    return place_of[kind](place, step, wanted.safety)


def _dangling(place: StandaloneVault, backup: Backup) -> Iterator[str]:
    """Name objects that rows of the backup's restore point refer to, and that it lacks."""
    if not backup.kind.has_objects:
        return
    found = list(dangling_references(place.vault, backup))
    yield from (f"Rows refer to {visible(name)}, which the backup lacks: {why}" for name, why in found[:_NAMED])
    if len(found) > _NAMED:
        more = f"{len(found) - _NAMED:,} more references dangle"
        yield f"{more}: {place.command} show {backup.point} --json names all"


def _database(place: StandaloneVault, step: Step, safety: str | None) -> Step:
    """Look at the destination by a dry run of the restore; with `safety` one in use is replaced."""
    backup = place.catalog.get_backup(step.backup_id)
    connection = connection_of(step.target, step.reference)
    choice = DestinationChoice(connection, "", "--to")
    asked = Ask(backup, Scope(dry_run=True), choice, place.command, has_stack=False)
    record, report = restore_database_here(place, asked, None, quiet=False)
    replaces = safety is not None and record.failure is not None and record.failure.code == NOT_EMPTY
    if replaces:
        asked = replace(asked, scope=REPLACE.model_copy(update={"dry_run": True}))
        record, report = restore_database_here(place, asked, None, quiet=False)
    if record.failure is not None or report is None:
        failure = record.failure
        raise DestinationError(
            failure.message if failure else f"The restore of {step.target} could not be planned.",
            code=failure.code if failure else None,
            hint=_way_around(failure.code if failure else "") or (failure.hint if failure else None),
        )
    known = set(backup.exceptions)
    lost = loss_of(report.plan.seen.destination, report.plan.seen.overwrites) if report.plan and replaces else ()
    missing = tuple(one for one in record.exceptions if one not in known)
    return step.model_copy(
        update={
            "destination": str(connection),
            "is_new": report.created_database,
            "replaces": replaces,
            "missing": (*step.missing, *lost, *missing),
        }
    )


def _way_around(code: str) -> str | None:
    if code != NOT_EMPTY:
        return None
    return (
        "Nothing was changed: the existing tables have no backup yet. Name a database that does not exist, and switch "
        "your application over; or have it backed up and then replaced (the old one is kept under another name): "
        "--safety directory:DIR"
    )


def _bucket(place: StandaloneVault, step: Step, safety: str | None) -> Step:
    where = bucket_place_of(step.target, step.reference)
    if where.directory is not None:
        return _directory(step, where.directory, safety)
    names = [where.to.partition("/")[0]] if where.to else _own_names(place, step)
    _require(step, names)
    shown = where.to or ", ".join(names)
    store = f" ({step.store})" if step.store else ""
    step = step.model_copy(update={"destination": f"s3://{shown}{store}"})
    in_use = stakes_in_use(place, step) if safety is not None else []
    if not in_use:
        return step
    said = f"Objects below {', '.join(one.shown for one in in_use[:3])} are overwritten where they differ."
    return step.model_copy(update={"replaces": True, "missing": (*step.missing, said)})


def _directory(step: Step, directory: Path, safety: str | None) -> Step:
    """Refuse a directory that has something in it, unless it may be put away under another name."""
    shown = {"destination": f"the directory {directory}", "is_new": True}
    if safety is None:
        refuse_used(directory)
    elif is_used(directory):
        said = f"The directory {directory} is kept as {put_away(directory, step.restore_id).name}."
        return step.model_copy(update={**shown, "is_new": False, "replaces": True, "missing": (*step.missing, said)})
    return step.model_copy(update=shown)


def _own_names(place: StandaloneVault, step: Step) -> list[str]:
    manifest = open_manifest(place.vault, place.catalog.get_backup(step.backup_id))
    return [bucket.name for bucket in manifest.storage.buckets]


def _require(step: Step, names: Sequence[str]) -> None:
    """Refuse buckets that do not exist or are closed to us; raises `BUCKET_MISSING`, `STORE_DENIED` ..."""
    from coffre.buckets.client import make_bucket_client
    from coffre.buckets.writer import BucketWriter
    from coffre_cli.commands.restore.without_stack import store_of

    store, credentials = store_of(step.store)
    with closing(make_bucket_client(store, credentials)) as client:
        for name in names:
            try:
                BucketWriter(client, name, is_aws=store.endpoint is None).require()
            except CoffreError as error:
                if error.code == "BUCKET_MISSING":
                    error.hint = f"Create it first: aws s3 mb s3://{name}. Or name another place: {HOW_BUCKET}."
                raise


def default_limit(configuration: Configuration | None, targets: Sequence[str]) -> float | None:
    """Return the longest time that the configuration allows for one of the targets, in seconds."""
    if configuration is None:
        return None
    minutes = [one.drill.rto_minutes for one in configuration.targets if one.name in targets and one.drill.rto_minutes]
    return max(minutes) * 60.0 if minutes else None
