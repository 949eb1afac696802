"""Who did what, when: chains of events, one for each target. Events are added, never changed, and do not expire.

An event and the head of its chain are written in one transaction, which fails when another writer was faster: so a
chain has no gap and no fork (docs/audit.md).
"""

from __future__ import annotations

import heapq
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, Final

from pynamodb.expressions.condition import Condition
from ulid import ULID

from coffre.catalog.items import BY_TARGET, AuditHeadItem, AuditItem, OldAuditItem, index_value
from coffre.catalog.records import damaged, read_item, readable, reading
from coffre.catalog.run_ids import id_range
from coffre.catalog.tables import ConditionFailedError, DynamoTable, ItemQuery, RawItem
from coffre.model.audit import NO_TARGET, Actor, AuditEvent, AuditResult, Head
from coffre.model.errors import CatalogError, CoffreError, IntegrityError
from coffre.policy.audit_chain import StoredEvent, chained, head_of, normal, sort_key

_PARTITION: Final = "AUDIT"
_HEADS: Final = "AUDITHEAD"
# A lost attempt means that another writer of the same chain was faster, or that the table was asked to do too much.
# All pauses together are at most six seconds.
_ATTEMPTS: Final = 16
_FIRST_PAUSE_SECONDS: Final = 0.02
_LONGEST_PAUSE_SECONDS: Final = 0.5
# A table that does not answer was asked for seven seconds already, with every retry of the client.
_UNANSWERED: Final = 2
_REQUIRED: Final = ("id", "at", "actor", "verified", "action", "result", "shard", "sequence", "previous", "hash")
_KNOWN: Final = frozenset({"pk", "sk", *_REQUIRED, "target", "subject", "detail", "origin"})


class Audit:
    """The audit events.

    Parameters
    ----------
    origin
        From where this process records: the function or the command, and the region.
    pause
        Waits for this number of seconds.
    """

    def __init__(
        self, table: DynamoTable, origin: str | None = None, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._table = table
        self._origin = origin
        self._pause = pause
        self._last: dict[str, Head] = {}  # As this process left each chain: saves a request when it is alone.

    # --- adding ---

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
        """Add an event and return it. Record what may not happen unrecorded before it is done.

        Parameters
        ----------
        actor
            A name alone is what the caller claims to be.
        action
            A noun and a verb: `restore.confirmed`.
        origin
            From where the request came; by default this function or command, and its region.

        Raises
        ------
        CatalogError
            The event was not recorded, or nothing is known about it. `AUDIT_STUCK`: the chain cannot be continued.
        """
        who = Actor(actor) if isinstance(actor, str) else actor
        event = normal(
            AuditEvent(
                id=str(ULID.from_datetime(at)),
                at=at,
                actor=who.name,
                action=action,
                target=target,
                subject=subject,
                detail=detail,
                verified=who.verified,
                result=result,
                origin=origin or self._origin,
            )
        )
        shard = event.target or NO_TARGET
        if result == "refused" and self.head(shard) is None:
            shard = NO_TARGET  # Requests about targets that do not exist begin no chains.
        return self._append(event, shard)

    @contextmanager
    def recorded(
        self, at: datetime, actor: Actor | str, action: str, target: str | None, subject: str, detail: str | None = None
    ) -> Iterator[None]:
        """Record an act and then let it happen: what cannot be recorded is not done. What it raises is recorded too."""
        self.record(at, actor, action, target, subject, detail)
        try:
            yield
        except BaseException as error:
            self.record_failure(at, actor, action, target, subject, error)
            raise

    def record_failure(
        self, at: datetime, actor: Actor | str, action: str, target: str | None, subject: str, error: BaseException
    ) -> None:
        """Record that an act which is recorded already failed, as far as the table answers."""
        why = f"{error.message} [{error.code}]" if isinstance(error, CoffreError) else type(error).__name__
        with suppress(CatalogError):
            self.record(at, actor, action, target, subject, why, result="failed")

    def _append(self, event: AuditEvent, shard: str) -> AuditEvent:
        unanswered = 0
        for attempt in range(_ATTEMPTS):
            head = self._last.pop(shard, None) or self.head(shard)
            link = chained(event, shard, head)
            try:
                self._write(link, head)
                return self._remember(link)
            except ConditionFailedError:
                pass
            except CatalogError:
                unanswered += 1
                if unanswered >= _UNANSWERED:
                    raise
            longest = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2**attempt)
            self._pause(random.uniform(0, longest))  # noqa: S311 - spreads writers, is no secret
            if self._is_stored(head_of(link)):  # The answer to our own attempt was lost.
                return self._remember(link)
        raise _stuck(shard)

    def _write(self, link: AuditEvent, head: Head | None) -> None:
        new = head_of(link)
        unchanged = (
            (AuditHeadItem.sequence == head.sequence) & (AuditHeadItem.hash == head.hash)
            if head
            else AuditHeadItem.pk.does_not_exist()
        )
        actions = [AuditHeadItem.sequence.set(new.sequence), AuditHeadItem.hash.set(new.hash)]
        token = new.hash[:36]  # The same link is the same call: a repetition changes nothing.
        self._table.insert_and_update(_item(link), _HEADS, new.shard, actions, unchanged, token=token)

    def _is_stored(self, head: Head) -> bool:
        raw = self._table.get(_partition_of(head.shard), sort_key(head.sequence))
        return raw is not None and raw.get("hash", {}).get("S") == head.hash

    def _remember(self, link: AuditEvent) -> AuditEvent:
        head = head_of(link)
        self._last[head.shard] = head
        return link

    # --- reading ---

    def events(
        self, target: str | None = None, since: datetime | None = None, damaged: list[IntegrityError] | None = None
    ) -> Iterator[AuditEvent]:
        """Yield events newest first, reading as they are taken: of one target, or of all.

        Events of one chain are in its order; several chains are merged by their times. Events from before the chains
        are among them; those of one target may be a moment behind. What is `damaged`: see `readable`.
        """
        shards = [raw["sk"]["S"] for raw in self._table.query(ItemQuery(_HEADS, oldest_first=True))]
        where = AuditItem.at >= since if since is not None else None
        if target is None:
            old = ItemQuery(_PARTITION, None, id_range(since, None))
            sources = [self._newest_first(shard, where, damaged) for shard in shards]
        else:
            old = ItemQuery(index_value(_PARTITION, target), BY_TARGET, id_range(since, None))
            of_target = AuditItem.target == target
            others = of_target if where is None else where & of_target
            sources = [
                self._newest_first(shard, others if shard == NO_TARGET else where, damaged)
                for shard in shards
                if shard in (target, NO_TARGET)
            ]
        return heapq.merge(
            *sources, readable(self._table.query(old), _read_old, damaged), key=lambda event: event.at, reverse=True
        )

    def _newest_first(
        self, shard: str, where: Condition | None, damaged: list[IntegrityError] | None
    ) -> Iterator[AuditEvent]:
        return readable(self._table.query(ItemQuery(_partition_of(shard), where=where)), _read, damaged)

    def of_action(self, shard: str, action: str) -> Iterator[AuditEvent]:
        """Yield the events of one chain with one action that was done, newest first; the table filters."""
        where = (AuditItem.action == action) & (AuditItem.result == "done")
        for raw in self._table.query(ItemQuery(_partition_of(shard), where=where, page=None)):
            yield _read(raw)

    def head(self, shard: str) -> Head | None:
        """Return the head of a chain as it is at this instant; None: the chain has no event."""
        raw = self._table.get(_HEADS, shard)
        return _read_head(raw) if raw else None

    def heads(self) -> tuple[Head, ...]:
        """Return the heads of all chains, by shard."""
        return tuple(_read_head(raw) for raw in self._table.query(ItemQuery(_HEADS, oldest_first=True)))

    def stored(self, shard: str, head: Head | None, *, after: int = 0) -> Iterator[StoredEvent]:
        """Yield the items of a chain as they are, to check them: from the first after a number.

        Events that others record meanwhile are left out.

        Parameters
        ----------
        head
            The chain's head as it was read before.
        """
        known = head.sequence if head else 0
        later = AuditItem.sk > sort_key(after) if after else None
        for raw in self._table.query(ItemQuery(_partition_of(shard), None, later, oldest_first=True)):
            one = stored_event(raw)
            if one.event is not None and one.sort > sort_key(known):
                now = self.head(shard)
                if now is not None and one.sort <= sort_key(now.sequence) and now.sequence > known:
                    return
            yield one


