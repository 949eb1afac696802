"""The private key with which a command opens a backup on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coffre.model.errors import EncryptionError
from coffre_cli.deployed import DeployedStack

if TYPE_CHECKING:
    from coffre.model.backup import Backup
    from coffre.vault.codec import FrameDecoder

IdentityOption = Annotated[
    str | None,
    typer.Option(
        "--identity",
        metavar="FILE|env:NAME",
        help="The private age key. Default: the stack's secret, if you may read it.",
    ),
]


def decoder_of(deployed: DeployedStack, backup: Backup, identity: str | None) -> FrameDecoder:
    """Return what opens the backup: the key that was given, or the stack's own.

    Raises
    ------
    EncryptionError
        `IDENTITY_MISSING`
    """
    from coffre.runtime.sources import read_secret
    from coffre.vault.codec import FrameDecoder, parse_identities

    if identity is not None:
        return FrameDecoder(_given_identities(identity))
    if backup.encryption == "none":
        return FrameDecoder()
    secret = deployed.outputs.get("IdentitySecret")
    return FrameDecoder(parse_identities(read_secret(deployed.secrets, secret)) if secret else ())


def _given_identities(identity: str) -> tuple[str, ...]:
    from coffre.vault.codec import parse_identities

    if identity.startswith("env:"):
        place = f"the variable {identity.removeprefix('env:')}"
        text = os.environ.get(identity.removeprefix("env:"), "")
    else:
        place = f"the file {identity}"
        try:
            text = Path(identity).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise _no_identity(place, error.strerror if isinstance(error, OSError) else "not a text") from error
    return parse_identities(text) or _refuse_identity(place)


def _refuse_identity(place: str) -> tuple[str, ...]:
    raise _no_identity(place, None)


def _no_identity(place: str, why: str | None) -> EncryptionError:
    return EncryptionError(
        f"There is no age identity in {place}.",
        code="IDENTITY_MISSING",
        detail=why,
        hint="It is a line that starts with AGE-SECRET-KEY-1, as `coffre keys new` printed it.",
    )
