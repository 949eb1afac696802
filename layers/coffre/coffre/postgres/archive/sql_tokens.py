"""The tokens of a definition: strings, comments, dollar quotes and names stay whole."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

# An identifier may hold any byte above 127, also one that is no UTF-8 (a surrogate here).
_PIECES: Final = r"""(?P<blank>\s+|--[^\n]*|/\*)
    |(?P<text>[eE]'(?:[^'\\]|\\.|'')*'|(?:[uU]&|[bBxXnN])?'(?:[^']|'')*'
        |\$(?P<tag>(?:[A-Za-z_\u0080-\U0010ffff][A-Za-z0-9_\u0080-\U0010ffff]*)?)\$.*?\$(?P=tag)\$)
    |(?P<quoted>(?:[uU]&)?"(?:[^"]|"")*")
    |(?P<word>[A-Za-z_\u0080-\U0010ffff][A-Za-z0-9_$\u0080-\U0010ffff]*)
    |(?P<other>[0-9][0-9A-Za-z_.]*|.)"""
_COMMENT_EDGE: Final = re.compile(r"/\*|\*/")
_KINDS: Final = ("blank", "text", "quoted", "word", "other")
_DEPTH: Final = {"(": 1, "[": 1, ")": -1, "]": -1}


@dataclass(frozen=True)
class Token:
    """A piece of a statement that means something. `value` is a word in lower case, or a quoted name without quotes."""

    kind: str
    value: str
    start: int
    end: int

    @property
    def depth(self) -> int:
        """How much deeper what follows is than what stands before: 1 or -1 of a parenthesis or bracket, else 0."""
        return _DEPTH.get(self.value, 0) if self.kind == "other" else 0

    def is_word(self, *words: str) -> bool:
        """Whether this is one of some words without quotes, given in lower case."""
        return self.kind == "word" and self.value in words

    def is_sign(self, *signs: str) -> bool:
        """Whether this is one of some signs."""
        return self.kind == "other" and self.value in signs


def tokens_of(text: str) -> Iterator[Token]:
    """Yield the tokens of SQL that a server or `pg_dump` wrote, without blanks and comments."""
    position, token = 0, re.compile(_PIECES, re.VERBOSE | re.DOTALL)  # here: 20 ms of each function's start
    while found := token.match(text, position):
        kind = next(kind for kind in _KINDS if found[kind] is not None)
        value = found[0]
        position = _end_of_comment(text, position) if value == "/*" else found.end()
        if kind == "word":
            value = value.lower()
        elif kind == "quoted" and value.startswith('"'):
            value = value[1:-1].replace('""', '"')
        if kind != "blank":
            yield Token(kind, value, found.start(), position)


def _end_of_comment(text: str, start: int) -> int:
    """Return where a comment ends; comments in it have ends of their own."""
    depth = 0
    for edge in _COMMENT_EDGE.finditer(text, start):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(text)
