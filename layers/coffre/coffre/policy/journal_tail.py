"""What a person has to know of a moment in the tail of an interval, where definitions were changed."""

from __future__ import annotations

from typing import Final

from coffre.model.journal import IntervalEnd
from coffre.policy.moments import Point

_NAMED: Final = 50


def doubt_of_tail(end: IntervalEnd) -> str:
    """Return what is not known of a moment in the tail of an interval."""
    since = f"since {Point(end.seen_at)}" if end.seen_at is not None else f"behind {Point(lsn=end.stored_lsn)}"
    begin = (
        f"WARNING: definitions were changed {since}, and the journal does not know whether before or after this moment."
        f" {end.text} The definitions of before are restored."
    )
    if end.touched is None:
        return f"{begin} Of which tables the rows are those of the moment is not known."
    if not end.touched:
        return f"{begin} All rows are those of the moment."
    more = f" and {len(end.touched) - _NAMED:,} more" if len(end.touched) > _NAMED else ""
    return (
        f"{begin} Rows of {', '.join(end.touched[:_NAMED])}{more} are those of the moment only if the change came"
        " later; those of all other tables are in any case, unless changes are named here as not restored."
    )
