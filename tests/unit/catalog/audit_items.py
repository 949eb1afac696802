"""A table's audit items in memory, as Coffre writes them, and what somebody with write access can do to them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from ulid import ULID

from coffre.catalog.audit import _item, stored_event
from coffre.catalog.tables import RawItem
from coffre.model.audit import Anchor, AuditEvent, Head
from coffre.policy.audit_chain import ChainReport, StoredEvent, chained, sort_key, verify_chain

START: Final = datetime(2026, 11, 1, tzinfo=UTC)
SHARDS: Final = ("-", "blog", "shop")


def an_event(number: int, shard: str, chance: random.Random) -> AuditEvent:
    at = START + timedelta(minutes=number)
    return AuditEvent(
        id=str(ULID.from_bytes(chance.randbytes(16))),
        at=at,
        actor=f"arn:aws:iam::1:user/{chance.choice(('ana', 'zoë', 'li'))}",
        verified=chance.random() < 0.5,
        action=chance.choice(("restore.started", "backup.deleted", "backup.pinned")),
        target=None if shard == "-" else shard,
        subject=str(number),
        detail=chance.choice((None, "into a new database")),
        origin="command, eu-west-3",
    )


def raw_of(event: AuditEvent, *, pk: str | None = None, sk: str | None = None) -> RawItem:
    item = _item(event)
    item.pk, item.sk = pk or item.pk, sk or item.sk
    raw: RawItem = item.serialize()
    return raw


def in_table(event: AuditEvent, shard: str | None = None, sort: str | None = None) -> StoredEvent:
    """Return what is read of an event's item, without one; that it is so is tested."""
    return StoredEvent(shard or event.shard or "", sort or sort_key(event.sequence or 0), event)


@dataclass
class Table:
    """The items of all chains by shard and sort key, and the heads."""

    items: dict[str, dict[str, StoredEvent]] = field(default_factory=dict)
    heads: dict[str, Head] = field(default_factory=dict)

    @classmethod
    def of(cls, chains: dict[str, list[AuditEvent]]) -> Table:
        """A table that Coffre could have written: every event linked and hashed, every head right."""
        table = cls()
        for shard, events in chains.items():
            table.write(shard, events)
        return table

    def write(self, shard: str, events: Sequence[AuditEvent]) -> None:
        """Replace a whole chain and its head consistently: what an attacker who knows the format can do."""
        self.items[shard], head = {}, None
        for event in events:
            link = chained(event, shard, head)
            head = Head(shard=shard, sequence=link.sequence or 0, hash=link.hash or "")
            self.put(link)
        self.heads.pop(shard, None)
        if head is not None:
            self.heads[shard] = head

    def put(self, event: AuditEvent, *, shard: str | None = None, sort: str | None = None) -> None:
        self._put(in_table(event, shard, sort))

    def put_raw(self, raw: RawItem) -> None:
        self._put(stored_event(raw))

    def _put(self, one: StoredEvent) -> None:
        self.items.setdefault(one.shard, {})[one.sort] = one

    def events(self, shard: str) -> list[AuditEvent]:
        return [one.event for _, one in sorted(self.items[shard].items()) if one.event is not None]

    def copy(self) -> Table:
        return Table({shard: dict(items) for shard, items in self.items.items()}, dict(self.heads))

    def anchor(self, at: datetime = START, previous: Anchor | None = None) -> Anchor:
        anchor_id = str(ULID.from_datetime(at))
        heads = tuple(self.heads[shard] for shard in sorted(self.heads))
        return Anchor(id=anchor_id, at=at, previous=previous.id if previous else None, heads=heads)

    def check(self, *anchors: Anchor, now: datetime | None = None) -> ChainReport:
        stored: Iterable[StoredEvent] = (
            one for _, items in sorted(self.items.items()) for _, one in sorted(items.items())
        )
        return verify_chain(stored, self.heads.values(), anchors, now=now)


# --- what an attacker does to the chain `shard`, about its event `number` ---------------------------------------------

type Attack = Callable[[Table, str, int, random.Random], None]


def delete(table: Table, shard: str, number: int, _chance: random.Random) -> None:
    del table.items[shard][sort_key(number)]


def delete_skilled(table: Table, shard: str, number: int, _chance: random.Random) -> None:
    events = table.events(shard)
    table.write(shard, events[: number - 1] + events[number:])


def insert(table: Table, shard: str, number: int, chance: random.Random) -> None:
    """Make room before an event: the later ones get other keys."""
    events = table.events(shard)
    for event in reversed(events[number - 1 :]):
        table.put(event, sort=sort_key((event.sequence or 0) + 1))
    forged = replace(events[number - 1], id=str(ULID.from_bytes(chance.randbytes(16))))
    table.put(forged)


def insert_skilled(table: Table, shard: str, number: int, chance: random.Random) -> None:
    events = table.events(shard)
    table.write(shard, [*events[: number - 1], an_event(999, shard, chance), *events[number - 1 :]])


