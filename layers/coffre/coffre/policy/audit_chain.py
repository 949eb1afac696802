"""The chains of audit events: how an event is hashed, and what is wrong with chains as they are stored.

All of it is pure. What a check can and cannot find is in docs/audit.md.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, Final

from coffre.model.audit import FIRST_PREVIOUS, Anchor, AuditEvent, Head

STALE_AFTER: Final = timedelta(hours=3)
"""Anchors are made hourly: an event that none covers after this shows that they are not made any more."""

# DynamoDB takes 400 KB; a line for a person needs far less. A name of AWS's has up to 2,048 characters.
_LONGEST: Final = 2_048
_TEXTS: Final = ("actor", "action", "target", "subject", "detail", "origin")
_FORMAT: Final = 1
_DIGITS: Final = 20


# --- making events ---


def normal(event: AuditEvent) -> AuditEvent:
    """Return an event whose texts every version of Unicode and JSON writes in the same way, with its time in UTC."""
    texts: dict[str, Any] = {name: _text(text) for name in _TEXTS if (text := getattr(event, name)) is not None}
    return replace(event, at=event.at.astimezone(UTC), **texts)


def _text(text: str) -> str:
    """Return NFC without lone surrogates, which are no text, cut to what an item can hold."""
    whole = unicodedata.normalize("NFC", text.encode(errors="replace").decode())
    return whole if len(whole) <= _LONGEST else f"{whole[: _LONGEST - 3]}..."


def chained(event: AuditEvent, shard: str, head: Head | None) -> AuditEvent:
    """Return the event as the next link of a chain whose head is this one; None: it is the first."""
    sequence, previous = (head.sequence + 1, head.hash) if head else (1, FIRST_PREVIOUS)
    placed = replace(event, shard=shard, sequence=sequence, previous=previous, hash=None)
    return replace(placed, hash=hash_of(placed))


def head_of(link: AuditEvent) -> Head:
    """Return the head of a chain that ends with this event."""
    return Head.model_validate({"shard": link.shard, "sequence": link.sequence, "hash": link.hash})


def hash_of(event: AuditEvent) -> str:
    """Return the SHA-256 of an event's canonical form: what its `hash` has to be."""
    return hashlib.sha256(canonical(event)).hexdigest()


