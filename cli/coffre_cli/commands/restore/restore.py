"""`coffre restore`: restore a backup, or some of its tables, rows or objects."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from coffre.model.errors import CoffreError
from coffre.model.kinds import Contents, Mode, TargetKind
from coffre_cli.backup_argument import BackupId, resolve_backup
from coffre_cli.commands.restore.confirm_restore import confirm
from coffre_cli.commands.restore.database_options import Choices
from coffre_cli.commands.restore.database_result import Ask, show_result
from coffre_cli.commands.restore.destination import destination_secret
from coffre_cli.commands.restore.follow_restore import end_restore, plan_restore, run_restore
from coffre_cli.commands.restore.object_options import ObjectChoices
from coffre_cli.commands.restore.objects import restore_objects
from coffre_cli.commands.restore.safety import NoSafetyOption
from coffre_cli.confirming import Confirmed, PlanAnswer
from coffre_cli.deployed import DeployedStack, JsonOption, StackOption
from coffre_cli.examples import examples
from coffre_cli.place import Place, find_place
from coffre_cli.screen import remark
from coffre_cli.standalone import StandaloneVault

if TYPE_CHECKING:
    from coffre.model.backup import Backup, Restore, RestoreReport
    from coffre.model.safety import Safety

EXAMPLES = examples(
    "coffre restore latest --to postgresql://postgres:SECRET@db.example.com/new",
    "DESTINATION=postgresql://... coffre restore 01K9X... --to env:DESTINATION",
    "coffre restore latest --table orders",
    "coffre restore latest -t orders --where-column day --from 2026-11-17",
    "coffre restore latest --replace --dry-run",
    "coffre restore latest --target uploads --prefix 2026/invoices/",
    "coffre restore 01K9X... --key photos/cat.jpg --to bucket-for-tests",
)


def restore(
    backup_id: BackupId,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="URL|env:NAME|SECRET",
            help="The database to restore into: a postgresql:// URL, a variable that holds one (keeps the password out "
            "of your shell's history), or the name of a secret below coffre/destination/. Default for tables, rows and "
            "--replace: the target's own database. Objects: BUCKET or BUCKET/PREFIX; default: where they were.",
        ),
    ] = None,
    table: Annotated[
        list[str] | None,
        typer.Option("--table", "-t", metavar="PATTERN", help="Only these tables (orders, app.*); may be repeated."),
    ] = None,
    schema: Annotated[
        list[str] | None, typer.Option("--schema", "-n", metavar="PATTERN", help="Only the tables of these schemas.")
    ] = None,
    with_dependencies: Annotated[
        bool,
        typer.Option(
            "--with-dependencies",
            help="For a missing table, also restore the types and functions that it needs, and the views, foreign keys "
            "and policies that were dropped with it.",
        ),
    ] = False,
    where_column: Annotated[
        str | None,
        typer.Option("--where-column", metavar="COLUMN", help="Only rows with values of this column in a period."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="VALUE", help="With --where-column: the first value, such as 2026-11-17 (times in UTC)."
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="VALUE", help="With --where-column: the first value that is not restored."),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option("--where", metavar="SQL", help='Only rows for which this SQL is true, for experts: "total < 0".'),
    ] = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Insert missing rows and reset changed ones, after the comparison.")
    ] = False,
    replace_: Annotated[
        bool,
        typer.Option(
            "--replace",
            help="Replace the whole database (the old one is kept under another name), or with --table its rows.",
        ),
    ] = False,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Stop at the first object that the server refuses, instead of leaving it out."),
    ] = False,
    no_analyze: Annotated[
        bool,
        typer.Option("--no-analyze", help="Whole restores: do not collect planner statistics afterwards."),
    ] = False,
    restart: Annotated[
        bool,
        typer.Option(
            "--restart", help="Remove what an earlier, unfinished restore left in the destination, and start again."
        ),
    ] = False,
    accept_exceptions: Annotated[
        bool,
        typer.Option(
            "--accept-exceptions", help="With --replace: replace the database even if the restored one is incomplete."
        ),
    ] = False,
    swap: Annotated[
        str | None,
        typer.Option(
            "--swap",
            metavar="RESTORE",
            help="With --replace: swap in the database that this earlier restore built and kept.",
        ),
    ] = None,
    contents: Annotated[
        Contents, typer.Option(help="Whole restores: everything, definitions only, or rows only.")
    ] = Contents.FULL,
    bucket: Annotated[
        str | None, typer.Option("--bucket", metavar="NAME", help="Objects: only those of this bucket.")
    ] = None,
    prefix: Annotated[
        str | None, typer.Option("--prefix", help="Objects: only those whose keys start with this.")
    ] = None,
    key: Annotated[
        list[str] | None, typer.Option("--key", "-k", help="Objects: only the one with this key; may be repeated.")
    ] = None,
    keys_from: Annotated[
        str | None, typer.Option("--keys-from", metavar="FILE|-", help="Objects: only those in a file, one key a line.")
    ] = None,
    mode: Annotated[
        Mode | None,
        typer.Option(
            help="Existing objects: missing keeps them (default), overwrite replaces those that differ, mirror also "
            "deletes those that the backup does not have."
        ),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            metavar="FILE|env:NAME|SECRET",
            help="Objects: another store, as JSON with endpoint, region, access_key_id and secret_access_key.",
        ),
    ] = None,
    retry: Annotated[
        str | None,
        typer.Option(
            "--retry", metavar="RESTORE", help="Objects: only those that this earlier restore failed to restore."
        ),
    ] = None,
    no_safety: NoSafetyOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Confirm the plan without asking.")] = False,
    streams: Annotated[
        int | None, typer.Option(min=1, max=16, help="Number of parallel connections. Default: one for each core.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="With `latest`: of which target.")] = None,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Restore a backup into a new database, or restore some of its tables, rows or objects.

    A whole restore needs a database that does not exist yet (it is created) or is empty; any other is refused. Objects
    that the server refuses are left out and listed with the SQL that creates them later; everything else is restored,
    and the exit status is 4. With --strict the first refusal stops the restore.

    Tables (--table) are restored into the target's own database. A missing table is restored under its own name. For an
    existing table, the backup's version is loaded into a staging schema and compared by key. Tables in use are changed
    only with --apply or --replace.

    What overwrites is planned first: the plan is shown, the name of what is overwritten is typed, and ten seconds later
    it starts. --yes confirms the plan as it is.

    Objects of a backup of buckets are restored to their own buckets, to another bucket (--to) or to another store
    (--store). Existing objects are changed only with --mode overwrite or mirror.
    """
    choices = Choices(
        to=to,
        tables=tuple(table or ()),
        schemas=tuple(schema or ()),
        with_dependencies=with_dependencies,
        where_column=where_column,
        since=since,
        until=until,
        where=where,
        apply=apply,
        replace=replace_,
        strict=strict,
        analyze=not no_analyze,
        restart=restart,
        accept_exceptions=accept_exceptions,
        swap=swap,
        contents=contents,
        no_safety=no_safety,
        dry_run=dry_run,
    )
    objects = ObjectChoices(
        to=to,
        bucket=bucket,
        prefix=prefix,
        keys=tuple(key or ()),
        keys_from=keys_from,
        mode=mode,
        store=store,
        retry=retry,
        no_safety=no_safety,
        dry_run=dry_run,
    )
    _refuse_early(choices, objects)
    try:
        deployed, backup = _find(backup_id, target, stack)
    except CoffreError as error:
        raise (choices.problem or error) from None
    _refuse_of_this_kind(backup, choices, objects)
    if backup.kind is TargetKind.BUCKET:
        restore_objects(deployed, backup, objects, streams, yes=yes, as_json=as_json)
        return
    ask = Ask(backup, choices.scope(), choices.destination)
    if isinstance(deployed, StandaloneVault):
        ask = replace(ask, command=deployed.command, has_stack=False)
    confirmed = None
    if ask.scope.overwrites and not dry_run:
        way, confirmed = confirm(_Way(deployed, ask), yes=yes, as_json=as_json)
        ask = way.ask
    record, report = _run(deployed, ask, streams, confirmed, quiet=as_json)
    if report is not None and not (ask.has_stack or dry_run):
        from coffre_cli.commands.restore.without_stack import keep_report

        ask = replace(ask, report=keep_report(report))
    end_restore(record, report, lambda: show_result(ask, record, report), as_json=as_json, safety=ask.safety)