def stored_event(raw: RawItem) -> StoredEvent:
    """Return a raw item of a chain as an event, or with what is wrong with it."""
    shard = str(raw["pk"].get("S", "")).removeprefix(f"{_PARTITION}#")
    sort = str(raw["sk"].get("S", ""))
    try:
        return StoredEvent(shard, sort, _read(raw))
    except IntegrityError as error:
        return StoredEvent(shard, sort, None, error.detail)


def _partition_of(shard: str) -> str:
    return f"{_PARTITION}#{shard}"


def _item(link: AuditEvent) -> AuditItem:
    head = head_of(link)
    fields: dict[str, Any] = {name: getattr(link, name) for name in AuditEvent.__slots__}
    return AuditItem(pk=_partition_of(head.shard), sk=sort_key(head.sequence), **fields)


def _read(raw: RawItem) -> AuditEvent:
    if unknown := raw.keys() - _KNOWN:
        raise damaged(raw, f"unknown: {', '.join(sorted(unknown))}")
    item = read_item(raw, AuditItem, required=_REQUIRED)
    return AuditEvent(**{name: getattr(item, name) for name in AuditEvent.__slots__})


def _read_old(raw: RawItem) -> AuditEvent:
    item = read_item(raw, OldAuditItem, required=("at", "actor", "action"))
    return AuditEvent(item.sk, item.at, item.actor, item.action, item.target, item.subject, item.detail)


def _read_head(raw: RawItem) -> Head:
    item = read_item(raw, AuditHeadItem)
    with reading(raw):
        return Head(shard=item.sk, sequence=item.sequence, hash=item.hash)


def _stuck(shard: str) -> CatalogError:
    return CatalogError(
        f'The audit chain "{shard}" could not be continued in {_ATTEMPTS} attempts, so nothing was done.',
        code="AUDIT_STUCK",
        hint="If many runs record at this moment, repeat it. Otherwise the chain was changed by hand: coffre audit "
        "--verify-chain. A restore does not have to wait: coffre --vault ... restore works without the catalog "
        "(docs/restore.md).",
    )
