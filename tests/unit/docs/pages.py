"""The pages of the documentation, their commands and their sample outputs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[3]
_FENCE: Final = re.compile(r"\s*```(\w*)\s*$")
_PROMPT: Final = "$ "
_SEPARATORS: Final = frozenset({"|", "||", "&&", ";", "&"})
_PROGRAMS: Final = frozenset({"coffre", "eval", "sam", "make", "uv", "sha256sum", "aws", "grype"})
_NESTED: Final = re.compile(r"\$\(([^()]*)\)")
_INLINE: Final = re.compile(r"`(coffre [^`]+)`")
_ASSIGNED: Final = re.compile(r"[A-Z_]+=.*", re.DOTALL)


@dataclass(frozen=True)
class Line:
    """One line of commands, as a shell gets it, and where it is."""

    where: str
    text: str

    @property
    def commands(self) -> tuple[tuple[str, ...], ...]:
        """The simple commands in it, without assignments before them and redirections."""
        nested = [command for inner in _NESTED.findall(self.text) for command in Line(self.where, inner).commands]
        lexer = shlex.shlex(_NESTED.sub("VALUE", self.text), posix=True, punctuation_chars=";<>|&")
        lexer.whitespace_split = True
        found: list[list[str]] = [[]]
        words = iter(lexer)
        for word in words:
            if word in _SEPARATORS:
                found.append([])
            elif set(word) <= set("<>&") and word:
                next(words, None)
            elif found[-1] or not _ASSIGNED.fullmatch(word):
                found[-1].append(word)
        return tuple(tuple(command) for command in [*found, *nested] if command)


@dataclass(frozen=True)
class Sample:
    """A command in the docs with what it prints there; an output without its command has an empty line.

    `place` is the page with the heading that it is below: `docs/restore.md#I dropped a table`.
    """

    line: Line
    output: tuple[str, ...]
    place: str


def pages() -> list[Path]:
    """Return the pages that a user reads; the decisions in `docs/adr` tell how it was."""
    every = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [page for page in every if page.parent.name != "adr"]


def lines_of(page: Path) -> Iterator[Line]:
    """Yield the lines of commands in a page's blocks of code."""
    for where, language, block in _blocks(page):
        if language == "sh":
            yield from _joined(where, block)
        elif any(line.startswith(_PROMPT) for line in block):
            yield from (sample.line for sample in _samples(where, block, ""))
        elif language is None and _has_commands(block):
            yield from _joined(where, block)


def samples_of(page: Path) -> Iterator[Sample]:
    """Yield the commands of a page that are shown with their output, and outputs that are shown alone."""
    headings = _headings(page)
    for where, language, block in _blocks(page):
        if language != "sh" and any(line.startswith(_PROMPT) for line in block):
            yield from _samples(where, block, headings[where])
        elif not language and not _has_commands(block):
            yield Sample(Line(where, ""), tuple(block), headings[where])


def mentioned_in(page: Path) -> Iterator[Line]:
    """Yield the commands that are named in prose and tables."""
    prose = page.read_text()
    for number, line in enumerate(prose.split("\n"), 1):
        for text in _INLINE.findall(line):
            yield Line(f"{page.relative_to(ROOT)}:{number}", text.replace("\\|", "|"))


def _has_commands(block: list[str]) -> bool:
    return block[0].split()[0] in _PROGRAMS


def _headings(page: Path) -> dict[str, str]:
    """Return the heading that each line of a page is below."""
    found, name, heading, is_code = {}, str(page.relative_to(ROOT)), "", False
    for number, line in enumerate(page.read_text().split("\n"), 1):
        is_code ^= bool(_FENCE.match(line))
        if line.startswith("#") and not is_code:
            heading = line.lstrip("# ")
        found[f"{name}:{number}"] = f"{name}#{heading}"
    return found


def _blocks(page: Path) -> Iterator[tuple[str, str | None, list[str]]]:
    """Yield place, language (None: indented) and lines of each block of code."""
    block: list[str] = []
    language: str | None = None
    is_fenced, start, before, indent = False, 0, "", "    "
    for number, line in enumerate([*page.read_text().split("\n"), ""], 1):
        fence = _FENCE.match(line)
        is_indented = not is_fenced and line.startswith("    ") and (bool(block) or not before.strip())
        if fence and not is_fenced:
            is_fenced, language, start = True, fence[1], number
            indent = line[: line.index("`")]
        elif fence:
            if block:
                yield f"{page.relative_to(ROOT)}:{start + 1}", language, block
            is_fenced, block, language, indent = False, [], None, "    "
        elif is_fenced or is_indented:
            start = start if block or is_fenced else number - 1
            block.append(line.removeprefix(indent).rstrip())
        elif block:
            yield f"{page.relative_to(ROOT)}:{start + 1}", None, block
            block = []
        before = line


def _joined(where: str, block: list[str]) -> Iterator[Line]:
    """Yield lines; one that ends with a backslash, or within quotes, continues."""
    text = ""
    for line in block:
        text = f"{text}{line.strip()}\n"
        if text.endswith("\\\n"):
            text = text.removesuffix("\\\n")
            continue
        bare = _without_comment(text.strip())
        try:
            shlex.split(bare)
        except ValueError:
            continue
        if bare:
            yield Line(where, bare)
        text = ""
    assert not text.strip(), f"{where}: a command in the block is not closed: {text}"


def _without_comment(text: str) -> str:
    return re.sub(r"(^|\s)#\s.*$", "", text, flags=re.MULTILINE).strip()


def _samples(where: str, block: list[str], place: str) -> Iterator[Sample]:
    commands = [at for at, line in enumerate(block) if line.startswith(_PROMPT)]
    for at, end in zip(commands, [*commands[1:], len(block)], strict=True):
        [line] = _joined(where, [block[at].removeprefix(_PROMPT)])
        yield Sample(line, tuple(block[at + 1 : end]), place)
