"""Bases of a journal stay for as long as moments of its window need them, whatever their tiers say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import cache
from typing import Final

from coffre.catalog.latest_results import Latest
from coffre.model.any_target import AnyTarget
from coffre.model.backup import Backup
from coffre.model.configuration import Configuration
from coffre.model.database_target import DatabaseTarget
from coffre.model.errors import IntegrityError, ObjectMissingError
from coffre.model.journal import IntervalEnd, JournalInterval
from coffre.model.kinds import TargetKind
from coffre.model.manifest import JournalBase
from coffre.model.rotation import Action, Decision
from coffre.operations.stored_backup.open_backup import manifest_of
from coffre.policy.journal import bases_of, is_over, needed_base
from coffre.vault.journal import intervals, read_end
from coffre.vault.layout import interval_end_key, journal_prefix
from coffre.vault.vault import Vault

# Where nothing says how long it is (of targets that have no journal any more, of those of another account): the longest
# that one can have. A journal can be switched off for an upgrade alone.
LONGEST_WINDOW: Final = timedelta(days=35)
# What is looked for of a journal that was switched off: rotations before that may have left no more.
_CHECKED: Final = timedelta(days=7)


def journal_since(configuration: Configuration, now: datetime) -> Callable[[str], datetime]:
    """Return a function that returns since when every moment of a target's journal is kept.

    A target that was removed keeps its backups until a person deletes them, and of its journal the longest window: so
    does one whose journal was switched off.
    """
    known = {target.name: now - window_of(target) for target in configuration.targets}
    return lambda target: known.get(target, now - LONGEST_WINDOW)


def checked_since(
    configuration: Configuration, latest: Latest, now: datetime, copy_name: str | None = None
) -> Callable[[str], datetime]:
    """Return a function that returns since when every moment of a target's journal has to be there, in one place.

    A rotation that had a shorter window has left no more than that.
    """
    known = {target.name: now - window_of(target, _CHECKED) for target in configuration.targets}

    @cache
    def since(target: str) -> datetime:
        wanted = known.get(target, now - LONGEST_WINDOW)
        return max(wanted, latest.journal_kept_since(target, copy_name) or wanted)

    return since


def window_of(target: AnyTarget, switched_off: timedelta | None = None) -> timedelta:
    """Return how far back a target's journal reaches, or one that was switched off."""
    options = target.journal if isinstance(target, DatabaseTarget) else None
    return timedelta(days=options.window_days) if options is not None else switched_off or LONGEST_WINDOW


def unless_needed(
    vault: Vault, backups: Sequence[Backup], decisions: Iterable[Decision], since: datetime | None
) -> tuple[Decision, ...]:
    """Keep the backups of one target that moments of its journal since a time are made from.

    Manifests are read only if a journal exists and something would go. Of an interval whose record is damaged nothing
    can be made: the sweep reports it.
    """
    decided = tuple(decisions)
    if since is None or all(one.action is Action.KEEP for one in decided):
        return decided
    needed = dict(_needed(vault, backups, since))
    return tuple(
        one.model_copy(update={"action": Action.KEEP, "held_back": True, "reason": needed[one.backup_id]})
        if one.action is Action.DELETE and one.backup_id in needed
        else one
        for one in decided
    )


def _needed(vault: Vault, backups: Sequence[Backup], since: datetime) -> Iterator[tuple[str, str]]:
    target = backups[0].target
    found = ends_of(vault, target, since, on_damage=lambda _: None)
    living = [(interval, end) for interval, end, is_past in found if not is_past]
    if not living:
        return
    bases = list(journal_bases(vault, backups))
    for interval, end in living:
        needed = needed_base(bases_of(interval, end, bases), since)
        if needed is not None:
            yield needed[0], f"moments of the journal since {since:%Y-%m-%d %H:%M} UTC are made from it"


def ends_of(
    vault: Vault, target: str, since: datetime, on_damage: Callable[[IntegrityError], None] | None = None
) -> Iterator[tuple[JournalInterval, IntervalEnd | None, bool]]:
    """Yield the intervals of a target, each with its end and whether it has no moment since a time.

    One without an end that is not the newest is never continued: it is over when nothing more of it has arrived.

    With `on_damage` one that is damaged is left out, or has no end if only that is; its error is given to it.

    Raises
    ------
    IntegrityError
        `JOURNAL_DAMAGED`
    """
    found = intervals(vault, target, on_damage)
    for interval in found:
        end, arrived = None, None
        try:
            end = read_end(vault, target, interval.id)
            arrived = vault.store.head(interval_end_key(target, interval.id)).last_modified
        except ObjectMissingError:  # it is open, or was left so
            is_left = interval is not found[-1] and _was_left_before(vault, interval, since)
            yield interval, None, is_left
            continue
        except IntegrityError as error:
            if on_damage is None:
                raise
            on_damage(error)
        yield interval, end, is_over(end, arrived, since)


def _was_left_before(vault: Vault, interval: JournalInterval, since: datetime) -> bool:
    arrivals = [info.last_modified for info in vault.store.list(journal_prefix(interval.target, interval.id))]
    return all(at is not None and at < since for at in arrivals)


def journal_bases(vault: Vault, backups: Iterable[Backup]) -> Iterator[tuple[str, str, JournalBase | None]]:
    """Yield what the manifests of good backups say of a journal, each with its id and its database."""
    for backup in backups:
        if backup.is_healthy and backup.kind is TargetKind.DATABASE:
            with suppress(IntegrityError):  # the sweep reports it
                content = manifest_of(vault, backup).database
                yield backup.id, content.database, content.journal