def _refuse_early(choices: Choices, objects: ObjectChoices) -> None:
    """Refuse what is wrong for either kind of backup, before anything is asked."""
    if choices.given is not None and objects.given is not None:
        raise typer.BadParameter(f"{choices.given} is for databases, {objects.given} for buckets")
    wrong = objects if objects.given else choices if choices.given else None
    if wrong is not None and wrong.problem is not None:
        raise wrong.problem


def _refuse_of_this_kind(backup: Backup, choices: Choices, objects: ObjectChoices) -> None:
    """Refuse what is wrong for a backup of this kind."""
    is_bucket = backup.kind is TargetKind.BUCKET
    option = choices.given if is_bucket else objects.given
    if option is not None:
        other = "databases, and this is a backup of buckets" if is_bucket else "buckets, and this is one of a database"
        raise typer.BadParameter(f"{option} is for backups of {other}: {backup.id}")
    problem = objects.problem if is_bucket else choices.problem
    if problem is not None:
        raise problem


def _find(backup_id: str, target: str | None, stack: str | None) -> tuple[Place, Backup]:
    from coffre.operations.stored_backup.open import refuse_unrestorable

    deployed = find_place(stack)
    backup = resolve_backup(deployed, backup_id, target)
    refuse_unrestorable(backup)
    if backup.damaged_at is not None:
        remark(f"This backup is DAMAGED. The restore stops if it needs the lost data: {backup.damage}")
    return deployed, backup


