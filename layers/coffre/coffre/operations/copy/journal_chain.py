"""Which records of an interval's segments are those that were written, among what the vault and its copies have.

Each record has the SHA-256 of the one before it. So each is known by the one that follows, whatever place it is read
from, and a copy that has something else there is found out. The last record of all is known by the catalog, if the
interval is open; otherwise it is only known to follow the one before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from coffre.model.errors import IntegrityError
from coffre.model.manifest import PackReference
from coffre.operations.copy.from_copies import Copies, same_as
from coffre.stores.body import sha256_of
from coffre.vault.journal import parse_segment
from coffre.vault.layout import SegmentKey, interval_of, segment_prefix


@dataclass(frozen=True)
class Link:
    """What a segment's record says of the one before it, of its packs, and of where it ends."""

    key: SegmentKey
    sha256: str
    previous: str
    to_lsn: int
    seen_at: datetime
    packs: tuple[PackReference, ...]


@dataclass(frozen=True)
class OwnRecord:
    """A record that the vault has: the SHA-256 of its bytes, and what it says; None: it cannot be read."""

    key: SegmentKey
    sha256: str
    link: Link | None = None


@dataclass(frozen=True)
class RightRecord:
    """A record as it has to be; `seen` is the SHA-256 of what the vault has there, None: nothing.

    `is_proven`: something in the vault or in the catalog says that it is this one. Otherwise only a copy says so.
    """

    link: Link
    seen: str | None
    is_proven: bool = True

    @property
    def is_good(self) -> bool:
        """Whether the vault has it."""
        return self.seen == self.link.sha256


def link_of(key: SegmentKey, body: bytes) -> Link:
    """Return what the record of a segment says.

    Raises
    ------
    IntegrityError
        `JOURNAL_DAMAGED`: it cannot be read, is of another segment or interval, or names packs of others.
    """
    segment = parse_segment(key, body)
    target, interval = interval_of(key.key) or ("", "")
    named = {pack.key for pack in segment.packs}
    prefix = f"{segment_prefix(target, interval, key.number)}-"
    is_own = all(interval_of(pack) == (target, interval) and pack.startswith(prefix) for pack in named)
    if segment.interval != interval or not is_own or not named.issuperset(frame.pack for frame in segment.frames):
        raise IntegrityError(f"{key.key} is the record of another segment.", code="JOURNAL_DAMAGED")
    return Link(key, sha256_of(body), segment.previous, segment.to_lsn, segment.seen_at, segment.packs)


