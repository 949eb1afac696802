"""Product files use the words of the field: `FORBIDDEN` names each expression that they avoid, and what to write.

Checked are Markdown, the template, and of Python code the comments, docstrings and other strings (not the names).
Code between backticks and in blocks is exempt, as are decisions (docs/adr) and released sections of CHANGELOG.md.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from string import ascii_lowercase, ascii_uppercase
from typing import Final, NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
CHECKED: Final = (
    "*.md",
    "docs/**/*.md",
    "template.yaml",
    "layers/coffre/coffre/**/*.py",
    "layers/console/coffre_console/**/*.py",
    "layers/coffre/coffre/**/*.jinja",
    "functions/**/*.py",
    "cli/**/*.py",
)
EXEMPT: Final = ("docs/adr/",)
LONGEST_LINE: Final = 120

FORBIDDEN: Final = {
    r"anew": "again; to rebuild",
    r"at once": "immediately; at the same time, together",
    r"in so many words": "explicitly",
    r"so many": "number of",
    r"whoever": "name the subject: the operator, another session",
    r"whatever it is": "name what it is",
    r"somebody|nobody": "name the subject: the operator, another session; no one",
    r"(?:go|goes|going|went|gone) on": "to continue, to resume",
    r"(?:give|gives|giving|gave|given) way": "to yield, to be cancelled",
    r"told|untold|tells? of": "reported, notified",
    r"beside": "next to, alongside; staging; with",
    r"(?:bring|brings|bringing|brought)(?: \w+){0,2} back": "to restore",
    r"what is there|(?:is|are|was|were) there(?! (?:a|an|any|another|more|no)\b)": "exists, existing",
    r"likewise(?=(?:(?!\n[ \t]*\n).)*?\blikewise\b)": "once in a paragraph is enough",
    r"it is said": "name the subject, and who says it",
}
# Without a `\b` first, and in small letters: so an expression is looked for by its letters, five times as quickly.
_PATTERNS: Final = [
    (re.compile(rf"(?:{pattern.replace(' ', r'\s+')})\b", re.DOTALL), instead) for pattern, instead in FORBIDDEN.items()
]
_SMALL: Final = str.maketrans(ascii_uppercase, ascii_lowercase)


class Finding(NamedTuple):
    line: int
    words: str
    instead: str


def findings_in(prose: str) -> Iterator[Finding]:
    small = prose.translate(_SMALL)
    for pattern, instead in _PATTERNS:
        for match in pattern.finditer(small):
            if not re.match(r"\w", prose[max(0, match.start() - 1) : match.start()]):
                words = " ".join(prose[match.start() : match.end()].split())
                yield Finding(prose.count("\n", 0, match.start()) + 1, words, instead)


# --- prose: the text of a file with everything else blanked, so that lines keep their numbers ---


def _without_blocks(markdown: str) -> str:
    return re.sub(
        r"^ *```.*?^ *```", lambda block: re.sub(r".", "", block[0]), markdown, flags=re.DOTALL | re.MULTILINE
    )


def prose_of_markdown(text: str) -> str:
    return re.sub(r"`[^`]+`|\]\([^)\s]+\)", lambda code: re.sub(r"\S", "|", code[0]), _without_blocks(text))


def prose_of_changelog(text: str) -> str:
    released = re.search(r"^## (?!\[?unreleased)", text, flags=re.IGNORECASE | re.MULTILINE)
    return prose_of_markdown(text[: released.start()] if released else text)


def prose_of_python(source: str) -> str:
    """Keep comments and strings; their quotes and number signs become spaces, so that wrapped sentences are whole."""
    lines = source.splitlines(keepends=True)
    kept = [re.sub(r"\S", "|", line) for line in lines]
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in _PROSE_TOKENS:
            for row in range(token.start[0], token.end[0] + 1):
                line = lines[row - 1]
                start = token.start[1] if row == token.start[0] else 0
                end = token.end[1] if row == token.end[0] else len(line)
                words = re.sub(r"""["'#]""", " ", line[start:end])
                kept[row - 1] = kept[row - 1][:start] + words + kept[row - 1][end:]
    return prose_of_markdown("".join(kept))


