"""The items of backups and restores."""

from __future__ import annotations

from typing import Any

from pynamodb.attributes import (
    BooleanAttribute,
    ListAttribute,
    MapAttribute,
    NumberAttribute,
    UnicodeAttribute,
    UnicodeSetAttribute,
)

from coffre.catalog.items import FailureMap, Item, LockMap, TimeAttribute


class ProgressMap(MapAttribute[str, Any]):
    """`coffre.model.backup.Progress`."""

    phase = UnicodeAttribute(null=True)
    done_bytes = NumberAttribute(null=True)
    total_bytes = NumberAttribute(null=True)
    done_tables = NumberAttribute(null=True)
    total_tables = NumberAttribute(null=True)
    done_objects = NumberAttribute(null=True)
    total_objects = NumberAttribute(null=True)
    current = UnicodeAttribute(null=True)
    workers = NumberAttribute(null=True)
    snapshot_seconds = NumberAttribute(null=True)
    snapshot_transactions = NumberAttribute(null=True)


class HoldMap(MapAttribute[str, Any]):
    """`coffre.model.backup.HoldProgress`."""

    released = BooleanAttribute(null=True)
    done = NumberAttribute(null=True)
    total = NumberAttribute(null=True)
    refused = ListAttribute(of=NumberAttribute, null=True)


class RunItem(Item):
    """What the records of backups and restores have in common. `sk` is the id of the run.

    Attributes carry the names of the record's fields. Which of them are required is defined once, by the record.
    """

    target_key = UnicodeAttribute(null=True)
    status_key = UnicodeAttribute(null=True)
    target = UnicodeAttribute(null=True)
    status = UnicodeAttribute(null=True)
    created_at = TimeAttribute(null=True)
    heartbeat_at = TimeAttribute(null=True)
    completed_at = TimeAttribute(null=True)
    duration_ms = NumberAttribute(null=True)
    tables = NumberAttribute(null=True)
    rows = NumberAttribute(null=True)
    objects = NumberAttribute(null=True)
    exceptions = ListAttribute(of=UnicodeAttribute, null=True)
    notes = ListAttribute(of=UnicodeAttribute, null=True)
    progress = ProgressMap(null=True)  # type: ignore[no-untyped-call]
    failure = FailureMap(null=True)  # type: ignore[no-untyped-call]
    request_id = UnicodeAttribute(null=True)
    cancelled_by = UnicodeAttribute(null=True)


class BackupItem(RunItem):
    """`coffre.model.backup.Backup`."""

    kind = UnicodeAttribute(null=True)
    tiers = UnicodeSetAttribute(null=True)
    slot = UnicodeAttribute(null=True)
    started_at = TimeAttribute(null=True)
    plaintext_bytes = NumberAttribute(null=True)
    stored_bytes = NumberAttribute(null=True)
    unread = NumberAttribute(null=True)
    point = UnicodeAttribute(null=True)
    point_name = UnicodeAttribute(null=True)
    manifest_key = UnicodeAttribute(null=True)
    manifest_sha256 = UnicodeAttribute(null=True)
    source_version = UnicodeAttribute(null=True)
    encryption = UnicodeAttribute(null=True)
    verified_at = TimeAttribute(null=True)
    damaged_at = TimeAttribute(null=True)
    damage = UnicodeAttribute(null=True)
    damage_count = NumberAttribute(null=True)
    read_until = UnicodeAttribute(null=True)
    read_frames = NumberAttribute(null=True)
    pinned_at = TimeAttribute(null=True)
    expires_at = TimeAttribute(null=True)
    locked_until = TimeAttribute(null=True)
    lock_progress = LockMap(null=True)  # type: ignore[no-untyped-call]
    held_at = TimeAttribute(null=True)
    hold = UnicodeAttribute(null=True)
    hold_progress = HoldMap(null=True)  # type: ignore[no-untyped-call]
    deleted_at = TimeAttribute(null=True)
    deletion = UnicodeAttribute(null=True)
    spread = UnicodeAttribute(null=True)
    workers = NumberAttribute(null=True)


class RestoreItem(RunItem):
    """`coffre.model.backup.Restore`. `awaited` is the number of the invocation that it was handed over to."""

    backup_id = UnicodeAttribute(null=True)
    destination = UnicodeAttribute(null=True)
    dry_run = BooleanAttribute(null=True)
    invocation = NumberAttribute(null=True)
    awaited = NumberAttribute(null=True)
    report_key = UnicodeAttribute(null=True)
    confirmed = UnicodeAttribute(null=True)
    source = UnicodeAttribute(null=True)
