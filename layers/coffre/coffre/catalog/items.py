"""What is in the table: the pynamodb model of each kind of item. They are private to this package.

The models only translate items; nothing binds them to a table, so they have no `Meta` and no connection. Which table
is used is known to `DynamoTable` alone.

Every kind of item is one partition (`pk`). A partition takes 1,000 writes a second, and a run writes its record every
few seconds: enough for thousands of concurrent runs and for any number of items, as the table has no local index.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from pynamodb.attributes import (
    Attribute,
    BooleanAttribute,
    ListAttribute,
    MapAttribute,
    NumberAttribute,
    UnicodeAttribute,
)
from pynamodb.constants import STRING
from pynamodb.models import Model

BY_TARGET: Final = "by_target"
BY_STATUS: Final = "by_status"


def index_value(partition: str, value: str) -> str:
    """Return what the partition key of an index holds: `BACKUP#shop`. Kinds of items never mix in an index."""
    return f"{partition}#{value}"


class TimeAttribute(Attribute[datetime]):
    """A time as `2026-10-02T03:00:00.000000+00:00`: always UTC and of one width, so that text order is time order."""

    attr_type = STRING

    def serialize(self, value: datetime) -> str:
        """Return the text; a naive time is a mistake of the caller."""
        if value.tzinfo is None:
            raise ValueError(f"{self.attr_name} is a time without a zone: {value.isoformat()}")
        return value.astimezone(UTC).isoformat(timespec="microseconds")

    def deserialize(self, value: str) -> datetime:
        """Return the time, aware and UTC."""
        return datetime.fromisoformat(value).astimezone(UTC)


class FailureMap(MapAttribute[str, Any]):
    """`coffre.model.backup.Failure`."""

    code = UnicodeAttribute(null=True)
    message = UnicodeAttribute(null=True)
    hint = UnicodeAttribute(null=True)


class LockMap(MapAttribute[str, Any]):
    """`coffre.model.locks.LockProgress`."""

    until = TimeAttribute(null=True)
    done = NumberAttribute(null=True)
    refused = ListAttribute(of=NumberAttribute, null=True)


class Item(Model):
    """What every item has."""

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)


class SlotItem(Item):
    """Which backup answers for a target's scheduled time. `sk` is `<target>#<scheduled time>`."""

    backup_id = UnicodeAttribute(null=True)
    claimed_at = TimeAttribute(null=True)


class ServerItem(Item):
    """`coffre.model.server.SeenDatabase`. `sk` is the name of the target."""

    server = UnicodeAttribute(null=True)
    database = UnicodeAttribute(null=True)
    found_at = TimeAttribute(null=True)
    gone_since = TimeAttribute(null=True)


class TickItem(Item):
    """Up to which time the runs of schedules were started. `sk` is `#tick#<function>`."""

    at = TimeAttribute(null=True)


class LockItem(Item):
    """Who works on a target. `sk` is the target's name; `dead_owner` is from whom the lock was taken over.

    `continuation` is the number of the last invocation that continued a paused run, `awaited` that of the one that it
    was handed over to.
    """

    owner = UnicodeAttribute(null=True)
    since = TimeAttribute(null=True)
    heartbeat_at = TimeAttribute(null=True)
    dead_owner = UnicodeAttribute(null=True)
    continuation = NumberAttribute(null=True)
    awaited = NumberAttribute(null=True)


class DeliveryItem(Item):
    """Which run an event has started. `sk` is the event's request id. DynamoDB removes it after `expires_at_epoch`."""

    run_id = UnicodeAttribute(null=True)
    claimed_at = TimeAttribute(null=True)
    expires_at_epoch = NumberAttribute(null=True)


class AuditItem(Item):
    """`coffre.model.audit.AuditEvent`. `sk` is its number with 20 digits. Never changed, never expired."""

    id = UnicodeAttribute(null=True)
    at = TimeAttribute(null=True)
    actor = UnicodeAttribute(null=True)
    verified = BooleanAttribute(null=True)
    action = UnicodeAttribute(null=True)
    target = UnicodeAttribute(null=True)
    subject = UnicodeAttribute(null=True)
    detail = UnicodeAttribute(null=True)
    result = UnicodeAttribute(null=True)
    origin = UnicodeAttribute(null=True)
    shard = UnicodeAttribute(null=True)
    sequence = NumberAttribute(null=True)
    previous = UnicodeAttribute(null=True)
    hash = UnicodeAttribute(null=True)


class OldAuditItem(Item):
    """An event from before the chains. `sk` is a ULID of its time."""

    target_key = UnicodeAttribute(null=True)
    at = TimeAttribute(null=True)
    actor = UnicodeAttribute(null=True)
    action = UnicodeAttribute(null=True)
    target = UnicodeAttribute(null=True)
    subject = UnicodeAttribute(null=True)
    detail = UnicodeAttribute(null=True)


class AuditHeadItem(Item):
    """`coffre.model.audit.Head`. `sk` is the shard."""

    sequence = NumberAttribute(null=True)
    hash = UnicodeAttribute(null=True)


