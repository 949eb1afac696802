"""`coffre ls` and `coffre cat`: list what a backup contains, and write one object or table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coffre.model.kinds import TargetKind
from coffre.model.names import shown, visible, visible_json
from coffre.model.words import size
from coffre_cli.audited import recorded_reading
from coffre_cli.backup_argument import BackupId
from coffre_cli.examples import examples
from coffre_cli.exit_status import Exit
from coffre_cli.output_file import standard_output
from coffre_cli.place import Place
from coffre_cli.private_key import IdentityOption, decoder_of
from coffre_cli.reading import FromOption, find_reading_place, resolve_read
from coffre_cli.screen import console, print_table, remark
from coffre_cli.stack_options import JsonOption, StackOption

if TYPE_CHECKING:
    from coffre.model.backup import Backup
    from coffre.model.manifest import Entry, Manifest, TableContent
    from coffre.operations.browse.contents import Folder

LS_EXAMPLES = examples(
    "coffre ls latest --target uploads",
    "coffre ls 01K9X... 2026/invoices/ --bucket documents",
    "coffre ls 01K9X... --recursive --json | jq -r '.[].key'",
)
CAT_EXAMPLES = examples(
    "coffre cat 2026-11-17 2026/invoices/0042.pdf --target uploads > 0042.pdf",
    "coffre cat 01K9X... public.orders | head",
    "coffre cat latest --target shop-orders --roles > roles.sql",
)

BucketOption = Annotated[
    str | None, typer.Option("--bucket", metavar="NAME", help="Which bucket, when the backup has several.")
]
TargetOption = Annotated[str | None, typer.Option(help="With `latest`: of which target.")]


def ls(
    backup_id: BackupId,
    prefix: Annotated[str, typer.Argument(help="Only what starts with this.")] = "",
    bucket: BucketOption = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="All objects, not folder by folder.")] = False,
    target: TargetOption = None,
    source: FromOption = None,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what is in a backup: objects and folders of buckets, or the tables of a database.

    Sizes are bytes, times those of the last change (UTC). Nothing is decrypted: the vault lists names in plain text.
    """
    from coffre.model.storage import ObjectChoice
    from coffre.operations.browse.contents import folder_view, objects_below

    deployed = find_reading_place(stack, source)
    backup, manifest = open_backup(deployed, backup_id, target, source)
    if not backup.kind.has_objects:
        _list_tables(manifest, prefix, as_json=as_json)
        return
    choice = ObjectChoice(bucket=bucket, prefix=prefix)
    view = objects_below if recursive else folder_view
    found: Iterable[Folder | Entry] = view(deployed.vault, manifest, choice)
    if as_json:
        print_json_lines(_json(item) for item in found)
        return
    for item in found:
        console.file.write(_line(item, prefix) + "\n")


def cat(
    backup_id: BackupId,
    key: Annotated[str | None, typer.Argument(help="An object's key; a table's name.")] = None,
    roles: Annotated[
        bool, typer.Option("--roles", help="SQL that creates the roles of the database's server.")
    ] = False,
    bucket: BucketOption = None,
    identity: IdentityOption = None,
    target: TargetOption = None,
    source: FromOption = None,
    stack: StackOption = None,
) -> None:
    """Write one object to stdout, as it was; or the rows of a table, as `COPY` wrote them; or the roles, as SQL.

    Every piece is checked before it is written. If a later piece is damaged, the exit status is 1.
    """
    from coffre.model.storage import ObjectChoice
    from coffre.operations.browse.contents import bytes_of, find_object, find_table, roles_of, rows_of

    if (key is None) != roles:
        raise typer.BadParameter("Name an object or a table, or give --roles.")
    deployed = find_reading_place(stack, source)
    backup, manifest = open_backup(deployed, backup_id, target, source)
    if backup.kind is TargetKind.SETTINGS:
        raise typer.BadParameter(
            f"{backup.id} holds settings. To see one value: coffre restore settings {backup.id} --name NAME --print"
        )
    decoder = decoder_of(deployed, backup, identity).of_recipients(manifest.recipients)
    if backup.kind.has_objects:
        if key is None:
            raise typer.BadParameter("Roles are in backups of databases.", param_hint="--roles")
        entry = find_object(deployed.vault, manifest, ObjectChoice(bucket=bucket, keys=(key,)))
        pieces = bytes_of(deployed.vault, decoder, entry)
    elif key is None:
        pieces = roles_of(deployed.vault, manifest, decoder)
    else:
        pieces = rows_of(deployed.vault, manifest, decoder, find_table(manifest.database, key))
    try:
        with (
            recorded_reading(deployed, backup, "backup.read", key or "roles"),
            standard_output(also_terminal=True) as file,
        ):
            file.writelines(pieces)
    except KeyboardInterrupt:
        remark("Interrupted.")
        raise typer.Exit(Exit.INTERRUPTED) from None


