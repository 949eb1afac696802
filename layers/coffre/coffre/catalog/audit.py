"""Who did what, when. Events are added, never changed, and do not expire."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from ulid import ULID

from coffre.catalog.items import BY_TARGET, AuditItem, index_value
from coffre.catalog.records import read_item
from coffre.catalog.runs import id_range
from coffre.catalog.tables import DynamoTable, ItemQuery
from coffre.model.audit import Actor, AuditEvent, AuditResult

_PARTITION: Final = "AUDIT"


class Audit:
    """The audit events."""

    def __init__(self, table: DynamoTable) -> None:
        self._table = table

    def record(
        self,
        at: datetime,
        actor: Actor | str,
        action: str,
        target: str | None = None,
        subject: str | None = None,
        detail: str | None = None,
        *,
        result: AuditResult = "done",
        origin: str | None = None,
    ) -> AuditEvent:
        """Add an event and return it.

        Parameters
        ----------
        actor
            A name alone is what the caller claims to be.
        action
            A noun and a verb: `restore.confirmed`.
        origin
            From where the request came; by default this function or command, and its region.
        """
        who = Actor(actor) if isinstance(actor, str) else actor
        event = AuditEvent(
            str(ULID.from_datetime(at)), at, who.name, action, target, subject, detail, who.verified, result, origin
        )
        # No condition: 80 random bits keep ids apart, and a repeated call then writes the same event once.
        self._table.put(
            AuditItem(
                pk=_PARTITION,
                sk=event.id,
                at=at,
                actor=event.actor,
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
