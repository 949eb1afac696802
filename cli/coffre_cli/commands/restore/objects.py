"""`coffre restore objects`: objects of a backup of buckets, to where they were or elsewhere."""

from __future__ import annotations

from typing import Annotated

import typer

from coffre.model.kinds import Mode, TargetKind
from coffre_cli.backup_argument import BackupId
from coffre_cli.commands.restore.object_options import ObjectChoices
from coffre_cli.commands.restore.options import DryRunOption, How, StreamsOption, TargetOption, Which, YesOption
from coffre_cli.commands.restore.run_objects import run_objects
from coffre_cli.commands.restore.safety import NoSafetyOption
from coffre_cli.examples import examples
from coffre_cli.reading import FromOption
from coffre_cli.stack_options import HereOption, JsonOption, StackOption

EXAMPLES = examples(
    "coffre restore objects latest --prefix 2026/invoices/",
    "coffre restore objects 2026-11-17 --key photos/cat.jpg --mode overwrite",
    "coffre restore objects latest --bucket documents --to bucket-for-tests/copy",
    "coffre restore objects latest --mode mirror --dry-run",
    "coffre restore objects 01K9X... --retry 01K9Y...",
    "coffre restore objects latest --prefix 2026/ --from offsite",
    "coffre restore objects latest --prefix 2026/ --here    # no time limit",
)


def restore_objects(
    backup_id: BackupId,
    bucket: Annotated[str | None, typer.Option("--bucket", metavar="NAME", help="Only those of this bucket.")] = None,
    prefix: Annotated[str | None, typer.Option("--prefix", help="Only those whose keys start with this.")] = None,
    key: Annotated[
        list[str] | None, typer.Option("--key", "-k", help="Only the one with this key; may be repeated.")
    ] = None,
    keys_from: Annotated[
        str | None, typer.Option("--keys-from", metavar="FILE|-", help="Only those in a file, one key a line.")
    ] = None,
    mode: Annotated[
        Mode | None,
        typer.Option(
            help="Existing objects: missing keeps them (default), overwrite replaces those that differ, mirror also "
            "deletes those that the backup does not have."
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="BUCKET[/PREFIX]", help="Where to. Default: where they were."),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            metavar="FILE|env:NAME|SECRET",
            help="Another store, as JSON with endpoint, region, access_key_id and secret_access_key.",
        ),
    ] = None,
    retry: Annotated[
        str | None,
        typer.Option("--retry", metavar="RESTORE", help="Only those that this earlier restore failed to restore."),
    ] = None,
    no_safety: NoSafetyOption = False,
    source: FromOption = None,
    here: HereOption = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    streams: StreamsOption = None,
    target: TargetOption = None,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Restore objects to their own buckets, to another bucket (--to) or to another store (--store).

    Missing objects are written; existing ones change only with --mode overwrite or mirror.
    """
    choices = ObjectChoices(
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
    choices.refuse()
    run_objects(
        Which(backup_id, target, stack, TargetKind.BUCKET, source=source, here=here),
        choices,
        How(streams, yes, as_json),
    )
