"""Compare what a page shows with what a command printed."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from difflib import unified_diff
from functools import cache
from pathlib import Path
from typing import Final

from tests.unit.docs.pages import ROOT

# What differs in each run; a page may also shorten an id.
_VARIES: Final = (
    (re.compile(r"(?<![0-9A-Za-z])(?:[0-7][0-9A-HJKMNP-TV-Z]{25}|[0-7][0-9a-hjkmnp-tv-z]{25})(?![0-9A-Za-z])"), "<id>"),
    (re.compile(r"\b01[0-9A-Z]{2,8}\.\.\."), "<id>"),
    (re.compile(r"\bage1[0-9a-z]{58}\b|\bage1[0-9a-z]{8}\.\.\.[0-9a-z]{6}\b"), "<key>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\b"), "<time>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d\b"), "<date>"),
    (re.compile(r"\b\d+ (?:s|min|h|d) ago\b"), "<age>"),
    (re.compile(r"\bin \d+(?:\.\d)? (?:ms|s)\b"), "in <duration>"),
    (re.compile(r"(?<=\S)\s+"), " "),
)


def difference(shown: Sequence[str], printed: Sequence[str], *, is_part: bool) -> str | None:
    """Return how a page differs from what was printed; None: not at all.

    A line `...` of the page stands for one or more lines, and at the end of a line for its rest. `is_part`: other
    lines may come before and after.
    """
    ours, theirs = [_normal(line) for line in shown], [_normal(line) for line in printed]
    wanted = "".join(_pattern(line) for line in ours)
    text = "".join(f"{line}\n" for line in theirs)
    found = re.search(f"(?m:^){wanted}", text) if is_part else re.fullmatch(wanted, text)
    if found:
        return None
    return "\n".join(unified_diff(ours, theirs, "the page", "the command", lineterm=""))


def is_made_in(sentence: str, module: str, *, words: int = 4) -> bool:
    """Return whether a string of a module of the product is this sentence, its values filled in.

    Strings with fewer `words` of their own prove nothing.
    """
    return any(one.fullmatch(sentence) for one in _templates(ROOT / "layers" / "coffre" / "coffre" / module, words))


def _normal(line: str) -> str:
    for pattern, word in _VARIES:
        line = pattern.sub(word, line)
    return line.rstrip()


def _pattern(line: str) -> str:
    if line.strip() == "...":
        return r"(?:[^\n]*\n)+?"
    if line.endswith(" ..."):
        return re.escape(line.removesuffix("...")) + r"[^\n]*\n"
    return re.escape(line) + r"\n"


@cache
def _templates(path: Path, words: int) -> tuple[re.Pattern[str], ...]:
    return tuple(_sentences(ast.parse(path.read_text()), words))


def _sentences(tree: ast.AST, least: int) -> Iterator[re.Pattern[str]]:
    for node in ast.walk(tree):
        parts = node.values if isinstance(node, ast.JoinedStr) else [node]
        own = [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]
        if len("".join(own).split()) >= least:
            yield re.compile(
                "".join(re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".+?" for part in parts),
                re.DOTALL,
            )
