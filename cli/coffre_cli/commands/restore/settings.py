"""`coffre restore settings`: what would change, by names; then new versions, one file, or one value on stdout."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from coffre.model.errors import DestinationError
from coffre.model.kinds import TargetKind
from coffre.model.names import visible
from coffre.model.words import counted
from coffre_cli.audited import recorded_reading
from coffre_cli.aws import client, region
from coffre_cli.backup_argument import BackupId
from coffre_cli.commands.restore.options import DryRunOption, TargetOption, Which, YesOption
from coffre_cli.confirming import ask_name, count_down, refuse_without_terminal
from coffre_cli.examples import examples
from coffre_cli.exit_status import Exit
from coffre_cli.output_file import new_file, refuse_existing, standard_output
from coffre_cli.private_key import IdentityOption, decoder_of
from coffre_cli.reading import FromOption
from coffre_cli.screen import print_json, remark, say
from coffre_cli.stack_options import JsonOption, StackOption

if TYPE_CHECKING:
    from coffre.model.backup import Backup
    from coffre.model.manifest import Entry
    from coffre.operations.restore_settings.restore import Planned, SettingsRestore
    from coffre.vault.sealed_settings import SettingsOpener
    from coffre_cli.place import Place

EXAMPLES: Final = examples(
    "coffre restore settings latest --dry-run",
    "coffre restore settings latest --name 'secrets/app/prod/*'",
    "coffre restore settings 2026-11-17 --name web/.env --output .env",
    "coffre restore settings latest --name app/prod/db --print | pbcopy",
    "coffre restore settings latest --from offsite --dry-run",
    "coffre --vault s3://acme-coffre-copy restore settings latest --target settings --identity key.txt --default-key",
)
_WORDS: Final = {
    "create": "does not exist: it is created",
    "change": "has another value: it gets a new version",
    "same": "is as in the backup",
    "only_a_file": "has no place in AWS: write it to a file (--name NAME --output FILE)",
    "failed": "FAILED",
}
_DONE: Final = {"create": "created", "change": "new version written"}

NamesOption = Annotated[
    list[str] | None,
    typer.Option("--name", metavar="PATTERN", help="Only settings of this name; * and ** fit others. Repeatable."),
]
OutputOption = Annotated[
    str | None, typer.Option("--output", "-o", metavar="FILE", help="Write the one setting to a file (mode 0600).")
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="With --output: the file may exist.")]
PrintOption = Annotated[bool, typer.Option("--print", help="Write the one value to stdout, and nothing else.")]
DefaultKeyOption = Annotated[
    bool, typer.Option("--default-key", help="Encrypt with the account's own KMS keys, not those of the backup.")
]


@dataclass(frozen=True)
class _Found:
    """One backup, what is wanted of it, and what opens it."""

    place: Place
    backup: Backup
    entries: Sequence[Entry]
    opener: SettingsOpener

    def recorded(self, action: str) -> Any:
        """Record the names that are read or written."""
        names = ", ".join(entry.name for entry in self.entries)
        return recorded_reading(self.place, self.backup, action, names[:1000])


def restore_settings(
    backup_id: BackupId,
    names: NamesOption = None,
    output: OutputOption = None,
    overwrite: OverwriteOption = False,
    to_stdout: PrintOption = False,
    default_key: DefaultKeyOption = False,
    identity: IdentityOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    target: TargetOption = None,
    source: FromOption = None,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write settings back to Secrets Manager and SSM, with your own AWS credentials.

    The names are shown first, and what would be done with each: missing ones are created, different ones get a new
    version, and nothing is deleted (the version before stays as AWSPREVIOUS, or in the parameter's history). The
    target's name is typed, and ten seconds later it starts. Values are shown only by --print, of one setting.
    """
    _refuse_mixture(output, to_stdout=to_stdout, overwrite=overwrite, dry_run=dry_run, as_json=as_json)
    found = _find(Which(backup_id, target, stack, TargetKind.SETTINGS, source=source), names or (), identity)
    if output is not None or to_stdout:
        _write_out(found, output, overwrite=overwrite)
        return
    remark(f"Their places are in {account_of_settings('Or write one to a file: --name NAME --output FILE')}.")
    job = _job(found, default_key=default_key)
    with found.recorded("backup.read"):
        planned = job.plan(found.entries)
    if dry_run or not any(one.writes for one in planned):
        _report(planned, as_json=as_json, is_dry=True)
        return
    if not yes:
        refuse_without_terminal("secrets or parameters")
        _report(planned, as_json=False, is_dry=True, may_fail=True)
        ask_name(found.backup.target)
        count_down()
    with found.recorded("settings.restored"):
        done = list(job.write(planned))
    _report(done, as_json=as_json, is_dry=False)


