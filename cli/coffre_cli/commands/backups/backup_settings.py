"""`coffre backup settings`: secrets, parameters, and files that are handed in, encrypted on this machine."""

from __future__ import annotations

import re
import sys
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from coffre.model.errors import EncryptionError, EventError, TargetUnknownError
from coffre.model.words import size
from coffre_cli.commands.backups.backup import KeepOption
from coffre_cli.commands.backups.run_backup import Wanted, report_all, start_backup, start_each
from coffre_cli.examples import examples
from coffre_cli.stack_choice import find_stack
from coffre_cli.stack_options import JsonOption, StackOption

if TYPE_CHECKING:
    from coffre.model.configuration import Configuration

EXAMPLES: Final = examples(
    "coffre backup settings",
    "coffre backup settings --file .env --name web/.env",
    "coffre backup settings --file .env --file store.kdbx --target settings",
    "sops decrypt secrets.yaml | coffre backup settings --file - --name secrets.yaml",
    "coffre backup settings --forget web/.env",
)
# An asynchronous invocation takes 256 KB (AWS Lambda quotas, 2026-11); base64 makes three bytes four.
MOST_BYTES: Final = 170_000

FileOption = Annotated[
    list[str] | None, typer.Option("--file", metavar="FILE", help="A file to hand in; - reads stdin. Repeatable.")
]
NameOption = Annotated[
    list[str] | None,
    typer.Option("--name", metavar="NAME", help="Its name in the backup, one for each --file. Default: the file's."),
]
ForgetOption = Annotated[
    list[str] | None,
    typer.Option("--forget", metavar="NAME", help="A file that later backups do not have. Repeatable."),
]


def backup_settings(
    target: Annotated[str | None, typer.Argument(help="The target's name. Default: every target of settings.")] = None,
    of_target: Annotated[str | None, typer.Option("--target", help="The same as TARGET.")] = None,
    files: FileOption = None,
    names: NameOption = None,
    forget: ForgetOption = None,
    full: Annotated[bool, typer.Option("--full", help="Read every secret and parameter again.")] = False,
    keep: KeepOption = None,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Back up the settings of one target, or of all of them, and wait for the end.

    The function reads secrets and parameters. Files are handed in here, from CI or a laptop: each is encrypted on this
    machine to the target's public keys, kept byte for byte, and stays in later backups until another of its name is
    handed in. Their values are in no event, log, list or alert.
    """
    if target is not None and of_target not in (None, target):
        raise typer.BadParameter("TARGET and --target name different targets")
    wanted_names = _names_of(files or [], names or [])
    contents = {name: _read(file) for name, file in zip(wanted_names, files or [], strict=True)}
    deployed, wanted = find_stack(stack), Wanted(full, keep)
    configuration = deployed.configuration
    chosen = _targets(configuration, target or of_target, is_one=bool(contents or forget))
    if contents or forget:
        [name] = chosen
        event = {**_sealed(configuration, name, contents), **({"forget": forget} if forget else {})}
        started = {name: start_backup(deployed, "backup_storage", name, full=full, keep=keep, more=event)}
    else:
        started = start_each(deployed, "backup_storage", chosen, wanted)
    report_all(deployed, started, as_json=as_json, is_one=bool(target or of_target or contents or forget))


def _targets(configuration: Configuration, name: str | None, *, is_one: bool) -> list[str]:
    if name is not None:
        return [configuration.settings_target(name).name]
    names = [one.name for one in configuration.settings]
    if not names:
        raise TargetUnknownError(
            "No target of settings is configured.",
            hint='Add one to the configuration document: {"name": "settings", "kind": "settings"} (docs/settings.md).',
        )
    if is_one and len(names) > 1:
        raise TargetUnknownError(
            f"Several targets of settings are configured: {', '.join(names)}.",
            hint=f"Name one of them: --target {names[0]}",
        )
    return names


def _names_of(files: Sequence[str], names: Sequence[str]) -> list[str]:
    from coffre.model.setting import SETTING_FILE_NAME

    if names and len(names) != len(files):
        raise typer.BadParameter("give one --name for each --file, in the same order, or none", param_hint="--name")
    if "-" in files and not names:
        raise typer.BadParameter("what comes from stdin needs a name: --file - --name web/.env", param_hint="--name")
    if files.count("-") > 1:
        raise typer.BadParameter("stdin can be read once", param_hint="--file")
    found = list(names) or [Path(file).name for file in files]
    for name in found:
        if len(name) > 200 or not re.fullmatch(SETTING_FILE_NAME, name):
            raise typer.BadParameter(
                f'"{name!a}" is no name for it: letters, digits and . _ @ + = - in parts between slashes; '
                "give another one by --name",
                param_hint="--name",
            )
    if twice := sorted({name for name in found if found.count(name) > 1}):
        raise typer.BadParameter(f"several files are named {', '.join(twice)}: name each by --name")
    return found


def _read(file: str) -> bytes:
    """Return the bytes of a file exactly as they are."""
    try:
        content = sys.stdin.buffer.read(MOST_BYTES + 1) if file == "-" else _bytes_of(Path(file))
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror}", param_hint="--file") from None
    if len(content) > MOST_BYTES:
        raise _too_large(file)
    return content


def _bytes_of(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MOST_BYTES + 1)


def _sealed(configuration: Configuration, target: str, contents: Mapping[str, bytes]) -> dict[str, Any]:
    from coffre.vault.codec import FrameEncoder
    from coffre.vault.sealed_settings import seal_setting

    recipients = configuration.recipients_of(target)
    if not recipients:
        raise EncryptionError(
            "Settings are never handed in unencrypted, and the target has no public key.",
            code="ENCRYPTION_MISSING",
            hint="Make a key: coffre keys new",
        )
    encoder, files, total = FrameEncoder(recipients), {}, 0
    for name, content in contents.items():
        stored, proof = seal_setting(content, encoder)
        total += len(stored)
        if total > MOST_BYTES:
            raise _too_large(name)
        files[name] = {"content": b64encode(stored).decode(), "sealed": proof.model_dump()}
    return {"files": files} if files else {}


def _too_large(name: str) -> EventError:
    return EventError(
        f"{name} is too large to be handed in: all files of one command may have {size(MOST_BYTES)}.",
        code="FILE_TOO_LARGE",
        hint="Nothing was backed up. Hand in fewer files, or put a large one into a bucket and back that up "
        "(docs/storage.md).",
    )