def canonical(event: AuditEvent) -> bytes:
    """Return the bytes that are hashed: one JSON object in UTF-8, keys sorted, no spaces, no floats, no escapes of
    letters. Every field is in it but the hash, absent ones as null; the time has six digits and `+00:00`."""
    document = {
        "format": _FORMAT,
        "shard": event.shard,
        "sequence": event.sequence,
        "previous": event.previous,
        "id": event.id,
        "at": event.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "actor": event.actor,
        "verified": event.verified,
        "action": event.action,
        "target": event.target,
        "subject": event.subject,
        "detail": event.detail,
        "result": event.result,
        "origin": event.origin,
    }
    return json.dumps(document, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def sort_key(sequence: int) -> str:
    """Return a number as text whose order is the order of numbers."""
    return f"{sequence:0{_DIGITS}d}"


# --- checking chains ---


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event as it is stored, with the keys of its item. None: it cannot be read, `damage` says why."""

    shard: str
    sort: str
    event: AuditEvent | None
    damage: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a chain; `sequence` is of the event where it shows."""

    code: str
    shard: str
    sequence: int | None
    text: str


@dataclass(frozen=True)
class ChainReport:
    """The result of a check. `unanchored` are events that are newer than every anchor: only the heads protect them."""

    shards: int = 0
    events: int = 0
    anchors: int = 0
    unanchored: int = 0
    newest_anchor: datetime | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def is_intact(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


@dataclass
class _Walk:
    """One chain while it is read from its first event to its last."""

    shard: str
    head: Head | None
    named: Mapping[int, tuple[str, str]]  # What anchors say: sequence -> (hash, id of the anchor)
    last: int = 0
    previous: str | None = FIRST_PREVIOUS  # None: the event before is missing or unreadable
    at_head: str | None = None


def verify_chain(
    stored: Iterable[StoredEvent],
    heads: Iterable[Head],
    anchors: Sequence[Anchor],
    *,
    now: datetime | None = None,
    tail: bool = False,
) -> ChainReport:
    """Check every chain from its first event to its head, and against anchors.

    Parameters
    ----------
    stored
        The events of all chains: chain by chain, each by its sort key.
    heads
        The heads of the catalog, as they were before the events were read.
    anchors
        Those to trust, in the order of their ids.
    now
        The clock, if it is a finding that no anchor, or none of the last hours, was made.
    tail
        `stored` begins with the event of each chain that the newest anchor names: what is older is not checked.
    """
    by_shard = {head.shard: head for head in heads}
    named = _named(anchors)
    findings = list(_disagreements(anchors))
    seen, events, unanchored, oldest = set(), 0, 0, None

    def begin(shard: str) -> _Walk:
        walk = _Walk(shard, by_shard.get(shard), named.get(shard, {}))
        if tail and walk.named:
            walk.last, walk.previous = max(walk.named) - 1, None
        return walk

    for shard, of_shard in groupby(stored, key=lambda one: one.shard):
        seen.add(shard)
        walk = begin(shard)
        anchored = max(walk.named, default=0)
        for one in of_shard:
            findings += _step(walk, one)
            events += 1
            unanchored += walk.last > anchored
            if one.event is not None and walk.last > anchored:
                oldest = min(oldest or one.event.at, one.event.at)
        findings += _end(walk)
    for shard in sorted((by_shard.keys() | named.keys()) - seen):
        findings += _end(begin(shard))
        seen.add(shard)
    if now is not None:
        findings += _stale(anchors, oldest, now)
    newest = anchors[-1].at if anchors else None
    return ChainReport(len(seen), events, len(anchors), unanchored, newest, tuple(findings))


def _named(anchors: Iterable[Anchor]) -> dict[str, dict[int, tuple[str, str]]]:
    named: dict[str, dict[int, tuple[str, str]]] = {}
    for anchor in anchors:
        for head in anchor.heads:
            named.setdefault(head.shard, {}).setdefault(head.sequence, (head.hash, anchor.id))
    return named


def _disagreements(anchors: Sequence[Anchor]) -> Iterator[Finding]:
    """Yield what anchors say of each other: missing ones, and two that name different hashes for one event."""
    first: dict[tuple[str, int], tuple[str, str]] = {}
    for anchor in anchors:
        for head in anchor.heads:
            known_hash, known_in = first.setdefault((head.shard, head.sequence), (head.hash, anchor.id))
            if known_hash != head.hash:
                text = f"The anchors {known_in} and {anchor.id} name different hashes for it: the chain was replaced."
                yield Finding("CHAIN_FORKED", head.shard, head.sequence, text)
    # Two functions may anchor at the same time: then both follow the same one.
    known = {anchor.id for anchor in anchors}
    for anchor in anchors[1:]:
        if anchor.previous is None or (anchor.previous not in known and anchor.previous > anchors[0].id):
            text = f"The anchor {anchor.id} follows {anchor.previous or 'none'}, which is not there: it was removed."
            yield Finding("ANCHOR_MISSING", "", None, text)


def _step(walk: _Walk, one: StoredEvent) -> Iterator[Finding]:
    """Take one event of a chain, and yield what is wrong with it."""
    if len(one.sort) != _DIGITS or not (one.sort.isascii() and one.sort.isdigit()) or int(one.sort) == 0:
        text = f'The item "{one.sort}" is none of Coffre\'s: it was inserted.'
        yield Finding("EVENT_INSERTED", walk.shard, None, text)
        return
    number = int(one.sort)
    if number > walk.last + 1:
        yield _missing(walk.shard, walk.last + 1, number - 1)
        walk.previous = None
    before, walk.last, walk.previous = walk.previous, number, None
    event = one.event
    if event is None:
        yield Finding("EVENT_CHANGED", walk.shard, number, f"It cannot be read: {one.damage}.")
        return
    found = hash_of(event)
    walk.previous = found
    if walk.head is not None and number == walk.head.sequence:
        walk.at_head = found
    if (event.shard, event.sequence) != (walk.shard, number):
        text = f"It says that it is event {event.sequence} of {event.shard}: it was moved or copied here."
        yield Finding("EVENT_MISFILED", walk.shard, number, text)
    elif found != event.hash:
        yield Finding("EVENT_CHANGED", walk.shard, number, "Its contents do not have its hash: it was changed.")
    elif before is not None and event.previous != before:
        text = f"It does not follow event {number - 1} as that is now: one of the two was replaced."
        yield Finding("CHAIN_FORKED", walk.shard, number, text)
    if number in walk.named and walk.named[number][0] != found:
        text = f"The anchor {walk.named[number][1]} names another hash: this event, or one before it, was replaced."
        yield Finding("CHAIN_FORKED", walk.shard, number, text)


def _end(walk: _Walk) -> Iterator[Finding]:
    """Yield what is wrong with the end of a chain."""
    head = walk.head
    beyond = {number: anchor for number, (_, anchor) in walk.named.items() if number > walk.last}
    if beyond:
        number = max(beyond)
        last = walk.last if head is None else min(walk.last, head.sequence)
        text = (
            f"The anchor {beyond[number]} names event {number}, but the chain ends at {last}: the table was set back, "
            f"or events {last + 1} to {number} were deleted."
        )
        yield Finding("CHAIN_CUT", walk.shard, number, text)
        return
    if head is None:
        if walk.last:
            yield Finding("HEAD_MISSING", walk.shard, walk.last, "The head of this chain was deleted.")
    elif head.sequence > walk.last:
        yield _missing(walk.shard, walk.last + 1, head.sequence)
    elif head.sequence < walk.last:
        text = f"The head is event {head.sequence}: later events were inserted, or the head was set back."
        yield Finding("EVENT_INSERTED", walk.shard, head.sequence + 1, text)
    elif walk.at_head not in (None, head.hash):
        text = "The head names another hash: this event, or one before it, was replaced."
        yield Finding("CHAIN_FORKED", walk.shard, head.sequence, text)


def _missing(shard: str, first: int, last: int) -> Finding:
    what = f"Event {first} is" if first == last else f"Events {first} to {last} are"
    return Finding("EVENT_MISSING", shard, first, f"{what} missing: deleted, or moved to another place.")


def _stale(anchors: Sequence[Anchor], oldest: datetime | None, now: datetime) -> Iterator[Finding]:
    if oldest is None or now - oldest <= STALE_AFTER:
        return
    newest = f"the newest, {anchors[-1].id}, is of {anchors[-1].at:%Y-%m-%d %H:%M}" if anchors else "none exists"
    text = f"An event of {oldest:%Y-%m-%d %H:%M} is in no anchor; {newest}. Anchors are made hourly, or were removed."
    yield Finding("ANCHOR_STALE", "", None, text)
