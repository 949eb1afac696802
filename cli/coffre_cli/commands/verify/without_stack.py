"""`coffre --vault ... verify`: is the vault complete and undamaged? Nothing is recorded."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import typer
from ulid import ULID

from coffre.model.backup import Backup
from coffre.model.verification import Level, VerificationReport
from coffre.operations.verify.vault import VaultCheck
from coffre.vault.codec import FrameDecoder
from coffre_cli.backup_argument import resolve_backup
from coffre_cli.screen import error_console
from coffre_cli.standalone import StandaloneVault


def verify_here(
    place: StandaloneVault, backup_id: str | None, level: Level | None, target: str | None, *, quiet: bool
) -> VerificationReport:
    """Verify one backup, or all of a target or of the vault; with an id, the default level is read.

    Raises
    ------
    typer.BadParameter
        The level needs a stack.
    """
    chosen = level or (Level.INVENTORY if backup_id is None else Level.READ)
    if chosen not in (Level.INVENTORY, Level.READ):
        raise typer.BadParameter(f"the level {chosen} needs a stack: --vault works with inventory and read")
    backups = tuple(
        place.catalog.backups(target=target) if backup_id is None else [resolve_backup(place, backup_id, target)]
    )
    check = VaultCheck(
        id=str(ULID()),
        vault=place.vault,
        decoder=_decoder(place, backups) if chosen is Level.READ else FrameDecoder(),
        backups=backups,
        unreadable=place.catalog.unreadable(target) if backup_id is None else {},
        now=datetime.now(UTC),
    )
    began = time.monotonic()
    with error_console.status("Verifying the vault", spinner="dots") as status:
        if quiet:
            status.stop()
        report = check.inventory() if chosen is Level.INVENTORY else check.read()
    return report.model_copy(update={"target": target, "duration_ms": int((time.monotonic() - began) * 1000)})


def _decoder(place: StandaloneVault, backups: tuple[Backup, ...]) -> FrameDecoder:
    """Return what opens the backups; a missing key is an error before anything is read."""
    for backup in backups:
        place.decoder_of(backup)
    return FrameDecoder(place.identities)
