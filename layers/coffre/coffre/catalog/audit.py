"""Who did what, when. Events are added, never changed, and do not expire."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from ulid import ULID

from coffre.catalog.items import BY_TARGET, AuditItem, index_value
from coffre.catalog.records import read_item
from coffre.catalog.runs import id_range
from coffre.catalog.tables import DynamoTable, ItemQuery

_PARTITION: Final = "AUDIT"


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One thing that a person or a function did.

    `actor` is a person (an ARN) or a function, `action` a verb (`restore.started`), `subject` the id of what it was
    done to (a backup, a restore), `detail` a sentence for a person. Never a secret.
    """

    id: str
    at: datetime
    actor: str
    action: str
    target: str | None
    subject: str | None
    detail: str | None


class Audit:
    """The audit events."""

    def __init__(self, table: DynamoTable) -> None:
        self._table = table

    def record(
        self,
        at: datetime,
        actor: str,
        action: str,
        target: str | None = None,
        subject: str | None = None,
        detail: str | None = None,
    ) -> AuditEvent:
        """Add an event and return it."""
        event = AuditEvent(str(ULID.from_datetime(at)), at, actor, action, target, subject, detail)
        # No condition: 80 random bits keep ids apart, and a repeated call then writes the same event once.
        self._table.put(
            AuditItem(
                pk=_PARTITION,
                sk=event.id,
                at=at,
                actor=actor,
                action=action,
                target=target,
                target_key=None if target is None else index_value(_PARTITION, target),
                subject=subject,
                detail=detail,
            )
        )
        return event

    def events(self, target: str | None = None, since: datetime | None = None) -> Iterator[AuditEvent]:
        """Yield events newest first, reading as they are taken. Those of one target may be a moment behind."""
        keys = id_range(since, None)
        if target is None:
            listing = ItemQuery(_PARTITION, None, keys)
        else:
            listing = ItemQuery(index_value(_PARTITION, target), BY_TARGET, keys)
        for raw in self._table.query(listing):
            item = read_item(raw, AuditItem, required=("at", "actor", "action"))
            yield AuditEvent(item.sk, item.at, item.actor, item.action, item.target, item.subject, item.detail)
