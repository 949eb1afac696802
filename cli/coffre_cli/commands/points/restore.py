"""`coffre restore point`: the database of a restore point, and then its objects."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace as replace_to
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final

import typer

from coffre.model.kinds import Mode, TargetKind
from coffre.model.words import counted
from coffre_cli.commands.points.show import dangling_of, point_json, references_line, show_dangling, state_of
from coffre_cli.commands.restore.object_options import ObjectChoices
from coffre_cli.commands.restore.options import (
    DryRunOption,
    How,
    StreamsOption,
    ToNewDatabase,
    Which,
    YesOption,
    destination_of,
    refuse,
    scope_of,
)
from coffre_cli.commands.restore.run_database import run_database
from coffre_cli.commands.restore.run_objects import run_objects
from coffre_cli.examples import examples
from coffre_cli.exit_status import Exit
from coffre_cli.reading import VAULT, FromOption, find_reading_place
from coffre_cli.screen import print_json, remark, say, say_command
from coffre_cli.stack_options import JsonOption, StackOption
from coffre_cli.standalone import StandaloneVault

if TYPE_CHECKING:
    from coffre.model.points import PointPart, PointRecord
    from coffre_cli.place import Place

EXAMPLES: Final = examples(
    "coffre restore point latest --to env:DESTINATION --to-bucket files-for-tests",
    "coffre restore point shop --to env:DESTINATION --to-bucket files-for-tests/copy --dry-run",
    "coffre restore point latest --from offsite --to env:DESTINATION --to-bucket files-for-tests",
    "coffre restore point 01K9X... --replace --mode overwrite --dry-run",
)


def restore_point(
    wanted: Annotated[
        str,
        typer.Argument(metavar="ID|NAME", help="The id of a restore point, the name of one (its newest), or `latest`."),
    ],
    to: ToNewDatabase = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace the target's database. The old one is kept under another name.")
    ] = False,
    to_bucket: Annotated[
        str | None,
        typer.Option("--to-bucket", metavar="BUCKET[/PREFIX]", help="Where the objects go. Default: where they were."),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            metavar="FILE|env:NAME|SECRET",
            help="Another store for the objects, as JSON with endpoint, region, access_key_id and secret_access_key.",
        ),
    ] = None,
    mode: Annotated[
        Mode | None, typer.Option(help="Existing objects: as for `coffre restore objects`. Default: missing.")
    ] = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    streams: StreamsOption = None,
    source: FromOption = None,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Restore the database of a restore point, and then the objects of its buckets.

    The database comes first: if it fails, no object is written. References that lead to no object are named at the end,
    objects that differ and were not overwritten are counted, and the exit status is 4. With --json each restore is one
    document, and the point is the last.
    """
    refuse(_problems(to=to, replace=replace))
    choices = ObjectChoices(
        to=to_bucket,
        bucket=None,
        prefix=None,
        keys=(),
        keys_from=None,
        mode=mode,
        store=store,
        retry=None,
        no_safety=False,
        dry_run=dry_run,
    )
    choices.refuse()
    place = find_reading_place(stack, source)
    point = _whole_point(place, wanted, source)
    dangling = dangling_of(place, point) if point.dangling else []
    if not as_json:
        say(f"Restore point {point.id} of {point.name}, taken {point.taken_at:%Y-%m-%d %H:%M:%S} UTC.")
    how = How(streams, yes, as_json)
    scope = scope_of(replace=replace, dry_run=dry_run)
    database = point.database.backup_id
    statuses = [
        _status(
            lambda: run_database(
                Which(database, None, stack, place=place, source=source), scope, destination_of(to), how
            )
        )
    ]
    if statuses[0] not in (Exit.DONE, Exit.EXCEPTIONS):
        _stop(place, point, choices, source, as_json=as_json)
    left: list[int] = []
    for part in point.buckets:
        which = Which(part.backup_id, None, stack, TargetKind.BUCKET, place, source)
        own = _apart(choices, point, part)
        statuses.append(_status(partial(run_objects, which, own, how, lambda found: left.append(found.left.count))))
    if as_json:
        named = [{"name": name, "why": why} for name, why in dangling]
        print_json({**point_json(place, point), "dangling_references": named, "left": sum(left)})
    else:
        say(f"Restore point {point.id}: {references_line(point)}.")
        show_dangling(dangling)
        _show_left(sum(left), dry_run=dry_run)
    _end(statuses, is_in_part=bool(dangling) or sum(left) > 0)


def _whole_point(place: Place, wanted: str, source: str | None) -> PointRecord:
    """Return the restore point that is meant, if all of it is where it is read."""
    from coffre.operations.points.find import find_point, missing_in_copy

    if source in (None, VAULT) or isinstance(place, StandaloneVault):
        point = find_point(place.catalog, wanted)
        state, why = state_of(place, point)
        missing = why if state == "not whole" else []
        for damage in why if state == "damaged" else ():
            remark(f"The restore point {point.id}: {damage}")
    else:
        in_copy = partial(missing_in_copy, place.catalog, source=source)
        point = find_point(place.catalog, wanted, in_copy)
        missing = in_copy(point)
    if missing:
        raise typer.BadParameter(f"the restore point {point.id} is not whole: {'; '.join(missing)}")
    return point


def _apart(choices: ObjectChoices, point: PointRecord, part: PointPart) -> ObjectChoices:
    """Return the choices for one part: objects of several targets must not meet in one place."""
    to = f"{choices.to}/{part.target}" if choices.to and len(point.buckets) > 1 else choices.to
    return replace_to(choices, to=to)


def _options_of(choices: ObjectChoices, source: str | None) -> str:
    given = {"--to": choices.to, "--store": choices.store, "--mode": choices.mode, "--from": source}
    return "".join(f" {option} {shlex.quote(value)}" for option, value in given.items() if value is not None)


def _show_left(left: int, *, dry_run: bool) -> None:
    if left:
        would = "would stay" if dry_run else "stayed"
        said = (
            f"{counted(left, 'object')} at the destination {'differs' if left == 1 else 'differ'} from the point, and"
        )
        say(f"  {said} {would}: rows can refer to other versions. --mode overwrite replaces them.", style="yellow")


def _end(statuses: Sequence[int], *, is_in_part: bool) -> None:
    """End with the status of the first restore that failed, or say that something is left out."""
    failed = [status for status in statuses if status not in (Exit.DONE, Exit.EXCEPTIONS)]
    if failed:
        raise typer.Exit(failed[0])
    if is_in_part or Exit.EXCEPTIONS in statuses:
        raise typer.Exit(Exit.EXCEPTIONS)


def _problems(*, to: str | None, replace: bool) -> Iterator[str]:
    if not replace and to is None:
        yield "say where to: --to for a new or empty database, or --replace for the target's own database"
    if replace and to is not None:
        yield "--to and --replace exclude each other here: a point replaces the target's own database"


def _status(work: Callable[[], None]) -> int:
    """Do one restore, and return the exit status that it ends with."""
    try:
        work()
    except typer.Exit as ended:
        return ended.exit_code
    return Exit.DONE


def _stop(place: Place, point: PointRecord, choices: ObjectChoices, source: str | None, *, as_json: bool) -> None:
    """End after the database's restore failed: objects are of no use without their rows."""
    command = place.command if isinstance(place, StandaloneVault) else "coffre"
    if not as_json:
        remark("No object was restored, because the database was not. Run this again, or restore them alone:")
        for part in point.buckets:
            options = _options_of(_apart(choices, point, part), source)
            say_command(f"{command} restore objects {part.backup_id}{options}")
    raise typer.Exit(Exit.FAILED)
