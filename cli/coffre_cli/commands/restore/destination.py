"""The destination of a restore: the option `--to`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from coffre.model.errors import ConnectError, SecretError
from coffre_cli.deployed import DeployedStack

if TYPE_CHECKING:
    from coffre.postgres.connection.address import Connection

_URL = ("postgresql://", "postgres://")
# What the role of the restore function may read (template.yaml).
_READABLE = ("coffre/destination/", "coffre/database/")
_EXAMPLE = "postgresql://USER:PASSWORD@HOST:5432/NEW_DATABASE"


@dataclass(frozen=True)
class DestinationChoice:
    """The value of `--to`: a URL, or the name of a secret that holds one."""

    url: Connection | None
    text: str = field(repr=False)
    place: str

    @classmethod
    def parse(cls, to: str) -> Self:
        """Check what can be checked before anything is started.

        Raises
        ------
        SecretError
            It is neither a complete URL nor the name of a secret that the function may read.
        ConnectError
            `TRANSACTION_POOLER`
        """
        from coffre.postgres.connection.connection_secret import parse_secret

        variable = to.removeprefix("env:") if to.startswith("env:") else None
        text = to if variable is None else os.environ.get(variable, "")
        place = "--to" if variable is None else f"the variable {variable}"
        if not text.startswith(_URL):
            if variable is not None or not text.removeprefix("arn:").rpartition(":secret:")[2].startswith(_READABLE):
                raise _no_address(place, None if text else "it is empty, or not exported")
            return cls(None, text, place)
        try:
            connection = parse_secret(text, where=place, place=place)
        except SecretError as error:
            raise _no_address(place, error.detail) from error
        _refuse_pooler(connection)
        return cls(connection, text, place)


def _no_address(place: str, why: str | None) -> SecretError:
    return SecretError(
        f"{place[0].upper()}{place[1:]} is not a database URL.",
        code="DESTINATION_SHAPE",
        detail=why,
        hint=f"Give {_EXAMPLE}, a variable with one (env:NAME), or the name of a secret below coffre/destination/.",
    )


def _refuse_pooler(connection: Connection) -> None:
    from coffre.postgres.connection.poolers import refuse_transaction_pooler

    try:
        refuse_transaction_pooler(connection)
    except ConnectError as error:
        raise ConnectError(
            f"{connection} is a transaction pooler: a restore needs a session.", code=error.code, hint=error.hint
        ) from error


@contextmanager
def destination_secret(
    deployed: DeployedStack, wanted: DestinationChoice | None, restore_id: str
) -> Iterator[str | None]:
    """Yield the name of a secret with the destination; a URL is kept in a temporary one while the restore runs.

    Yields None without a destination: the target's own database is used.
    """
    if wanted is None or wanted.url is None:
        yield wanted.text if wanted else None
        return
    with deployed.lending(secret_name(restore_id), wanted.text) as name:
        yield name


def secret_name(restore_id: str) -> str:
    """Return the name of the secret that holds the destination of a restore while it runs."""
    return f"coffre/destination/{restore_id}"
