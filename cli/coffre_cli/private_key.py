"""The private key with which a command opens a backup on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from coffre_cli.place import Place
from coffre_cli.standalone import StandaloneVault, given_identities

if TYPE_CHECKING:
    from coffre.model.backup import Backup
    from coffre.vault.codec import FrameDecoder

IdentityOption = Annotated[
    str | None,
    typer.Option(
        "--identity",
        metavar="FILE|env:NAME",
        help="The private age key. Default: the stack's secrets, if you may read them.",
    ),
]


def decoder_of(deployed: Place, backup: Backup, identity: str | None) -> FrameDecoder:
    """Return what opens the backup: the key that was given, or the stack's own ones.

    Raises
    ------
    EncryptionError
        `IDENTITY_MISSING`
    """
    from coffre.runtime.identities import read_identities
    from coffre.runtime.server_databases import key_names
    from coffre.vault.codec import FrameDecoder

    if identity is not None:
        return FrameDecoder(given_identities(identity))
    if isinstance(deployed, StandaloneVault):
        return deployed.decoder_of(backup)
    if backup.encryption == "none":
        return FrameDecoder()
    secret = deployed.outputs.get("IdentitySecret")
    if not secret:
        return FrameDecoder()
    return FrameDecoder(read_identities(deployed.secrets, secret, *key_names(deployed.catalog, backup.target)))
