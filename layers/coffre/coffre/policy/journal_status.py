"""How the journal of a target stands, in one line: its newest moment, and what is wrong."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from coffre.model.database_target import DatabaseTarget
from coffre.model.journal_options import JournalOptions
from coffre.model.status import JournalStatus
from coffre.policy.journal_health import late_since

if TYPE_CHECKING:
    from coffre.model.journal import JournalState


def journal_status(
    target: DatabaseTarget, state: JournalState | None, now: datetime, *, is_drained: bool
) -> JournalStatus:
    """Return it from what the catalog knows, and what the target asks for.

    Parameters
    ----------
    is_drained
        The stack has the rule that drains journals.
    """
    options = target.journal or JournalOptions()
    has_base = state is not None and state.interval is not None and state.base_wanted_at is None
    until = state.seen_at if state is not None and has_base else None
    return JournalStatus(
        target=target.name,
        until=until,
        lag_seconds=(now - until).total_seconds() if until else None,
        window_days=options.window_days,
        retained_bytes=state.retained_bytes if state else 0,
        problem=_problem(options, state, now, is_drained=is_drained),
    )


def _problem(options: JournalOptions, state: JournalState | None, now: datetime, *, is_drained: bool) -> str | None:
    if not is_drained:
        return "nothing drains it, since the stack's parameter Journal is off"
    if state is None or (state.drained_at is None and state.error is None):
        return "it has not begun yet: the next drain makes its slot"
    if state.error is not None:
        return f"the last drain failed: {state.message} [{state.error}]"
    late = late_since(options, state, now, None)
    if late is not None:
        return f"nothing was stored since {late:%Y-%m-%d %H:%M} UTC"
    if state.interval is None:
        return "its stretch has ended, and the next drain begins another one"
    if state.base_wanted_at is not None:
        return f"it waits for a base since {state.base_wanted_at:%Y-%m-%d %H:%M} UTC: the next backup is one"
    return None
