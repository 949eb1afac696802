"""`coffre restore database`: a whole database, into a new or empty one, or in place of the one in use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated

import typer

from coffre.model.kinds import Contents
from coffre_cli.backup_argument import BackupId
from coffre_cli.commands.restore.moment import AtLsnOption, AtOption, BeforeTransactionOption, moment_of
from coffre_cli.commands.restore.options import (
    DryRunOption,
    How,
    ResumeOption,
    StreamsOption,
    StrictOption,
    TargetOption,
    ToNewDatabase,
    Which,
    YesOption,
    destination_of,
    refuse,
    scope_of,
)
from coffre_cli.commands.restore.run_database import run_database
from coffre_cli.commands.restore.safety import NoSafetyOption
from coffre_cli.examples import examples
from coffre_cli.reading import FromOption
from coffre_cli.stack_options import HereOption, HomeOption, JsonOption, StackOption

EXAMPLES = examples(
    "NEW=postgresql://... coffre restore database latest --to env:NEW",
    "coffre restore database 01K9X... --to postgresql://me:SECRET@db.example/new",
    "coffre restore database 2026-11-17T14:30 --target shop --to env:DESTINATION",
    "coffre restore database latest --to env:DESTINATION --contents schema",
    'coffre restore database latest --to env:NEW --at "2026-11-27 14:29:30"',
    "coffre restore database latest --replace --before-transaction 48213",
    "coffre restore database latest --replace --dry-run",
    "coffre restore database latest --to env:DESTINATION --from offsite",
    "coffre restore database latest --to env:DESTINATION --here  # no time limit",
    "coffre restore database 01K9X... --to env:DESTINATION --resume 01K9Y...",
)


def restore_database(
    backup_id: BackupId,
    to: ToNewDatabase = None,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Replace the target's database. The old one is kept under another name."),
    ] = False,
    at: AtOption = None,
    at_lsn: AtLsnOption = None,
    before_transaction: BeforeTransactionOption = None,
    contents: Annotated[Contents, typer.Option(help="Everything, definitions only, or rows only.")] = Contents.FULL,
    strict: StrictOption = False,
    no_analyze: Annotated[
        bool, typer.Option("--no-analyze", help="Do not collect planner statistics afterwards.")
    ] = False,
    restart: Annotated[
        bool,
        typer.Option(
            "--restart", help="Remove what an earlier, unfinished restore left in the destination, and start again."
        ),
    ] = False,
    resume: ResumeOption = None,
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
    no_safety: NoSafetyOption = False,
    source: FromOption = None,
    here: HereOption = False,
    postgres_home: HomeOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    streams: StreamsOption = None,
    target: TargetOption = None,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Restore a whole database into one that does not exist yet (it is created) or is empty, or replace one.

    A destination with tables is refused. Objects that the server refuses are left out and listed with the SQL that
    creates them later; everything else is restored, and the exit status is 4. With --strict the first refusal stops the
    restore.

    With --at, --at-lsn or --before-transaction the database is restored as it was at a moment that its journal has:
    `latest` then means the last backup before that moment.
    """
    moment = moment_of(at, at_lsn, before_transaction)
    refuse(
        _problems(
            contents,
            to=to,
            swap=swap,
            replace=replace,
            restart=restart,
            resume=resume,
            accept_exceptions=accept_exceptions,
            no_safety=no_safety,
            dry_run=dry_run,
            at=moment,
        )
    )
    scope = scope_of(
        contents=contents,
        at=moment,
        replace=replace,
        strict=strict,
        analyze=not no_analyze,
        restart=restart,
        resume=resume,
        accept_exceptions=accept_exceptions,
        swap=swap,
        no_safety=no_safety,
        dry_run=dry_run,
    )
    run_database(
        Which(backup_id, target, stack, source=source, here=here, home=postgres_home),
        scope,
        destination_of(to),
        How(streams, yes, as_json),
    )


def _problems(
    contents: Contents,
    *,
    to: str | None,
    swap: str | None,
    replace: bool,
    restart: bool,
    resume: str | None,
    accept_exceptions: bool,
    no_safety: bool,
    dry_run: bool,
    at: Mapping[str, object] | None,
) -> Iterator[str]:
    if at is not None and contents is not Contents.FULL:
        yield "--contents goes with no moment: the journal is applied to definitions and rows"
    if at is not None and swap is not None:
        yield "--swap puts a database in place as it is: leave the moment out"
    if contents is not Contents.FULL and replace:
        yield "--contents is for restores into a new or empty database: --replace always restores everything"
    if restart and replace:
        yield "--restart is for restores into a new or empty database: --replace builds a new one"
    if resume is not None and replace:
        yield "--resume finishes the database that --replace has built: give its address by --to; then --replace --swap"
    if resume is not None and (restart or dry_run):
        yield "--resume continues what an earlier restore began: leave --restart and --dry-run out"
    for option, given in (
        ("--accept-exceptions", accept_exceptions),
        ("--swap", swap),
        ("--no-safety", no_safety),
    ):
        if given and not replace:
            yield f"{option} needs --replace: nothing else replaces a database in use"
    if not replace and to is None:
        yield "say where to: --to for a new or empty database, or --replace for the target's own database"
