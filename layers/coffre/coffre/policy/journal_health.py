"""When a journal is drained, and when it counts as late. Each gets the time."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeGuard

from coffre.model.any_target import AnyTarget
from coffre.model.database_target import DatabaseTarget, FoundDatabase
from coffre.model.journal_options import JournalOptions

if TYPE_CHECKING:
    from coffre.model.journal import JournalState

# A drain that waits for an open transaction, or was started late, is tried again: three in a row are not chance.
_MISSED: Final = 3
_SLACK: Final = timedelta(minutes=10)
_MINUTE_SECONDS: Final = 60
_RETRY_MINUTES: Final = 15
_SILENT: Final = timedelta(hours=24)
_ASK_AGAIN: Final = timedelta(minutes=15)
_ASK_SELDOM: Final = timedelta(hours=24)


def is_due(options: JournalOptions, state: JournalState | None, tick: datetime) -> bool:
    """Return whether a journal is drained at a tick; one that never was begins with the next one."""
    return state is None or int(tick.timestamp()) // _MINUTE_SECONDS % options.every_minutes == 0


def has_journal(target: AnyTarget | None) -> TypeGuard[DatabaseTarget]:
    """Return whether a target has a journal now; a server has none, but its databases do as long as they exist."""
    if not isinstance(target, DatabaseTarget) or (isinstance(target, FoundDatabase) and target.gone_since is not None):
        return False
    return target.journal is not None and target.databases is None


def is_retried(state: JournalState, tick: datetime) -> bool:
    """Return whether switching a journal off, which may have failed before, is tried at a tick."""
    return state.failed_at is None or int(tick.timestamp()) // _MINUTE_SECONDS % _RETRY_MINUTES == 0


def late_after(options: JournalOptions) -> timedelta:
    """Return how old the last moment that is stored may get."""
    return _MISSED * timedelta(minutes=options.every_minutes) + _SLACK


def silent_after(options: JournalOptions) -> timedelta:
    """Return after what time without a good drain a slot is dropped: never before a drain that is only due then."""
    return max(_SILENT, _MISSED * timedelta(minutes=options.every_minutes))


def asks_for_base(state: JournalState, now: datetime) -> bool:
    """Return whether a backup is asked for: the longer the open interval has none, the less often, at least daily.

    A base that never comes (it fails, or is none) must not become a backup every few minutes for ever.
    """
    wanted, asked = state.base_wanted_at, state.base_asked_at
    if wanted is None or asked is None:
        return wanted is not None
    return now - asked >= min(max(_ASK_AGAIN, asked - wanted), _ASK_SELDOM)


def late_since(
    options: JournalOptions, state: JournalState | None, now: datetime, configured_at: datetime | None
) -> datetime | None:
    """Return since when nothing more is stored, if that is too long; None: the journal is not late.

    Parameters
    ----------
    configured_at
        Since when the target is configured as it is; None: for longer than anybody knows.
    """
    since = (state.seen_at or state.drained_at or state.failed_at) if state else configured_at
    if since is None:
        since = now - 2 * late_after(options)
    return since if now - since > late_after(options) else None
