"""Drills of copies: which backup in which destination is restored, and what that says about the copy.

A drill runs the code of a restored database next to itself, so its role gets no secret of a destination, which may
allow to delete there: it reads copies that need none (buckets that the role may read, directories). The others are
rehearsed from another machine (`coffre recover --rehearse`).
"""

from __future__ import annotations

from dataclasses import dataclass

from coffre.model.backup import Backup
from coffre.model.configuration import Configuration
from coffre.model.copies import Copy, Destination
from coffre.model.drill import Outcome
from coffre.model.drill_report import DrillReport
from coffre.model.errors import BackupStateError
from coffre.runtime.bootstrap import Services
from coffre.runtime.copy_destinations import Opening, open_destination
from coffre.runtime.events.drill import DrillEvent
from coffre.vault.vault import Vault


@dataclass(frozen=True)
class DrilledCopy:
    """A backup in a destination, and the record of that."""

    destination: Destination
    backup: Backup
    record: Copy


def find_copy(services: Services, configuration: Configuration, wanted: DrillEvent, target: str) -> DrilledCopy | None:
    """Return the copy that an event means; None: the vault itself.

    A rehearsal takes the first destination that has a complete copy of the target.

    Raises
    ------
    CopyUnknownError
        The event names a destination that is not configured.
    BackupStateError
        `COPY_MISSING`: the destination that the event names has no complete copy of the backup, or of the target.
        `COPY_NEEDS_SECRET`: it cannot be read without a secret.
    """
    if wanted.from_ is not None:
        destinations = [_readable(configuration.destination(wanted.from_))]
    else:
        copies = configuration.copies_of(target) if wanted.rehearse else ()
        destinations = [one for one in copies if not _needs_secret(one)]
    for destination in destinations:
        for record in services.catalog.copies.of(destination.name):
            if _is_usable(record, target, wanted.backup_id):
                backup = services.catalog.get_backup(record.backup_id)
                if backup.is_healthy and not backup.is_safety:
                    return DrilledCopy(destination, backup, record)
    if wanted.from_ is None:
        return None
    what = f"backup {wanted.backup_id}" if wanted.backup_id else f'a backup of "{target}"'
    raise BackupStateError(
        f"The copy {wanted.from_} has no complete copy of {what}.",
        code="COPY_MISSING",
        hint="Nothing can be proven about it. Find out why it was not copied: the alerts and the log of the copies.",
    )


def open_copy(services: Services, destination: Destination) -> Vault:
    """Return the vault in a destination; raises what `open_destination` raises."""
    opening = Opening(tally=services.metering.tally, session=services.session)
    return open_destination(destination, services.secret, opening)


def record_copy(services: Services, drilled: DrilledCopy, report: DrillReport) -> None:
    """Record what a drill says about a copy. It says nothing about the bytes in the vault."""
    changes: dict[str, object] = {}
    if report.is_damaged:
        # An inventory reads these packs again: only their own bytes can show that they are mended.
        changes = {"damaged": report.damage.words, "damaged_packs": report.damage.packs}
    elif report.outcome in (Outcome.PASSED, Outcome.INCOMPLETE) and report.is_of_all:
        changes = {"verified_at": report.completed_at, "level": "drill"}
    if changes:
        services.catalog.copies.keep(drilled.record.model_copy(update=changes))


def _needs_secret(destination: Destination) -> bool:
    return getattr(destination.store, "secret", None) is not None


def _readable(destination: Destination) -> Destination:
    if _needs_secret(destination):
        raise BackupStateError(
            f"The copy {destination.name} needs a secret, which the function drill does not get.",
            code="COPY_NEEDS_SECRET",
            hint="Rehearse from it on another machine: coffre recover --rehearse --from ADDRESS (docs/recovery.md).",
        )
    return destination


def _is_usable(record: Copy, target: str, backup_id: str | None) -> bool:
    return record.is_good and record.target == target and backup_id in (None, record.backup_id)