def open_backup(
    deployed: Place, backup_id: str, target: str | None, source: str | None = None
) -> tuple[Backup, Manifest]:
    """Return a completed backup with its manifest."""
    from coffre.operations.stored_backup.open_backup import open_manifest

    backup = resolve_read(deployed, backup_id, target, source)
    return backup, open_manifest(deployed.vault, backup)


def print_json_lines(items: Iterable[dict[str, Any]]) -> None:
    """Print one JSON array on stdout as its items come, one a line."""
    begin = "["
    for item in items:
        console.file.write(f"{begin}\n{visible_json(json.dumps(item, default=str, ensure_ascii=False))}")
        begin = ","
    console.file.write("[]\n" if begin == "[" else "\n]\n")


def _line(item: Folder | Entry, prefix: str) -> str:
    """Return a line like those of `aws s3 ls`, with names as they are below the folder that was asked for."""
    from coffre.operations.browse.contents import Folder

    name = item.name.partition("/")[2] or item.name
    shown_name = visible(name[prefix.rfind("/") + 1 :])
    if isinstance(item, Folder):
        return f"{'PRE':>38} {shown_name}"
    facts = item.object
    time = f"{facts.last_modified:%Y-%m-%d %H:%M:%S}" if facts and facts.last_modified else ""
    unread = "   (not in the backup: it could not be read)" if facts and facts.unread else ""
    return f"{time:19} {item.size:>18} {shown_name}{unread}"


def _json(item: Folder | Entry) -> dict[str, Any]:
    from coffre.operations.browse.contents import Folder

    bucket, _, key = item.name.partition("/")
    if isinstance(item, Folder):
        return {"bucket": bucket, "folder": key}
    facts = item.object.model_dump(mode="json", exclude_defaults=True) if item.object else {}
    return {"bucket": bucket, "key": key, "size": item.size, "sha256": item.sha256, **facts}


def _list_tables(manifest: Manifest, prefix: str, *, as_json: bool) -> None:
    tables = list(_tables(manifest, prefix))
    if as_json:
        print_json_lines({"table": name, "rows": table.rows, "size": table.size} for name, table in tables)
    if not tables:
        remark(f"No table of the backup starts with {prefix}" if prefix else "The backup has no tables.")
        raise typer.Exit(Exit.FAILED if prefix else Exit.DONE)
    if as_json:
        return
    rows = [[name, f"{table.rows:,}", size(table.size)] for name, table in tables]
    print_table(["TABLE", "ROWS", "SIZE"], rows, right=["ROWS", "SIZE"])


def _tables(manifest: Manifest, prefix: str) -> Iterator[tuple[str, TableContent]]:
    for table in sorted(manifest.database.tables, key=lambda table: (table.schema_name, table.table_name)):
        name = shown(table.schema_name, table.table_name)
        if prefix in ("", table.table_name) or name.startswith(prefix):
            yield name, table
