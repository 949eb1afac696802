"""What is marked on a backup after its manifest was written, which never changes: a catalog is rebuilt from it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pydantic import AwareDatetime, ValidationError

from coffre.model.backup import Tier
from coffre.model.document import FrozenModel
from coffre.model.errors import IntegrityError
from coffre.stores.store import Store, put_new, put_small
from coffre.vault.layout import hold_mark_key, marks_prefix, pin_mark_key, tier_mark_key, verified_mark_key

_MARK_LIMIT_BYTES: Final = 64 * 1024


@dataclass(frozen=True)
class Marks:
    """What was said about a backup later: tiers that joined it, since when it is pinned or on hold, and why.

    `verified_at` is when it was last read or restored with success; damage that was found later is no mark.
    """

    tiers: frozenset[Tier]
    pinned_at: datetime | None
    held_at: datetime | None = None
    hold: str | None = None
    verified_at: datetime | None = None


class _Mark(FrozenModel):
    tier: Tier | None = None
    pinned_at: AwareDatetime | None = None
    held_at: AwareDatetime | None = None
    hold: str | None = None
    verified_at: AwareDatetime | None = None


class BackupMarks:
    """The part of the vault that has the marks of backups."""

    store: Store

    def mark_tier(self, target: str, backup_id: str, tier: Tier) -> None:
        """Record that a backup carries one more tier than its manifest says (docs/adr/0002)."""
        body = json.dumps({"backup_id": backup_id, "tier": tier.value}).encode()
        put_new(self.store, tier_mark_key(target, backup_id, tier.value), body)

    def mark_pin(self, target: str, backup_id: str, pinned_at: datetime | None) -> None:
        """Record that a backup is pinned, or (None) that it is not any more: a catalog can be rebuilt from it."""
        pinned = pinned_at.isoformat() if pinned_at else None
        body = json.dumps({"backup_id": backup_id, "pinned_at": pinned}).encode()
        put_small(self.store, pin_mark_key(target, backup_id), body)

    def mark_hold(self, target: str, backup_id: str, mark_id: str, held_at: datetime | None, why: str | None) -> None:
        """Record that a backup is on hold, or (None) that it is not any more; `mark_id` is a ULID of now."""
        held = held_at.isoformat() if held_at else None
        body = json.dumps({"backup_id": backup_id, "held_at": held, "hold": why}).encode()
        put_new(self.store, hold_mark_key(target, backup_id, mark_id), body)

    def mark_verified(self, target: str, backup_id: str, mark_id: str, verified_at: datetime | None) -> None:
        """Record that a backup was verified, or (None) does not count as such; `mark_id` is a ULID of now."""
        at = verified_at.isoformat() if verified_at else None
        body = json.dumps({"backup_id": backup_id, "verified_at": at}).encode()
        put_new(self.store, verified_mark_key(target, backup_id, mark_id), body)

    def read_marks(self, target: str, backup_id: str) -> Marks:
        """Return what was marked on a backup after its manifest was written.

        Raises
        ------
        IntegrityError
            `MARK_DAMAGED`
        """
        tiers, pinned_at, held, verified = set(), None, _Mark(), _Mark()
        for info in self.store.list(marks_prefix(target, backup_id)):
            body = self.store.get(info.key, limit_bytes=_MARK_LIMIT_BYTES)
            try:
                mark = _Mark.model_validate_json(body)
            except ValidationError as error:
                raise IntegrityError(
                    f"The mark {info.key} cannot be read.",
                    code="MARK_DAMAGED",
                    hint="Look at it; without it the backup may be kept for another time than was asked for.",
                ) from error
            tiers |= {mark.tier} if mark.tier else set()
            pinned_at = mark.pinned_at or pinned_at
            held = mark if "held_at" in mark.model_fields_set else held  # the last one counts
            verified = mark if "verified_at" in mark.model_fields_set else verified
        return Marks(frozenset(tiers), pinned_at, held.held_at, held.hold, verified.verified_at)