_PROSE_TOKENS: Final = {
    tokenize.COMMENT,
    tokenize.STRING,
    tokenize.FSTRING_START,
    tokenize.FSTRING_MIDDLE,
    tokenize.FSTRING_END,
}


def prose_of(path: Path) -> str:
    text = path.read_text()
    if path.suffix == ".py":
        return prose_of_python(text)
    return prose_of_changelog(text) if path.name == "CHANGELOG.md" else prose_of_markdown(text)


def long_lines_of(markdown: str) -> Iterator[int]:
    """Yield the numbers of lines that are too long, without tables, code blocks and the addresses of links."""
    for number, line in enumerate(_without_blocks(markdown).splitlines(), start=1):
        shown = re.sub(r"\]\([^)\s]+\)|https?://\S+", "]", line)
        if len(shown) > LONGEST_LINE and not line.lstrip().startswith("|"):
            yield number


# --- the files ---


def checked_files() -> list[Path]:
    found = {path for pattern in CHECKED for path in ROOT.glob(pattern)}
    return sorted(path for path in found if not path.relative_to(ROOT).as_posix().startswith(EXEMPT))


def test_product_files_use_the_words_of_the_field() -> None:
    wrong = [
        f'{path.relative_to(ROOT)}:{finding.line}: "{finding.words}" ({finding.instead})'
        for path in checked_files()
        for finding in findings_in(prose_of(path))
    ]
    assert not wrong, "\n".join(["Write it in other words:", *wrong])


def test_lines_of_documents_fit_into_an_editor() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{number}: longer than {LONGEST_LINE} characters"
        for path in checked_files()
        if path.suffix == ".md"
        for number in long_lines_of(path.read_text())
    ]
    assert not long, "\n".join(long)


# --- the check itself finds what it has to find ---


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Rebuild it anew.", "anew"),
        ("Two runs at\nonce.", "at once"),
        ("Keep SO MANY of them.", "SO MANY"),
        ("It brings the rows back.", "brings the rows back"),
        ("It brought back a table.", "brought back"),
        ("What is there stays.", "What is there"),
        ("Backups that are there stay.", "are there"),
        ("It goes on in the next run.", "goes on"),
        ("The run gave way.", "gave way"),
        ("You are told by mail.", "told"),
        ("It lies beside the backup.", "beside"),
        ("Likewise here.\nAnd likewise there.", "Likewise"),
    ],
)
def test_words_of_documents_are_found(text: str, words: str) -> None:
    assert [finding.words for finding in findings_in(prose_of_markdown(text))] == [words]


@pytest.mark.parametrize(
    "text",
    [
        "Besides, are there any backups? Is there a newer one?",
        "`coffre local` says `at once`.",
        "```\nat once\n```",
        "    ```\n    at once\n    ```",
        "[the decision](adr/0011-told-once.md)",
        "Likewise here.\n\nLikewise there.",
    ],
)
def test_other_words_code_and_links_are_not_found(text: str) -> None:
    assert list(findings_in(prose_of_markdown(text))) == []


def test_comments_docstrings_and_strings_of_code_are_checked_and_names_are_not() -> None:
    source = '''"""Written\nanew."""
told = beside(told)  # at
# once
message = (
    f"It goes {told} so "
    "many times, whoever calls."
)
'''
    found = [(finding.line, finding.words) for finding in findings_in(prose_of_python(source))]
    assert sorted(found) == [(2, "anew"), (3, "at once"), (6, "so many"), (7, "whoever")]


def test_a_finding_has_its_line_and_the_replacement() -> None:
    assert list(findings_in(prose_of_markdown("One.\n```\ncode\n```\nMade anew."))) == [
        Finding(5, "anew", "again; to rebuild")
    ]


def test_released_sections_of_the_changelog_stay_as_they_are() -> None:
    text = "# Changelog\n\n## Unreleased\n\nMade anew.\n\n## 0.1.0\n\nMade anew.\n"

    assert [finding.line for finding in findings_in(prose_of_changelog(text))] == [5]


def test_long_lines_are_found_outside_of_tables_code_and_addresses() -> None:
    long = "word " * 30
    text = f"{long}\n| {long} |\n```\n{long}\n```\n[link](https://example.org/{'a' * 120})\n"

    assert list(long_lines_of(text)) == [1]
