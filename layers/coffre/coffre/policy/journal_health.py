"""When a journal is drained, when it counts as late, and when its slot is dropped. Each gets the time."""

from __future__ import annotations

from dataclasses import dataclass
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
# After this many within a day the next ones wait, and after as many more twice as long.
_ASK_AS_OFTEN: Final = 4
_ASK_SELDOM: Final = timedelta(hours=24)
_GIB: Final = 1 << 30
_MIB: Final = 1 << 20


@dataclass(frozen=True)
class Guarding:
    """When a slot is dropped, so that the WAL which it holds is no danger to its server.

    Parameters
    ----------
    maximum_lag_bytes
        Of WAL that the server keeps for the slot.
    reserve_bytes
        That the server can still write before it loses the slot (`max_slot_wal_keep_size`).
    silent_after
        Without a drain that succeeded.
    """

    maximum_lag_bytes: int = 2 * _GIB
    reserve_bytes: int = 64 * _MIB
    silent_after: timedelta = timedelta(hours=24)


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


def slot_danger(retained_bytes: int, safe_bytes: int | None, guarding: Guarding) -> str | None:
    """Return why a slot is a danger to its server now; None: it is none.

    Parameters
    ----------
    retained_bytes
        Of WAL that the server keeps for it.
    safe_bytes
        Of WAL until the server loses it; None: there is no limit.
    """
    if retained_bytes > guarding.maximum_lag_bytes:
        limit = guarding.maximum_lag_bytes // _MIB
        return f"The server kept {retained_bytes // _MIB} MiB of WAL for the journal, more than {limit} MiB."
    if safe_bytes is not None and safe_bytes < guarding.reserve_bytes:
        return (
            f"The server would have lost the slot of the journal within {max(safe_bytes, 0) // _MIB} MiB of WAL"
            " (max_slot_wal_keep_size)."
        )
    return None


def silence(state: JournalState, guarding: Guarding, now: datetime) -> str | None:
    """Return why a journal counts as forgotten, so that its slot is dropped; None: it does not."""
    since = state.drained_at or state.base_wanted_at
    if since is None or now - since <= guarding.silent_after:
        return None
    hours = int(guarding.silent_after.total_seconds() // 3600)
    return f"The journal was not drained for more than {hours} hours, since {since:%Y-%m-%d %H:%M} UTC."


def asks_for_base(state: JournalState, now: datetime) -> bool:
    """Return whether a backup is asked for: the longer the open interval has none, the less often, at least daily.

    A base that never comes (it fails, or is none) must not become a backup every few minutes for ever; nor must
    intervals that end as soon as they have one, where a program changes definitions all day.
    """
    wanted, asked = state.base_wanted_at, state.base_asked_at
    if wanted is None:
        return False
    recent = asked_within_a_day(state, now)
    if len(recent) >= _ASK_AS_OFTEN:
        wait = _ASK_AGAIN * 2 ** (len(recent) // _ASK_AS_OFTEN - 1)
        if now - recent[-1] < min(wait, _ASK_SELDOM):
            return False
    return asked is None or now - asked >= min(max(_ASK_AGAIN, asked - wanted), _ASK_SELDOM)


def asked_within_a_day(state: JournalState, now: datetime) -> tuple[datetime, ...]:
    """Return when bases were asked for within the last day, the oldest first."""
    return tuple(asked for asked in state.bases_asked if now - asked < _ASK_SELDOM)


def late_since(
    options: JournalOptions, state: JournalState | None, now: datetime, configured_at: datetime | None
) -> datetime | None:
    """Return since when nothing more is stored, if that is too long; None: the journal is not late.

    How long it is, is by the clock of those who drain, and not by the server's, which can be another one.

    Parameters
    ----------
    configured_at
        Since when the target is configured as it is; None: for longer than anybody knows.
    """
    since = (state.seen_at or state.drained_at or state.failed_at) if state else configured_at
    if since is None:
        since = now - 2 * late_after(options)
    stored = state.complete_at if state is not None and state.complete_at is not None else since
    return since if now - stored > late_after(options) else None