def _refuse_mixture(output: str | None, *, to_stdout: bool, overwrite: bool, dry_run: bool, as_json: bool) -> None:
    if output is not None and to_stdout:
        raise typer.BadParameter("--output and --print exclude each other")
    if overwrite and output is None:
        raise typer.BadParameter("--overwrite goes with --output: secrets and parameters get new versions anyway")
    if (output is not None or to_stdout) and (dry_run or as_json):
        raise typer.BadParameter("--dry-run and --json are for secrets and parameters, not for one value")


def _find(which: Which, names: Sequence[str], identity: str | None) -> _Found:
    from coffre.operations.restore_settings.choose import choose_settings
    from coffre.operations.stored_backup.open_backup import open_manifest
    from coffre.vault.sealed_settings import SettingsOpener

    place, backup = which.find()
    manifest = open_manifest(place.vault, backup)
    entries = choose_settings(place.vault, manifest, names)
    decoder = decoder_of(place, backup, identity).of_recipients(manifest.recipients)
    return _Found(place, backup, entries, SettingsOpener(place.vault, decoder))


def _job(found: _Found, *, default_key: bool) -> SettingsRestore:
    import boto3

    from coffre.operations.restore_settings.restore import SettingsRestore
    from coffre.operations.restore_settings.settings_writer import Parameters, Secrets, SettingsPlace

    places: dict[str, SettingsPlace] = {
        "secrets": Secrets(boto3.client("secretsmanager"), default_key),
        "parameters": Parameters(boto3.client("ssm"), default_key),
    }
    return SettingsRestore(found.opener, places)


def account_of_settings(otherwise: str) -> str:
    """Return which account and region settings go to. `otherwise`: what else can be done.

    Raises
    ------
    DestinationError
        `SETTINGS_UNREACHABLE`: this machine has no credentials or region that work.
    """
    from botocore.exceptions import BotoCoreError, ClientError, NoRegionError

    try:
        if region() is None:
            raise NoRegionError  # `sts` needs none, unlike what is asked next
        account = client("sts").get_caller_identity()["Account"]
    except (BotoCoreError, ClientError) as error:
        raise DestinationError(
            "Secrets Manager and SSM cannot be used from here.",
            code="SETTINGS_UNREACHABLE",
            detail=type(error).__name__,
            hint=f"Set AWS_PROFILE and AWS_REGION to the account that settings are restored to. {otherwise}",
        ) from None
    return f"the AWS account {account} in {region()}"


def _write_out(found: _Found, output: str | None, *, overwrite: bool) -> None:
    """Write one value to a file that only its owner may read, or to stdout."""
    from coffre.operations.restore_settings.choose import read_setting

    if len(found.entries) != 1:
        raise typer.BadParameter(
            f"one setting is written at a time, and {counted(len(found.entries), 'setting')} fit: name it by --name"
        )
    [entry] = found.entries
    path = Path(output) if output is not None else None
    if path is not None and not overwrite:
        refuse_existing(path)
    with found.recorded("settings.restored" if path else "backup.read"):
        value = read_setting(found.opener, entry).value
        if path is None:
            with standard_output(also_terminal=True) as file:
                file.write(value)
            return
        _write_file(path, value, overwrite=overwrite)
    remark(f"Wrote {visible(entry.name)} to {path} ({counted(len(value), 'byte')}, mode 0600).")


def _write_file(path: Path, value: bytes, *, overwrite: bool) -> None:
    if not overwrite or not path.exists():
        with new_file(path) as file:
            file.write(value)
        return
    # Written completely, then renamed: a full disk must not leave half of a file that was whole.
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with new_file(new) as file:
            file.write(value)
        new.replace(path)
    finally:
        with suppress(FileNotFoundError):
            new.unlink()


def _report(planned: Sequence[Planned], *, as_json: bool, is_dry: bool, may_fail: bool = False) -> None:
    """Show what would be done, or was done, by names alone; exit with an error when something failed."""
    failed = [one for one in planned if one.error is not None]
    if as_json:
        print_json([_json(one) for one in planned])
    else:
        for one in planned:
            say(described(one, is_dry=is_dry), style="red" if one.error else "")
        writes = sum(one.writes for one in planned)
        remark(
            f"{counted(writes, 'setting')} would be written." if is_dry else f"{counted(writes, 'setting')} written."
        )
    if failed and not may_fail:
        raise typer.Exit(Exit.FAILED)


def described(one: Planned, *, is_dry: bool) -> str:
    """Return a setting by name, and what is or was done with it; never its value."""
    words = _WORDS[one.step] if is_dry else _DONE.get(one.step, _WORDS[one.step])
    return f"{visible(one.name)}: {words}{_why(one)}"


def _why(one: Planned) -> str:
    error = one.error
    if error is None:
        return ""
    parts = [error.message, error.detail or "", error.hint or ""]
    return f": {' '.join(part for part in parts if part)} [{error.code}]"


def _json(one: Planned) -> dict[str, Any]:
    error = one.error
    return {
        "name": one.name,
        "step": one.step.value,
        **({"code": error.code, "why": error.message, "detail": error.detail} if error else {}),
    }
