"""What of a journal can be restored: its intervals, each from its first base to its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from coffre.catalog.catalog import Catalog
from coffre.model.errors import IntegrityError, ObjectMissingError
from coffre.model.journal import IntervalEnd, JournalInterval, JournalState
from coffre.model.manifest import JournalBase
from coffre.operations.stored_backup.open import manifest_of
from coffre.policy.journal import bases_of
from coffre.vault.journal import intervals, read_end, read_segment, segment_keys
from coffre.vault.layout import SegmentKey
from coffre.vault.vault import Vault

type _Base = tuple[str, str, JournalBase | None]


@dataclass(frozen=True)
class Stretch:
    """An interval. Moments from `since` to `until` can be restored; None: none can, for lack of a base or an end.

    `bases` are the ids of the backups that its changes can be applied to, the newest first. `damage` says what of it is
    damaged or missing.
    """

    interval: JournalInterval
    end: IntervalEnd | None
    bases: tuple[str, ...]
    since: datetime | None
    until: datetime | None
    damage: str | None = None


def stretches(
    catalog: Catalog, vault: Vault, target: str, on_damage: Callable[[IntegrityError], None]
) -> list[Stretch]:
    """Return the intervals of a target, the newest first; errors of damaged records are given to `on_damage`.

    One whose own record is damaged is left out, and of one that has another damaged record no moment is promised.
    """
    found = intervals(vault, target, on_damage)
    if not found:
        return []
    state, backups = catalog.journals.find(target), _backups(catalog, vault, target, found[0].started_at)
    listed = []
    for interval in reversed(found):
        try:
            listed.append(_stretch(vault, interval, state, backups))
        except IntegrityError as error:
            on_damage(error)
            listed.append(Stretch(interval, None, (), None, None, f"damaged [{error.code}]"))
    return listed


def _stretch(vault: Vault, interval: JournalInterval, state: JournalState | None, backups: Sequence[_Base]) -> Stretch:
    end, damage = None, None
    with suppress(ObjectMissingError):
        end = read_end(vault, interval.target, interval.id)
    keys = segment_keys(vault, interval.target, interval.id, None)
    # A base whose next segments were removed, as rotation does, makes no moment.
    first = keys[0].from_lsn if keys else interval.from_lsn
    bases = [(name, base) for name, base in bases_of(interval, end, backups) if base.before_lsn >= first]
    last = keys[-1].number if keys else 0
    if end is not None and end.number is not None and last < end.number:
        damage = f"the segments from {last + 1} to {end.number} are missing"
        until = _last_moment(vault, keys)
    elif end is not None:
        until = end.seen_at
    else:
        until = state.seen_at if state is not None and state.interval == interval.id else None
    since = min((base.at for _, base in bases), default=None)
    if since is None or until is None or until < since:
        since = until = None
    return Stretch(interval, end, tuple(name for name, _ in bases), since, until, damage)


def _last_moment(vault: Vault, keys: Sequence[SegmentKey]) -> datetime | None:
    """Return up to where moments can be restored if there is no more than these segments."""
    if not keys:
        return None
    segment, _ = read_segment(vault, keys[-1], None)
    return segment.seen_at if segment.is_complete else segment.last_commit


def _backups(catalog: Catalog, vault: Vault, target: str, since: datetime) -> list[_Base]:
    """Return what the manifests of completed backups say of a journal; damaged ones are no bases."""
    found = list[_Base]()
    for backup in catalog.completed_backups(target):
        if backup.created_at < since or not backup.is_healthy:
            continue
        with suppress(IntegrityError, ObjectMissingError):
            content = manifest_of(vault, backup).database
            if content is not None:
                found.append((backup.id, content.database, content.journal))
    return found
