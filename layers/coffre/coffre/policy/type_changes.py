"""Whether a column's type of today reads the values of an earlier type as something else, without an error."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_WRITTEN: Final = re.compile(
    r"(?P<name>[^(]+?)(?:\((?P<sizes>-?\d+(?:,-?\d+)?)\))?(?P<zone> with(?:out)? time zone)?(?P<arrays>(?:\[\])*)"
)
_INTEGERS: Final = frozenset({"smallint", "integer", "bigint"})
_TEXTS: Final = frozenset({"text", "character varying", "character", "name"})
_TO_THE_MICROSECOND: Final = 6
# What these read without a loss, besides themselves; anything else they round or cut.
_EXACT: Final = {
    "real": frozenset({"smallint"}),
    "double precision": frozenset({"smallint", "integer", "real"}),
    "money": frozenset[str](),
    "date": frozenset[str](),
    '"char"': frozenset[str](),
    "name": frozenset[str](),
}


@dataclass(frozen=True)
class _Type:
    """A type as the server writes it: `timestamp(3) without time zone` has the size 3 and a zone."""

    name: str
    sizes: tuple[int, ...] = ()
    zone: str = ""
    arrays: str = ""


def can_lose(then: str, now: str) -> bool:
    """Return whether values can be rounded or cut in silence: written by the type `then`, and read by the type `now`.

    Both are as the server's `format_type` writes them. Of types that people have made nothing is known.
    """
    before, after = _parsed(then), _parsed(now)
    if before == after:
        return False
    if after.name in _EXACT:
        return before.name not in _EXACT[after.name]
    if after.name == "numeric" and after.sizes:
        return not _fits_numeric(before, after)
    if after.name in ("time", "timestamp"):
        return not _fits_time(before, after)
    if after.name.startswith("interval"):
        return not (before.name.startswith("interval") and (now == "interval" or _is_shorter(before, after)))
    if after.name in ("character varying", "character") and after.sizes:
        return before.name in _TEXTS and not (before.sizes and before.sizes <= after.sizes)
    return after.name == "jsonb" and before.name in _TEXTS | {"json"}


def _parsed(written: str) -> _Type:
    found = _WRITTEN.fullmatch(written)
    if found is None:
        return _Type(written)
    sizes = tuple(map(int, found["sizes"].split(","))) if found["sizes"] else ()
    return _Type(found["name"], sizes, found["zone"] or "", found["arrays"])


def _fits_numeric(before: _Type, after: _Type) -> bool:
    scale = after.sizes[-1] if len(after.sizes) > 1 else 0
    if before.name in _INTEGERS:
        return scale >= 0
    return before.name == "numeric" and bool(before.sizes) and [*before.sizes, 0][1] <= scale


def _fits_time(before: _Type, after: _Type) -> bool:
    if before.name == "date":
        return after.name == "timestamp" and "without" in after.zone
    return (before.name, before.zone) == (after.name, after.zone) and _is_shorter(before, after)


def _is_shorter(before: _Type, after: _Type) -> bool:
    """Whether fractions of seconds have no more digits."""
    digits = [type_.sizes[0] if type_.sizes else _TO_THE_MICROSECOND for type_ in (before, after)]
    return before.name == after.name and digits[0] <= digits[1]
