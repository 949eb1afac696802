"""`coffre export`: a backup as one portable file, for pg_restore, psql or tar alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from coffre.model.kinds import TargetKind
from coffre.model.names import shown
from coffre.model.words import size
from coffre_cli.audited import recorded_reading
from coffre_cli.backup_argument import BackupId
from coffre_cli.commands.export.objects import ObjectsWanted, export_objects
from coffre_cli.commands.export.progress import export_progress
from coffre_cli.examples import examples
from coffre_cli.exit_status import Exit
from coffre_cli.output_file import new_directory, new_file, refuse_existing, standard_output
from coffre_cli.place import Place
from coffre_cli.private_key import IdentityOption, decoder_of
from coffre_cli.reading import FromOption, find_reading_place, resolve_read
from coffre_cli.screen import remark
from coffre_cli.stack_options import StackOption

if TYPE_CHECKING:
    from coffre.model.backup import Backup
    from coffre.operations.export.plan import ExportPlan

EXAMPLES = examples(
    "coffre export latest",
    "coffre export 01K9X... --format plain --table public.orders --table 'app.*'",
    "coffre export latest --target shop --recipient age1... -o shop.age",
    "coffre export latest --format plain -o - | psql -Xv ON_ERROR_STOP=1 new",
    "coffre export latest --target uploads --prefix 2026/ --to ./uploads",
)


class Format(StrEnum):
    """The format of the exported file."""

    CUSTOM = "custom"
    PLAIN = "plain"
    DIRECTORY = "directory"
    TAR_ZST = "tar.zst"
    TAR_GZ = "tar.gz"

    @property
    def is_of_objects(self) -> bool:
        """Whether it is for backups of buckets; the others are for databases."""
        return self in (Format.TAR_ZST, Format.TAR_GZ)


class Compress(StrEnum):
    """How the data in it is compressed."""

    NONE = "none"
    ZSTD = "zstd"
    GZIP = "gzip"


_SCRIPT_SUFFIXES: Final = {Compress.NONE: ".sql", Compress.ZSTD: ".sql.zst", Compress.GZIP: ".sql.gz"}


@dataclass(frozen=True)
class _Wanted:
    """What to make, and where."""

    format: Format
    compress: Compress
    recipients: Sequence[str]
    output: str
    with_owners: bool

    @property
    def is_to_stdout(self) -> bool:
        return self.output == "-"


def export(
    backup_id: BackupId,
    format_: Annotated[
        Format | None,
        typer.Option(
            "--format",
            help="custom (default) and directory are for pg_restore 17 and newer, plain for psql; objects: tar.zst "
            "(default) and tar.gz.",
        ),
    ] = None,
    tables: Annotated[
        list[str] | None,
        typer.Option("--table", metavar="PATTERN", help="Only these tables, and what they need. Repeatable."),
    ] = None,
    recipients: Annotated[
        list[str] | None,
        typer.Option("--recipient", metavar="RECIPIENT", help="Encrypt the file to this age public key. Repeatable."),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE|-|DIR", help="Default: named after target and time. -: stdout."),
    ] = None,
    compress: Annotated[
        Compress | None, typer.Option(help="Default: zstd for custom and directory, none for plain.")
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="DIRECTORY", help="Objects as files below a new or empty directory.")
    ] = None,
    bucket: Annotated[
        str | None, typer.Option("--bucket", metavar="NAME", help="Objects: only of this bucket.")
    ] = None,
    prefix: Annotated[
        str | None, typer.Option("--prefix", help="Objects: only those whose keys start with this.")
    ] = None,
    no_owner: Annotated[bool, typer.Option("--no-owner", help="With plain: set no owners and no privileges.")] = False,
    identity: IdentityOption = None,
    target: Annotated[str | None, typer.Option(help="With `latest`: of which target.")] = None,
    source: FromOption = None,
    stack: StackOption = None,
) -> None:
    """Write a backup to one portable file, which pg_restore, psql or tar read without Coffre.

    It runs on this machine: your AWS credentials need to read the vault, and the private key opens the backup here.
    """
    from coffre.operations.stored_backup.open_backup import refuse_unrestorable

    objects = ObjectsWanted(to, bucket, prefix, format_, tuple(recipients or ()), output)
    of_databases = None if format_ is None or format_.is_of_objects else format_
    others = {"--table": tables, "--compress": compress, "--no-owner": no_owner or None, "--format": of_databases}
    _refuse_mixture(objects, others)
    _refuse_odd(format_, recipients or (), output, no_owner=no_owner)
    deployed = find_reading_place(stack, source)
    backup = resolve_read(deployed, backup_id, target, source)
    refuse_unrestorable(backup)
    if backup.kind is TargetKind.SETTINGS:
        raise typer.BadParameter(
            f"{backup.id} holds settings. To a file: coffre restore settings {backup.id} --name NAME --output FILE"
        )
    _refuse_other_kind(backup, objects, others)
    if backup.kind.has_objects:
        export_objects(deployed, backup, objects, identity)
        return
    format_ = format_ or Format.CUSTOM
    compress = compress or (Compress.NONE if format_ is Format.PLAIN else Compress.ZSTD)
    wanted = _Wanted(
        format=format_,
        compress=compress,
        recipients=recipients or (),
        output=output or _name(backup, format_, compress, encrypted=bool(recipients)),
        with_owners=not no_owner,
    )
    _export_database(deployed, backup, wanted, tables or (), identity)


def _export_database(
    deployed: Place, backup: Backup, wanted: _Wanted, tables: Sequence[str], identity: str | None
) -> None:
    from coffre.operations.export.plan import plan_export
    from coffre.postgres.archive.reader import Compression

    if not wanted.is_to_stdout:
        refuse_existing(Path(wanted.output))
    plan = plan_export(
        deployed.vault,
        decoder_of(deployed, backup, identity),
        backup,
        tables=tables,
        compression=Compression[wanted.compress.name],
    )
    what = f"{wanted.format}, {', '.join(tables) if tables else 'all tables'}{_encrypted_to(wanted.recipients)}"
    try:
        with recorded_reading(deployed, backup, "backup.exported", what):
            _write(deployed, plan, wanted)
    except KeyboardInterrupt:
        remark("Interrupted. The partial export was removed.")
        raise typer.Exit(Exit.INTERRUPTED) from None
    _report(backup, plan, wanted)


def _refuse_mixture(objects: ObjectsWanted, others: Mapping[str, object]) -> None:
    other = next((option for option, value in others.items() if value is not None), None)
    if objects.given is not None and other is not None:
        raise typer.BadParameter(f"{objects.given} is for buckets, {other} for databases")
    if problem := objects.problem():
        raise typer.BadParameter(problem)


def _refuse_other_kind(backup: Backup, objects: ObjectsWanted, others: Mapping[str, object]) -> None:
    """Refuse options that do not apply to this kind of backup."""
    is_bucket = backup.kind.has_objects
    wrong = next((option for option, value in others.items() if value is not None and is_bucket), None)
    if not is_bucket and objects.given is not None:
        raise typer.BadParameter(
            f"{objects.given} is for backups of buckets, and this is one of a database: {backup.id}"
        )
    if wrong is not None:
        raise typer.BadParameter(f"{wrong} is for backups of databases, and this is one of buckets: {backup.id}")


def _refuse_odd(format_: Format | None, recipients: Sequence[str], output: str | None, *, no_owner: bool) -> None:
    from coffre.vault.codec import parse_recipient

    if format_ is Format.DIRECTORY and (recipients or output == "-"):
        raise typer.BadParameter(
            "a directory is not one stream: it can be neither encrypted (--recipient) nor written to stdout."
        )
    if no_owner and format_ is not Format.PLAIN:
        raise typer.BadParameter("--no-owner is for plain; pg_restore has an option of the same name.")
    for recipient in recipients:
        parse_recipient(recipient)


def _encrypted_to(recipients: Sequence[str]) -> str:
    return f", encrypted to {', '.join(recipients)}" if recipients else ""


def _name(backup: Backup, format_: Format, compress: Compress, *, encrypted: bool) -> str:
    suffix = {Format.CUSTOM: ".dump", Format.PLAIN: _SCRIPT_SUFFIXES[compress]}.get(format_, "")
    return f"{backup.target}-{backup.created_at:%Y%m%dT%H%M%SZ}{suffix}{'.age' if encrypted else ''}"


def _write(deployed: Place, plan: ExportPlan, wanted: _Wanted) -> None:
    from coffre.operations.export.database import Exporter
    from coffre.vault.age_stream import encrypt_stream

    with export_progress(plan.size_bytes) as progress:
        exporter = Exporter(deployed.vault, plan, progress)
        if wanted.format is Format.DIRECTORY:
            with new_directory(Path(wanted.output)) as folder:
                exporter.directory(folder)
            return
        chunks = exporter.custom() if wanted.format is Format.CUSTOM else exporter.plain(with_owners=wanted.with_owners)
        opened = standard_output() if wanted.is_to_stdout else new_file(Path(wanted.output))
        with opened as file, closing(chunks):
            if wanted.recipients:
                encrypt_stream(chunks, file.write, wanted.recipients)
            else:
                file.writelines(chunks)


def _report(backup: Backup, plan: ExportPlan, wanted: _Wanted) -> None:
    """Report on stderr, like all messages of this command: stdout may be the file."""
    rows = sum(table.rows for _, table in plan.tables.values())
    place = "stdout" if wanted.is_to_stdout else wanted.output
    remark(
        f"Exported {backup.target} of {backup.created_at:%Y-%m-%d %H:%M:%S} UTC to {place}: {len(plan.tables)} tables, "
        f"{rows:,} rows, {size(plan.size_bytes)} of data."
    )
    for entry in plan.left_out:
        remark(f"  Note: left out, as it needs something that is not in this file: {entry.shown}")
    for table in plan.members:
        name = shown(table.schema_name, table.table_name)
        remark(f"  Note: left out, as only its extension can define it: {name}")
        remark(f"  For its rows: coffre cat {backup.id} '{name}'")
    if not wanted.is_to_stdout:
        remark("Load it into an empty database:")
        remark(f"  {_how_to_load(wanted)}")


def _how_to_load(wanted: _Wanted) -> str:
    name = wanted.output
    is_script = wanted.format is Format.PLAIN
    if is_script:
        program = "psql -X -v ON_ERROR_STOP=1 --dbname=DATABASE"
    else:
        program = "pg_restore --exit-on-error --dbname=DATABASE"
    filters = ["age --decrypt --identity KEY.txt"] if wanted.recipients else []
    if is_script and wanted.compress is not Compress.NONE:
        filters.append("zstd -dc" if wanted.compress is Compress.ZSTD else "gzip -dc")
    if not filters:
        return f"{program} {'--file=' if is_script else ''}{name}"
    return " | ".join([f"{filters[0]} {name}", *filters[1:], program])
