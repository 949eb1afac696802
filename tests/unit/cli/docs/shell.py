"""Command lines as a shell splits them: programs with their arguments; what is substituted becomes a placeholder."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_SUBSTITUTED: Final = re.compile(r"\$\(([^()]*)\)")
_ASSIGNED: Final = re.compile(r"[A-Za-z_]\w*=")
_SEPARATORS: Final = frozenset({"|", "||", "&&", ";", "&", "(", ")", "\n"})
_REDIRECTIONS: Final = frozenset({">", ">>", "<", "<<<", "<<", ">&"})


@dataclass(frozen=True)
class Call:
    """One program with its arguments."""

    program: str
    arguments: tuple[str, ...]

    def __str__(self) -> str:
        return shlex.join([self.program, *self.arguments])


def calls_of(text: str) -> Iterator[Call]:
    """Yield the programs that a line calls, those of substitutions too. Assignments call nothing.

    Raises
    ------
    ValueError
        A quotation does not end.
    """
    for inner in _SUBSTITUTED.findall(text):
        yield from calls_of(inner)
    lexer = shlex.shlex(_SUBSTITUTED.sub("SUBSTITUTED", text), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    skip = False
    for token in [*lexer, ";"]:
        if token in _SEPARATORS or set(token) <= set("|&;()"):
            yield from _call(words)
            words = []
        elif token in _REDIRECTIONS:
            skip = True
            if words and words[-1].isdigit():
                words.pop()
        elif skip:
            skip = False
        else:
            words.append(token)


def _call(words: list[str]) -> Iterator[Call]:
    while words and _ASSIGNED.match(words[0]):
        words = words[1:]
    if words:
        yield Call(words[0], tuple(words[1:]))
