"""The pages of the documentation: their blocks, their commands, their inline code, their headings and links."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[4]
# Decisions are history: what they show need not run any more.
PAGES: Final = tuple(
    sorted(
        page
        for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"))
        if "adr" not in page.parts and page.name != "CHANGELOG.md"
    )
)
WITH_LINKS: Final = (*PAGES, *sorted(ROOT.glob("docs/adr/*.md")), ROOT / "CHANGELOG.md")
# What blocks of these languages have is no command and no output of one.
OTHER_LANGUAGES: Final = frozenset(
    {"json", "jsonl", "json5", "sql", "python", "mermaid", "yaml", "toml", "xml", "ini", "diff", "powershell"}
)
_FENCE: Final = re.compile(r"^( *)(```+)(\S*)\s*$")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language (empty: none) and its lines, the first of which is `line` of the page."""

    page: Path
    line: int
    language: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Command:
    """A command line as a shell reads it, and the output that the page shows for it."""

    page: Path
    line: int
    text: str
    output: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{name_of(self.page)}:{self.line}"


def name_of(page: Path) -> str:
    """Return the path of a page from the top."""
    return str(page.relative_to(ROOT))


@cache
def blocks_of(page: Path) -> tuple[Block, ...]:
    """Return the fenced blocks of a page, without their indentation."""
    found: list[Block] = []
    opened: tuple[int, str, str, str] | None = None
    lines: list[str] = []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        fence = _FENCE.match(line)
        if opened is None and fence:
            opened, lines = (number + 1, fence[1], fence[2], fence[3]), []
        elif opened is not None and fence and fence[2] == opened[2] and not fence[3]:
            found.append(Block(page, opened[0], opened[3], tuple(lines)))
            opened = None
        elif opened is not None:
            lines.append(line.removeprefix(opened[1]))
    assert opened is None, f"{name_of(page)}:{opened and opened[0]}: the block does not end"
    return tuple(found)


def prose_of(page: Path) -> str:
    """Return a page without its blocks; lines keep their numbers."""
    text = page.read_text().splitlines()
    for block in blocks_of(page):
        for number in range(block.line - 2, block.line + len(block.lines)):
            text[number] = ""
    return "\n".join(text)


def commands_of(page: Path) -> Iterator[Command]:
    """Yield the commands of a page: lines of blocks `sh`, and those after `$ ` of blocks without a language."""
    for block in blocks_of(page):
        if block.language in {"sh", "bash", "shell"}:
            yield from _of_script(block)
        elif block.language in {"", "console", "text"} and is_session(block):
            yield from _of_session(block)


def is_session(block: Block) -> bool:
    """Return whether a block shows commands with their output."""
    return any(line.startswith("$ ") for line in block.lines)


def _of_script(block: Block) -> Iterator[Command]:
    at = 0
    while at < len(block.lines):
        text, used = _whole(block.lines, at)
        if text.strip() and not text.lstrip().startswith("#"):
            yield Command(block.page, block.line + at, text.strip())
        at += used


def _of_session(block: Block) -> Iterator[Command]:
    starts = [at for at, line in enumerate(block.lines) if line.startswith("$ ")]
    for start, end in zip(starts, [*starts[1:], len(block.lines)], strict=True):
        text, used = _whole([block.lines[start][2:], *block.lines[start + 1 : end]], 0)
        yield Command(block.page, block.line + start, text, block.lines[start + used : end])


def _whole(lines: Sequence[str], at: int) -> tuple[str, int]:
    """Return a command that may continue on further lines, and how many lines it has."""
    text, used = lines[at], 1
    while at + used < len(lines) and (text.endswith("\\") or _is_open(text)):
        text = text.removesuffix("\\") + ("" if text.endswith("\\") else "\n") + lines[at + used]
        used += 1
    return text, used


def _is_open(text: str) -> bool:
    """Return whether a quotation has not ended."""
    quote = ""
    for before, letter in zip(" " + text, text, strict=False):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter == "#" and before == " ":
            return False
    return bool(quote)
