"""Which objects of a bucket belong to a backup, by their keys."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

# `**` before `*`: the longer one is meant where both could stand.
_WILD: Final = re.compile(r"\*\*|\*|\?")
_MEANS: Final = {"**": ".*", "*": "[^/]*", "?": "[^/]"}


def key_choice(prefixes: Iterable[str], include: Iterable[str], exclude: Iterable[str]) -> Callable[[str], bool]:
    """Return whether a key is taken: below one of the prefixes, fits one of `include` and none of `exclude`.

    No prefixes, or no `include`, stand for all keys. In a pattern `*` stands for any characters but a slash, `**` for
    any, `?` for one character that is no slash; it has to fit the whole key.
    """
    starts, wanted, unwanted = tuple(prefixes), _any_of(include), _any_of(exclude)

    def takes(key: str) -> bool:
        if starts and not key.startswith(starts):
            return False
        if wanted is not None and not wanted.fullmatch(key):
            return False
        return unwanted is None or not unwanted.fullmatch(key)

    return takes


def _any_of(patterns: Iterable[str]) -> re.Pattern[str] | None:
    alternatives = "|".join(f"(?:{_expression(pattern)})" for pattern in patterns)
    return re.compile(alternatives, re.DOTALL) if alternatives else None


def _expression(pattern: str) -> str:
    pieces, end = [], 0
    for found in _WILD.finditer(pattern):
        pieces += [re.escape(pattern[end : found.start()]), _MEANS[found[0]]]
        end = found.end()
    return "".join([*pieces, re.escape(pattern[end:])])
