"""Which backups are kept, which go, and why: a pure decision over the records of one target (docs/retention.md).

What keeps a backup, in this order: a pin, a tier (by age or by number), and what is safer than both: of each target the
newest copies stay, the newest verified ones stay, and nothing goes unless a newer backup was proven to be good. So
neither a broken verification nor a series of bad backups can make rotation remove the last good one. One that is known
to be damaged counts for nothing in this: it takes no good one's place, and is the first to go where room is short. One
of the tier SAFETY, which holds what a restore replaced, takes no regular one's place either.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final

from coffre.model.backup import Backup, Status, Tier
from coffre.model.retention import Retention
from coffre.model.rotation import Action, Decision

type _Key = tuple[datetime, str]

# For this long a restore can be undone, however little room the target has.
_WAY_BACK: Final = timedelta(days=1)


def decide(
    backups: Iterable[Backup], retention: Retention, now: datetime, sizes: Mapping[str, int] | None = None
) -> tuple[Decision, ...]:
    """Decide on every COMPLETED backup of one target, newest first; others count for nothing.

    Parameters
    ----------
    backups
        Records of one target, in any order. Their age is that of `created_at`, which a function's clock wrote; an id
        or a slot, which a caller can choose, is no time.
    sizes
        Bytes that go with each backup when all older ones have gone, for `maximum_bytes`; by default what each backup
        added to the vault.
    """
    copies = [backup for backup in backups if backup.status is Status.COMPLETED]
    copies.sort(key=_key, reverse=True)
    target = _Target(copies, retention, now, sizes or {})
    by_age = {copy.id: target.judge(copy) for copy in copies}
    by_size = dict(target.oldest_beyond_the_limit(by_age)) if retention.maximum_bytes else {}
    return tuple(by_size.get(copy.id, by_age[copy.id]) for copy in copies)


@dataclass(frozen=True)
class _Target:
    """The copies of one target, newest first."""

    copies: Sequence[Backup]
    retention: Retention
    now: datetime
    sizes: Mapping[str, int]

    def judge(self, copy: Backup) -> Decision:
        """Decide by pin, tiers and safety."""
        if (reason := self._wanted(copy)) is not None:
            return self._decision(copy, Action.KEEP, reason)
        if (reason := self._needed(copy)) is not None:
            return self._decision(copy, Action.KEEP, reason, held_back=True)
        if copy.locked_until is not None and copy.locked_until > self.now:
            return self._waiting(copy, copy.locked_until)
        return self._decision(copy, Action.DELETE, f"{self._outlived(copy)}; {self._proof(copy)}")

    def oldest_beyond_the_limit(self, decisions: Mapping[str, Decision]) -> Iterator[tuple[str, Decision]]:
        """Yield a new decision for each kept copy that goes because all of them together are too large."""
        kept = [copy for copy in self.copies if decisions[copy.id].action is Action.KEEP]
        total, limit = sum(self._size(copy) for copy in kept), self.retention.maximum_bytes or 0
        for copy in sorted(kept, key=lambda copy: (copy.damaged_at is None, _key(copy))):
            if total <= limit:
                return
            is_locked = copy.locked_until is not None and copy.locked_until > self.now
            if not is_locked and self._endless(copy) is None and self._needed(copy) is None:
                first = "the oldest goes first" if copy.damaged_at is None else "the damaged ones go first"
                reason = f"the target's backups are {total:,} bytes, the limit is {limit:,}: {first}"
                yield copy.id, self._decision(copy, Action.DELETE, f"{reason}; {self._proof(copy)}")
                total -= self._size(copy)

    # --- what keeps a copy ---

    def _wanted(self, copy: Backup) -> str | None:
        return self._endless(copy) or next((reason for tier in copy.tiers if (reason := self._lives(copy, tier))), None)

    def _endless(self, copy: Backup) -> str | None:
        """Return the reason to keep a copy whatever its tiers and the target's limit are."""
        if copy.held_at is not None:
            return f"on hold since {_day(copy.held_at)}{f': {copy.hold}' if copy.hold else ''}"
        if copy.pinned_at is not None:
            return f"pinned since {_day(copy.pinned_at)}"
        if Tier.MANUAL in copy.tiers and copy.expires_at is None:
            return "taken by hand: kept until it is deleted by hand"
        if Tier.MANUAL in copy.tiers and copy.expires_at is not None and self.now <= copy.expires_at:
            return f"taken by hand, to be kept until {_day(copy.expires_at)}"
        if copy.created_at > self.now:
            return f"its time {copy.created_at:%Y-%m-%d %H:%M} UTC is in the future: some clock was wrong"
        return None

    def _lives(self, copy: Backup, tier: Tier) -> str | None:
        if tier is Tier.MANUAL:
            return None  # `_endless` has looked
        days, count = self.retention.days(tier), self.retention.count(tier)
        if days is not None and self.now - copy.created_at <= timedelta(days=days):
            return f"{tier.word}, kept for {days} days: until {_day(copy.created_at + timedelta(days=days))}"
        # Only verified ones push others out: a series of bad backups must not evict a good one.
        if count is not None and self._newer_verified(copy, tier) < count:
            return f"{tier.word}, fewer than {count} newer ones are verified"
        return None

    def _needed(self, copy: Backup) -> str | None:
        """Return the reason why it would be unsafe to delete a copy that no tier keeps."""
        least = self.retention.minimum_verified
        if copy.is_safety and self.now - copy.created_at <= _WAY_BACK:
            return "it holds what a restore of the last 24 hours replaced"
        if copy.id in self._newest:
            return f"among the newest {self.retention.minimum_kept} backups, which always stay"
        if copy.id in self._newest_verified:
            return f"among the newest {max(least, 1)} verified backups, which always stay"
        if len(self._verified) < least:
            return f"{len(self._verified)} of at least {least} backups are verified: nothing goes before"
        if least and not self._newer_verified(copy):
            return "no newer backup is verified yet"
        return None

    # --- why it can go ---

    def _outlived(self, copy: Backup) -> str:
        return ", ".join(self._end_of(copy, tier) for tier in copy.tiers)

    def _end_of(self, copy: Backup, tier: Tier) -> str:
        if tier is Tier.MANUAL and copy.expires_at is not None:
            return f"taken by hand, to be kept until {_day(copy.expires_at)}"
        days, count = self.retention.days(tier), self.retention.count(tier)
        if days is None:
            return f"{tier.word}, {count} newer ones are verified"
        return f"{tier.word}, {days} days were over on {_day(copy.created_at + timedelta(days=days))}"

    def _proof(self, copy: Backup) -> str:
        if self._newer_verified(copy):
            return f"{self._verified[0].id} is newer and verified"
        return "verification is not waited for (minimum_verified 0)"

    # --- facts ---

    @cached_property
    def _present(self) -> Sequence[Backup]:
        """Leave out copies of the future: they would be the newest for ever."""
        return [copy for copy in self.copies if copy.created_at <= self.now]

    @cached_property
    def _proven(self) -> Sequence[Backup]:
        return [copy for copy in self._present if copy.verified_at is not None and copy.damaged_at is None]

    @cached_property
    def _verified(self) -> Sequence[Backup]:
        return [copy for copy in self._proven if not copy.is_safety]

    @cached_property
    def _newest(self) -> frozenset[str]:
        healthy = [copy for copy in self._present if copy.damaged_at is None and not copy.is_safety]
        return frozenset(copy.id for copy in healthy[: self.retention.minimum_kept])

    @cached_property
    def _newest_verified(self) -> frozenset[str]:
        return frozenset(copy.id for copy in self._verified[: max(self.retention.minimum_verified, 1)])

    @cached_property
    def _verified_keys(self) -> Mapping[Tier | None, Sequence[_Key]]:
        """When verified copies were taken, oldest first: of each tier, and (None) of all."""
        keys: dict[Tier | None, list[_Key]] = {None: []}
        for copy in reversed(self._proven):
            for tier in (*(() if copy.is_safety else (None,)), *copy.tiers):
                keys.setdefault(tier, []).append(_key(copy))
        return keys

    def _newer_verified(self, copy: Backup, tier: Tier | None = None) -> int:
        keys = self._verified_keys.get(tier, ())
        return len(keys) - bisect_right(keys, _key(copy))

    def _size(self, copy: Backup) -> int:
        return self.sizes.get(copy.id, copy.stored_bytes or 0)

    def _waiting(self, copy: Backup, until: datetime) -> Decision:
        reason = f"locked until {_day(until)} (Object Lock): it goes then; {self._outlived(copy)}"
        return self._decision(copy, Action.KEEP, reason, held_back=True).model_copy(update={"waits_until": until})

    def _decision(self, copy: Backup, action: Action, reason: str, *, held_back: bool = False) -> Decision:
        return Decision(
            backup_id=copy.id,
            target=copy.target,
            tiers=copy.tiers,
            taken_at=copy.created_at,
            action=action,
            reason=reason,
            held_back=held_back,
            size_bytes=self._size(copy),
        )


def _key(copy: Backup) -> _Key:
    return copy.created_at, copy.id


def _day(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC"
