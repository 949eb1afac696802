"""Which backup answers for a scheduled run, whose idempotency key is (target, scheduled time).

The daily and the weekly rule fire for the same time, and EventBridge may deliver an event twice: the first
invocation takes the backup, the others add their tier to it. A backup that failed gives its slot back.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from coffre.catalog.items import SlotItem
from coffre.catalog.records import read_item
from coffre.catalog.runs import Runs
from coffre.catalog.tables import ConditionFailedError, DynamoTable
from coffre.model.backup import Backup, Status
from coffre.model.errors import CatalogError, PermanentError
from coffre.model.times import in_utc

ORPHAN_AFTER: Final = timedelta(minutes=2)
"""A claim without a backup's record is dead after this: the record is written right after the claim."""

_PARTITION: Final = "SLOT"
_ATTEMPTS: Final = 5  # Each lost attempt means that another claim won: more than a few are not a race.


class Slots:
    """The slots of the targets."""

    def __init__(self, table: DynamoTable, backups: Runs[Backup]) -> None:
        self._table = table
        self._backups = backups

    def claim(
        self, target: str, slot: datetime | str, backup_id: str, now: datetime, *, orphan_after: timedelta
    ) -> str:
        """Claim a slot for a backup, and return the id of the backup that owns it (`Catalog.claim_slot`)."""
        sort = f"{target}#{_text(slot)}"
        for _ in range(_ATTEMPTS):
            raw = self._table.get(_PARTITION, sort)
            found = read_item(raw, SlotItem, required=("backup_id", "claimed_at")) if raw else None
            if found and (found.backup_id == backup_id or not self._is_abandoned(found, now, orphan_after)):
                return found.backup_id
            if self._replace(found, SlotItem(pk=_PARTITION, sk=sort, backup_id=backup_id, claimed_at=now)):
                return backup_id
        raise CatalogError(
            f"The slot {sort} changed hands {_ATTEMPTS} times while it was being claimed.",
            code="SLOT_CONTENDED",
            hint="Many runs of one target start together: look at the rules of the schedule. The run can be repeated.",
        )

    def _is_abandoned(self, found: SlotItem, now: datetime, orphan_after: timedelta) -> bool:
        owner = self._backups.find(found.backup_id)
        if owner is None:
            return now - found.claimed_at > orphan_after
        return owner.status in (Status.FAILED, Status.DELETED)

    def _replace(self, found: SlotItem | None, ours: SlotItem) -> bool:
        """Write the claim unless the slot changed since it was read."""
        unchanged = (
            (SlotItem.backup_id == found.backup_id) & (SlotItem.claimed_at == found.claimed_at)
            if found
            else SlotItem.pk.does_not_exist()
        )
        try:
            self._table.put(ours, unchanged)
        except ConditionFailedError:
            return False
        return True


def _text(slot: datetime | str) -> str:
    try:
        time = slot if isinstance(slot, datetime) else datetime.fromisoformat(slot)
        if time.tzinfo is None:
            raise _invalid(str(slot))
        return in_utc(time).isoformat(timespec="seconds").replace("+00:00", "Z")
    except ValueError as error:
        raise _invalid(str(slot)) from error


def _invalid(slot: str) -> PermanentError:
    return PermanentError(
        f'"{slot}" is not a scheduled time.',
        code="SLOT_INVALID",
        hint="Give a time with its zone: 2026-10-02T03:00:00Z.",
    )
