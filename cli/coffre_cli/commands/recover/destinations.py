"""Where targets are restored to: `--to TARGET=WHERE`. No password is ever in an argument."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import typer

from coffre.model.errors import DestinationError, ExportError, SecretError
from coffre.model.kinds import TargetKind
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.connection_secret import parse_secret
from coffre.postgres.connection.poolers import refuse_transaction_pooler
from coffre_cli.output_file import refuse_existing

_URL: Final = ("postgresql://", "postgres://")
_SECRET: Final = "secret:"  # noqa: S105 - how a reference begins
_VARIABLE: Final = "env:"
_DIRECTORY: Final = "directory:"
_BUCKET: Final = re.compile(r"s3://(?P<to>[^/]+(?:/.*)?)?")
SAME_BUCKETS: Final = "s3://"
"""The address that stands for the buckets' own names."""
HOW_DATABASE: Final = "env:NAME, a file or secret:NAME with postgresql://USER:PASSWORD@HOST:5432/DATABASE"
SETTINGS_HERE: Final = "aws"
"""The place of settings in Secrets Manager and SSM, by the AWS credentials of this machine."""
HOW_SETTINGS: Final = f"{SETTINGS_HERE} (Secrets Manager and SSM, by this machine's credentials) or directory:/PATH"
HOW_BUCKET: Final = f"s3://BUCKET/PREFIX, {SAME_BUCKETS} (buckets of the same names), or directory:/PATH"


@dataclass(frozen=True)
class BucketPlace:
    """Where objects go: `to` is BUCKET or BUCKET/PREFIX (None: the buckets' own names), or a directory."""

    to: str | None = None
    directory: Path | None = None


def parse_pairs(values: Sequence[str], option: str) -> dict[str, str]:
    """Return `TARGET=WHERE` pairs.

    Raises
    ------
    typer.BadParameter
        One has no `=`, or a target is named twice.
    """
    found: dict[str, str] = {}
    for value in values:
        target, equals, where = value.partition("=")
        if not (target and equals and where):
            raise typer.BadParameter(f"{option} needs TARGET=WHERE, such as {option} shop=env:NEW_DATABASE")
        if target in found:
            raise typer.BadParameter(f"{option} names {target} twice")
        found[target] = where
    return found


def refuse_password(target: str, reference: str) -> None:
    """Refuse an address with a password: other users of this machine can read the arguments of a command.

    Raises
    ------
    SecretError
        `PASSWORD_IN_ARGUMENT`
    """
    if not reference.startswith(_URL):
        return
    try:
        has_password = urlsplit(reference).password is not None
    except ValueError:
        has_password = True
    if has_password:
        raise SecretError(
            f"The address of {target} contains a password: other users of this machine can read it there.",
            code="PASSWORD_IN_ARGUMENT",
            hint=f"Put it into a variable or a file: --to {target}=env:NEW_DATABASE. Change the password, since it was "
            "in an argument.",
        )


def connection_of(target: str, reference: str) -> Connection:
    """Return how to reach the database that a reference names.

    Raises
    ------
    SecretError
        `DESTINATION_SHAPE`, `PASSWORD_IN_ARGUMENT`; the text itself is in no error.
    ConnectError
        `TRANSACTION_POOLER`
    """
    refuse_password(target, reference)
    place = f"the destination of {target} ({reference})"
    try:
        connection = parse_secret(_text_of(target, reference), where=reference, place=place)
    except SecretError as error:
        raise _no_database(target, reference, error.detail) from error
    refuse_transaction_pooler(connection)
    return connection


def bucket_place_of(target: str, reference: str) -> BucketPlace:
    """Return where objects go.

    Raises
    ------
    SecretError
        `DESTINATION_SHAPE`
    """
    found = _BUCKET.fullmatch(reference)
    if found:
        return BucketPlace(to=found["to"])
    if reference.startswith((_DIRECTORY, "/", "./", "~")):
        return BucketPlace(directory=_directory_of(reference))
    raise SecretError(
        f"{reference[:100]} is no place for the objects of {target}.",
        code="DESTINATION_SHAPE",
        hint=f"Give {HOW_BUCKET}. A store that is not AWS: --store {target}=FILE as well.",
    )