@dataclass(frozen=True)
class _Way:
    """How a restore of a database is planned and shown (`confirm_restore.Way`)."""

    place: Place
    ask: Ask
    changes: str = "a database in use"
    kind: TargetKind = TargetKind.DATABASE

    @property
    def _trial(self) -> Ask:
        return replace(self.ask, scope=self.ask.scope.model_copy(update={"dry_run": True}))

    def plan(self, *, quiet: bool) -> tuple[Restore, RestoreReport | None, PlanAnswer | None]:
        if isinstance(self.place, StandaloneVault):
            return *_run(self.place, self._trial, None, None, quiet=quiet), None
        with _event_of(self.place, self._trial, None) as event:
            return plan_restore(self.place, self.ask.backup, event, quiet=quiet)

    def show(self, record: Restore, report: RestoreReport | None) -> None:
        show_result(self._trial, record, report)

    def with_safety(self, safety: Safety | None, *, is_declined: bool) -> Self:
        scope = self.ask.scope.model_copy(update={"no_safety": is_declined or self.ask.scope.no_safety})
        return replace(self, ask=replace(self.ask, scope=scope, safety=safety))


@contextmanager
def _event_of(deployed: DeployedStack, ask: Ask, streams: int | None) -> Iterator[dict[str, Any]]:
    """Yield the event of a restore, with a secret for its destination that exists meanwhile."""
    from ulid import ULID

    from coffre_cli.follow import continues_in_stack

    restore_id = str(ULID())
    with continues_in_stack(restore_id), destination_secret(deployed, ask.wanted, restore_id) as reference:
        event = {"destination": reference, "restore_id": restore_id, "streams": streams}
        yield event | ask.scope.model_dump(mode="json", exclude_defaults=True)


def _run(
    deployed: Place, ask: Ask, streams: int | None, confirmed: Confirmed | None, *, quiet: bool
) -> tuple[Restore, RestoreReport | None]:
    if isinstance(deployed, StandaloneVault):
        from coffre_cli.commands.restore.without_stack import restore_database_here

        return restore_database_here(deployed, ask, streams, confirmed, quiet=quiet)
    with _event_of(deployed, ask, streams) as event:
        event["confirmation"] = confirmed.in_event if confirmed else None
        return run_restore(deployed, ask.backup, event, dry_run=ask.scope.dry_run, quiet=quiet)
