"""What the source can say: strings of the package and the command, with a gap for each value that is filled in.

A sample output that cannot be produced here (it needs a server, or a terminal) is compared with them: three words that
stand together in the sample stand together in the source.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import Final

from tests.unit.cli.docs.pages import ROOT

_SOURCES: Final = ("layers/coffre/coffre", "cli/coffre_cli")
_GAP: Final = "\0"
# Of targets, databases and tables in the samples.
_NAMES: Final = frozenset({"casa", "shop", "files", "uploads", "listings", "photos", "N"})
_WORD: Final = re.compile(r"[A-Za-z][a-z'’]*")
_EDGES: Final = ".,;:!?()[]\"'`"


def unknown_words(line: str) -> list[str]:
    """Return what of a sample line no string of the source says, three words each.

    A string ends, or has a gap, where another one may be put: there a word may follow any other. But two of the three
    words have to stand together.
    """
    known = _pairs()
    unknown = []
    for run in _runs(line):
        for words in zip(run, run[1:], run[2:], strict=False):
            joined = [pair in known for pair in pairwise(words)]
            may_follow = [(one, _GAP) in known and (_GAP, other) in known for one, other in pairwise(words)]
            if not any(joined) or not all(map(any, zip(joined, may_follow, strict=True))):
                unknown.append(" ".join(words).replace(_GAP, "..."))
    return unknown


def _runs(text: str) -> Iterator[list[str]]:
    """Yield words that stand together; values and punctuation part them. The names of samples are gaps."""
    run: list[str] = []
    for token in [*text.split(), ""]:
        word = token.strip(_EDGES)
        if _GAP in token or word in _NAMES:
            word = _GAP
        is_word = word == _GAP or bool(_WORD.fullmatch(word))
        if is_word:
            run.append(word)
        if not is_word or token[-1:] in _EDGES:
            yield run
            run = []


@cache
def _pairs() -> frozenset[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for text in _strings():
        for run in _runs(text):
            found.update(zip([_GAP, *run], [*run, _GAP], strict=True))
    return frozenset(found)


def _strings() -> Iterator[str]:
    for folder in _SOURCES:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.JoinedStr):
                    yield "".join(str(part.value) if isinstance(part, ast.Constant) else _GAP for part in node.values)
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


@cache
def headings() -> frozenset[str]:
    """Return every string of the source that can be the heading of a column."""
    return frozenset(text for text in _strings() if re.fullmatch(r"[A-Z][A-Z ,-]*", text))


def unknown_headings(line: str) -> list[str]:
    """Return what of a line of headings no column has; nothing for another line."""
    cells = [cell for cell in re.split(r" {2,}", line.strip()) if cell]
    if len(cells) < 2 or not all(re.fullmatch(r"[A-Z][A-Z ,-]*", cell) for cell in cells):
        return []
    # Columns of numbers are right-aligned: two headings may be one space apart.
    return [cell for cell in cells if cell not in headings() and not set(cell.split(" ")) <= headings()]