def settings_place_of(target: str, reference: str) -> Path | None:
    """Return the directory that settings are written to as files; None: they go to Secrets Manager and SSM.

    Raises
    ------
    SecretError
        `DESTINATION_SHAPE`
    """
    if reference == SETTINGS_HERE:
        return None
    if reference.startswith((_DIRECTORY, "/", "./", "~")):
        return _directory_of(reference)
    raise SecretError(
        f"{reference[:100]} is no place for the settings of {target}.",
        code="DESTINATION_SHAPE",
        hint=f"Give {HOW_SETTINGS} (files that only you can read).",
    )


def check_reference(target: str, kind: TargetKind, reference: str) -> None:
    """Check the form of an answer before anything is asked of a server; raises what reading it raises."""
    if kind is TargetKind.DATABASE:
        connection_of(target, reference)
    elif kind is TargetKind.SETTINGS:
        settings_place_of(target, reference)
    else:
        bucket_place_of(target, reference)


def unknown_targets(given: Mapping[str, str], known: Sequence[str], option: str) -> None:
    """Refuse a target that no copy has.

    Raises
    ------
    typer.BadParameter
        It names those that exist.
    """
    for target in given:
        if target not in known:
            raise typer.BadParameter(f"{option}: the copy has no backup of {target}; it has {', '.join(known)}")


def is_used(directory: Path) -> bool:
    """Return whether something exists under this name, other than an empty directory."""
    try:
        refuse_existing(directory, unless_empty=True)
    except ExportError:
        return True
    return False


def put_away(directory: Path, restore_id: str) -> Path:
    """Return the name under which a directory is kept that a restore with this id replaces."""
    return directory.with_name(f"{directory.name}.before-{restore_id.lower()}")


def refuse_used(directory: Path) -> None:
    """Refuse a directory that has something in it, or that no complete one can take the place of.

    Raises
    ------
    DestinationError
        `DESTINATION_NOT_EMPTY`, `DIRECTORY_NOT_WRITTEN`
    """
    if is_used(directory):
        raise DestinationError(
            f"The directory {directory} exists, and is not empty.",
            code="DESTINATION_NOT_EMPTY",
            hint="Nothing was changed. Name a directory that does not exist.",
        )
    if directory.is_dir() and (os.path.ismount(directory) or not os.access(directory.parent, os.W_OK)):
        raise DestinationError(
            f"The directory {directory} is a volume, or nothing can be written next to it.",
            code="DIRECTORY_NOT_WRITTEN",
            detail="What is restored gets its name when it is complete, by a rename, which is not possible here.",
            hint=f"Nothing was changed. Name a directory in it that does not exist: {directory / 'restored'}",
        )


def _directory_of(reference: str) -> Path:
    return Path(reference.removeprefix(_DIRECTORY)).expanduser().absolute()


def _text_of(target: str, reference: str) -> str:
    if reference.startswith(_URL):
        return reference
    if reference.startswith(_VARIABLE):
        text = os.environ.get(reference.removeprefix(_VARIABLE), "")
        if not text:
            raise _no_database(target, reference, "the variable is empty, or not exported")
        return text
    if reference.startswith(_SECRET):
        return _from_secrets_manager(reference.removeprefix(_SECRET))
    try:
        return Path(reference).expanduser().read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise _no_database(target, reference, why) from error


def _from_secrets_manager(name: str) -> str:
    import boto3

    from coffre.runtime.sources import read_secret

    return read_secret(boto3.client("secretsmanager"), name)


def _no_database(target: str, reference: str, why: str | None) -> SecretError:
    return SecretError(
        f"{reference[:100]} does not say where the database {target} is restored to.",
        code="DESTINATION_SHAPE",
        detail=why,
        hint=f"Give {HOW_DATABASE}. The database need not exist: it is created.",
    )