class IncidentItem(Item):
    """`coffre.model.incident.Incident`. `sk` is `<target>#<kind>#<fingerprint>`."""

    target = UnicodeAttribute(null=True)
    kind = UnicodeAttribute(null=True)
    fingerprint = UnicodeAttribute(null=True)
    subject = UnicodeAttribute(null=True)
    since = TimeAttribute(null=True)
    seen_at = TimeAttribute(null=True)
    seen = NumberAttribute(null=True)
    claimed_at = TimeAttribute(null=True)
    told_at = TimeAttribute(null=True)
    ended_at = TimeAttribute(null=True)
    version = NumberAttribute(null=True)
    recorded = NumberAttribute(null=True)
    recorded_at = TimeAttribute(null=True)


class LatestItem(Item):
    """What a job found last. `sk` is the target's name, or `-`; `record` is JSON (`coffre.catalog.latest_results`)."""

    at = TimeAttribute(null=True)
    record = UnicodeAttribute(null=True)


class JournalItem(Item):
    """`coffre.model.journal.JournalState` as JSON. `sk` is the target's name; `revision` counts its changes."""

    revision = NumberAttribute(null=True)
    record = UnicodeAttribute(null=True)


class UsageItem(Item):
    """`coffre.model.usage.Usage`. `sk` is the id of the run. DynamoDB removes it after `expires_at_epoch`."""

    job = UnicodeAttribute(null=True)
    target = UnicodeAttribute(null=True)
    at = TimeAttribute(null=True)
    is_arm = BooleanAttribute(null=True)
    expires_at_epoch = NumberAttribute(null=True)
    invocations = NumberAttribute(null=True)
    function_mb_ms = NumberAttribute(null=True)
    vault_writes = NumberAttribute(null=True)
    vault_reads = NumberAttribute(null=True)
    vault_sent_bytes = NumberAttribute(null=True)
    vault_received_bytes = NumberAttribute(null=True)
    source_writes = NumberAttribute(null=True)
    source_reads = NumberAttribute(null=True)
    source_sent_bytes = NumberAttribute(null=True)
    source_received_bytes = NumberAttribute(null=True)
    outside_bytes = NumberAttribute(null=True)
    kms_requests = NumberAttribute(null=True)
    transitions = NumberAttribute(null=True)


class CopyItem(Item):
    """`coffre.model.copies.Copy`. `sk` is the destination's name and the backup's id: `offsite#01K9...`."""

    destination = UnicodeAttribute(null=True)
    backup_id = UnicodeAttribute(null=True)
    target = UnicodeAttribute(null=True)
    status = UnicodeAttribute(null=True)
    started_at = TimeAttribute(null=True)
    completed_at = TimeAttribute(null=True)
    manifest_sha256 = UnicodeAttribute(null=True)
    packs = NumberAttribute(null=True)
    bytes = NumberAttribute(null=True)
    requests = NumberAttribute(null=True)
    verified_at = TimeAttribute(null=True)
    level = UnicodeAttribute(null=True)
    damaged = UnicodeAttribute(null=True)
    damaged_packs = ListAttribute(of=UnicodeAttribute, null=True)
    locked_until = TimeAttribute(null=True)
    lock_progress = LockMap(null=True)  # type: ignore[no-untyped-call]
    error = UnicodeAttribute(null=True)
    by_command = BooleanAttribute(null=True)


class PointItem(Item):
    """`coffre.model.points.PointRecord` as JSON. `sk` is its id."""

    at = TimeAttribute(null=True)
    document = UnicodeAttribute(null=True)


class PartItem(Item):
    """The record of a finished part. `sk` is `<backup id>#<number>`. DynamoDB removes it after `expires_at_epoch`."""

    sha256 = UnicodeAttribute(null=True)
    expires_at_epoch = NumberAttribute(null=True)


class RecipientItem(Item):
    """Since when a public key has been in use. `sk` is the key."""

    first_used_at = TimeAttribute(null=True)


class ConfigurationItem(Item):
    """`coffre.model.configuration_version.ConfigurationVersion`. `sk` is its number, in ten digits."""

    at = TimeAttribute(null=True)
    actor = UnicodeAttribute(null=True)
    verified = BooleanAttribute(null=True)
    note = UnicodeAttribute(null=True)
    changes = ListAttribute(of=UnicodeAttribute, null=True)
    sha256 = UnicodeAttribute(null=True)
    template_sha256 = UnicodeAttribute(null=True)
    document = UnicodeAttribute(null=True)


class CheckupItem(Item):
    """`coffre.model.checkup.Checkup` as JSON. `sk` is the target, or `-`."""

    checked_at = TimeAttribute(null=True)
    document = UnicodeAttribute(null=True)


class ConfirmItem(Item):
    """`coffre.model.confirmation.IssuedPlan`. `sk` is the SHA-256 of its token; `plan` and `further` are JSON.

    `expires_at_epoch` is for DynamoDB, which deletes the item some time after it.
    """

    plan = UnicodeAttribute(null=True)
    plan_sha256 = UnicodeAttribute(null=True)
    actor = UnicodeAttribute(null=True)
    verified = BooleanAttribute(null=True)
    made_at = TimeAttribute(null=True)
    expires_at = TimeAttribute(null=True)
    expires_at_epoch = NumberAttribute(null=True)
    approvals = NumberAttribute(null=True)
    approved_by = UnicodeAttribute(null=True)
    approved_at = TimeAttribute(null=True)
    declined_by = UnicodeAttribute(null=True)
    declined_at = TimeAttribute(null=True)
    declined_because = UnicodeAttribute(null=True)
    further = UnicodeAttribute(null=True)