@dataclass
class SegmentChain:
    """The records of an interval's segments, by number: those of the vault, and what copies have.

    Parameters
    ----------
    begin
        The SHA-256 of the interval's record.
    known
        By number, the SHA-256 that the catalog knows.

    Attributes
    ----------
    lost
        By key, why no place has the right record.
    """

    target: str
    interval: str
    own: Mapping[int, Sequence[OwnRecord]]
    offered: Mapping[int, Sequence[SegmentKey]]
    begin: str
    known: Mapping[int, str]
    copies: Copies
    lost: dict[str, str] = field(default_factory=dict)

    def right(self, numbers: Sequence[int]) -> list[RightRecord]:
        """Return the right records of these numbers, which are sorted, the last one first. Others are lost.

        What only a copy says never speaks against a record of the vault that can be read and follows the one before.
        """
        found, claimed = list[RightRecord](), list[RightRecord]()
        expected, is_proven = None, True
        for number, behind in zip(reversed(numbers), [None, *reversed(numbers)], strict=False):
            if behind is not None and behind > number + 1:
                self._lose(number + 1, {}, last=behind - 1)
                expected, is_proven = None, True
                found += claimed
                claimed.clear()
            if expected is None and number in self.known:
                expected, is_proven = self.known[number], True
            own = self._sound(number) if expected is not None and not is_proven else None
            if own is not None and own.sha256 != expected:
                self._refuse(claimed, own.key.key)
                expected = None
            if expected is None:
                one, follows = self._likely(number)
            else:
                one, follows = self._with_hash(number, expected, is_proven=is_proven), True
            expected = None
            if one is not None:
                is_proven = one.is_good or one.is_proven
                expected = one.link.previous if follows else None
                self._name_others(one)
                claimed.append(one)
            if one is None or is_proven:
                found += claimed
                claimed.clear()
        if claimed and claimed[-1].link.key.number == 1 and claimed[-1].link.previous != self.begin:
            self._refuse(claimed, "the interval's record")
        return [*found, *claimed]

    def _sound(self, number: int) -> Link | None:
        """Return a record of the vault that can be read and follows the one before it."""
        links = [record.link for record in self.own.get(number, ()) if record.link is not None]
        return next((link for link in links if self._follows(link)), None)

    def _refuse(self, claimed: list[RightRecord], key: str) -> None:
        for one in claimed:
            self.copies.refused[one.link.key.key] = f"A copy has it, but it does not follow {key} of the vault."
        claimed.clear()

    def _with_hash(self, number: int, sha256: str, *, is_proven: bool) -> RightRecord | None:
        for record in self.own.get(number, ()):
            if record.link is not None and record.sha256 == sha256:
                return RightRecord(record.link, sha256)
        why = dict[str, str]()
        for key in self._keys(number):
            try:
                body = self.copies.find(key.key, same_as(key.key, sha256))
                return RightRecord(link_of(key, body), self._seen(key), is_proven)
            except IntegrityError as error:
                why[key.key] = error.message
        self._lose(number, why)
        return None

    def _likely(self, number: int) -> tuple[RightRecord | None, bool]:
        """Return a record of which nothing is known from behind, and whether it follows the one before it."""
        readable = [record for record in self.own.get(number, ()) if record.link is not None]
        for record in readable:
            if record.link is not None and self._follows(record.link):
                return RightRecord(record.link, record.sha256), True
        why = dict[str, str]()
        for key in self._keys(number):
            try:
                body = self.copies.find(key.key, lambda body, key=key: self._check(key, body))  # type: ignore[misc]
                return RightRecord(link_of(key, body), self._seen(key), is_proven=False), True
            except IntegrityError as error:
                why[key.key] = error.message
        for record in readable:
            if record.link is not None:  # which of the two is wrong cannot be known
                return RightRecord(record.link, record.sha256), False
        self._lose(number, why)
        return None, False

    def _check(self, key: SegmentKey, body: bytes) -> None:
        link, own = link_of(key, body), self._sound(key.number - 1)
        if not self._follows(link) or (own is not None and own.sha256 != link.previous):
            raise IntegrityError(f"{key.key} does not follow the record before it.", code="JOURNAL_DAMAGED")

    def _follows(self, link: Link) -> bool:
        number = link.key.number - 1
        if number == 0:
            return link.previous == self.begin
        keys = self._keys(number)
        if not keys or any(record.sha256 == link.previous for record in self.own.get(number, ())):
            return True  # those before it may have been deleted
        for key in keys:
            try:
                self.copies.find(key.key, same_as(key.key, link.previous), is_guess=True)
            except IntegrityError:
                continue
            return True
        return False

    def _keys(self, number: int) -> list[SegmentKey]:
        return sorted({*(record.key for record in self.own.get(number, ())), *self.offered.get(number, ())}, key=str)

    def _seen(self, key: SegmentKey) -> str | None:
        found = (record.sha256 for record in self.own.get(key.number, ()) if record.key == key)
        return next(found, None)

    def _lose(self, number: int, why: Mapping[str, str], last: int | None = None) -> None:
        which = "this segment" if last in (None, number) else f"the segments from {number} to {last}"
        self.lost |= why or {segment_prefix(self.target, self.interval, number): f"No copy has {which}."}

    def _name_others(self, one: RightRecord) -> None:
        for record in self.own.get(one.link.key.number, ()):
            if record.key != one.link.key:
                self.lost[record.key.key] = (
                    "It is a second record of its segment, that no other one follows: delete it."
                )