def insert_foreign(table: Table, shard: str, number: int, chance: random.Random) -> None:
    """Add an item whose key is not a number of the chain, or is beyond its end."""
    event = table.events(shard)[number - 1]
    last = len(table.items[shard])
    table.put(event, sort=chance.choice(("0" * 20, str(number), f"{number:019d}x", sort_key(last + 1), "9" * 20)))


def _changed(event: AuditEvent, chance: random.Random) -> AuditEvent:
    changes: list[dict[str, object]] = [
        {"actor": event.actor + "x"},
        {"verified": not event.verified},
        {"action": "backup.read"},
        {"at": event.at + timedelta(microseconds=1)},
        {"target": "another" if event.target != "another" else None},
        {"subject": None},
        {"detail": "nothing happened"},
        {"result": "failed"},
        {"origin": None},
        {"id": str(ULID.from_bytes(chance.randbytes(16)))},
    ]
    return replace(event, **chance.choice(changes))  # type: ignore[arg-type]


def change(table: Table, shard: str, number: int, chance: random.Random) -> None:
    table.put(_changed(table.events(shard)[number - 1], chance))


def change_raw(table: Table, shard: str, number: int, chance: random.Random) -> None:
    """Change what an item holds without any regard for its form."""
    raw = raw_of(table.events(shard)[number - 1])
    name = chance.choice(sorted(raw.keys() - {"pk", "sk"}))
    match chance.randrange(4):
        case 0:
            del raw[name]
        case 1:
            raw[name] = {"L": []}
        case 2:
            raw["note"] = {"S": "an attribute that Coffre does not know"}
        case _:
            raw["actor"] = {"S": f"{raw['actor']['S']}\u0301"}
    table.put_raw(raw)


def change_skilled(table: Table, shard: str, number: int, chance: random.Random) -> None:
    events = table.events(shard)
    table.write(shard, [*events[: number - 1], _changed(events[number - 1], chance), *events[number:]])


def change_hash(table: Table, shard: str, number: int, chance: random.Random) -> None:
    """Change one event and its own hash, and leave the next one's reference to it."""
    event = _changed(table.events(shard)[number - 1], chance)
    before = table.events(shard)[number - 2] if number > 1 else None
    head = Head(shard=shard, sequence=number - 1, hash=before.hash or "") if before else None
    table.put(chained(event, shard, head))


def _swapped(table: Table, shard: str, number: int, chance: random.Random) -> tuple[list[AuditEvent], int]:
    events = table.events(shard)
    other = chance.choice([at for at in range(1, len(events) + 1) if at != number] or [number])
    events[number - 1], events[other - 1] = events[other - 1], events[number - 1]
    return events, other


def reorder(table: Table, shard: str, number: int, chance: random.Random) -> None:
    events, other = _swapped(table, shard, number, chance)
    if other == number:
        return delete(table, shard, number, chance)
    for at in (number, other):
        table.put(replace(events[at - 1], sequence=at))
    return None


def reorder_skilled(table: Table, shard: str, number: int, chance: random.Random) -> None:
    events, other = _swapped(table, shard, number, chance)
    table.write(shard, events[1:] if other == number else events)


def misfile(table: Table, shard: str, number: int, chance: random.Random) -> None:
    """Move an event to the place of one of another chain."""
    other = chance.choice([one for one in table.items if one != shard])
    event = table.events(shard)[number - 1]
    table.put(event, shard=other, sort=sort_key(chance.randint(1, len(table.items[other]))))
    del table.items[shard][sort_key(number)]


def fork(table: Table, shard: str, number: int, chance: random.Random) -> None:
    """Replace an event and all that follow by another history."""
    history = [an_event(500 + more, shard, chance) for more in range(chance.randint(1, 6))]
    table.write(shard, [*table.events(shard)[: number - 1], *history])


def roll_back(table: Table, shard: str, number: int, _chance: random.Random) -> None:
    """Set the chain back to what it was before the event, as point-in-time recovery does."""
    table.write(shard, table.events(shard)[: number - 1])
    if not table.items[shard]:
        del table.items[shard]


def drop(table: Table, shard: str, _number: int, _chance: random.Random) -> None:
    """Delete a whole chain and its head."""
    del table.items[shard]
    table.heads.pop(shard)


def drop_head(table: Table, shard: str, _number: int, _chance: random.Random) -> None:
    table.heads.pop(shard)


NAIVE: Final[tuple[Attack, ...]] = (
    *(delete, insert, insert_foreign, change, change_raw, change_hash, reorder, misfile, drop_head),
)
"""Attacks after which the chain, or its head, contradicts itself."""
CONSISTENT: Final[tuple[Attack, ...]] = (
    *(delete_skilled, insert_skilled, change_skilled, reorder_skilled, fork, roll_back),
)
"""Attacks after which every link, hash and head is right again: the table alone shows nothing."""
