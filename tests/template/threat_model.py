"""The part of docs/format/threat-model.md that is made from the template: `make threat-model` writes it."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from tests.template.privileges import (
    ADMINISTRATOR,
    ALARMS,
    ANYONE,
    FUNCTIONS,
    LOGGING,
    PEOPLE,
    RULES,
    TOPIC,
    Call,
    Privileges,
)
from tests.template.rendering import ROOT

DOCUMENT: Final = ROOT / "docs" / "format" / "threat-model.md"
BEGIN: Final = "<!-- made from template.yaml by `make threat-model`: do not edit -->"
END: Final = "<!-- end of what is made from template.yaml -->"
# As the table's columns name them; the other two are sentences.
COLUMNS: Final = {
    **{name: f"`{name.replace('-', '_')}`" for name in FUNCTIONS},
    **{name: name for name in PEOPLE},
    RULES: "schedules",
    TOPIC: "the topic",
    ALARMS: "alarms",
    LOGGING: "S3's logging",
}


def section(privileges: Privileges) -> str:
    """Return the generated part: a table for each group of calls, those with the same answer in one row."""
    calls = sorted(privileges.calls, key=lambda call: _groups(privileges).index(call.group))
    tables = (_table(group, list(of), privileges) for group, of in groupby(calls, key=lambda call: call.group))
    return "\n".join([BEGIN, "", _summary(privileges), "", *tables, END])


def updated(document: str, made: str) -> str:
    """Return the document with its generated part replaced.

    Raises
    ------
    ValueError
        It does not have the two markers, each once and in this order.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in after or END in after:
        raise ValueError(f"the document needs one line {BEGIN!r} and after it one line {END!r}")
    return before + made + after


def _groups(privileges: Privileges) -> list[str]:
    return list(dict.fromkeys(call.group for call in privileges.calls))


def _summary(privileges: Privileges) -> str:
    calls = privileges.calls
    denied = [call for call in calls if ADMINISTRATOR not in privileges.allowed(call)]
    open_to_all = [call for call in calls if ANYONE in privileges.allowed(call)]
    return "\n".join(
        [
            f"{len(privileges.principals)} callers, {len(calls)} calls. An empty cell is a refusal.",
            "",
            f"- Without credentials of the account: {_words(open_to_all) or 'nothing'}.",
            _filled(
                f"- An administrator (`*` on `*`) may make every call but these: {_words(denied)}. An "
                "administrator can also change the policies themselves.",
                "  ",
            ),
        ]
    )


def _table(group: str, calls: Sequence[Call], privileges: Privileges) -> str:
    by_answer: dict[frozenset[str], list[Call]] = {}
    for call in calls:
        by_answer.setdefault(privileges.allowed(call) - {ANYONE, ADMINISTRATOR}, []).append(call)
    refused = by_answer.pop(frozenset(), [])
    lines = [f"**{group}**", ""]
    if by_answer:
        used = [name for name in COLUMNS if any(name in answer for answer in by_answer)]
        lines += list(_rows(by_answer, used))
        lines.append("")
    if refused:
        lines += [_filled(f"None of them: {_words(refused)}."), ""]
    return "\n".join(lines)


def _rows(by_answer: dict[frozenset[str], list[Call]], used: Sequence[str]) -> Iterator[str]:
    yield f"| | {' | '.join(COLUMNS[name] for name in used)} |"
    yield f"|---|{'---|' * len(used)}"
    for answer, calls in by_answer.items():
        yield f"| {_words(calls)} | {' | '.join('yes' if name in answer else '' for name in used)} |"


def _words(calls: Sequence[Call]) -> str:
    """Return what calls do, those with the same verb together: `read a pack, a manifest; list keys`."""
    by_verb: dict[str, list[str]] = {}
    for call in calls:
        by_verb.setdefault(call.verb, []).append(call.what)
    return "; ".join(f"{verb} {', '.join(what)}".strip() for verb, what in by_verb.items())


def _filled(text: str, indent: str = "") -> str:
    return textwrap.fill(text, 118, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def main() -> None:
    """Write the document."""
    text = DOCUMENT.read_text()
    DOCUMENT.write_text(updated(text, section(Privileges())))


# --- the tests that a document names ---


def references(text: str) -> list[str]:
    """Return the numbers of tests that a piece of the document refers to: `[T3]`."""
    return re.findall(r"\[T(\d+)\]", text)


def named_tests(document: str) -> dict[str, str]:
    """Return the tests that the document lists by their numbers: a link to a file, and the test's name as its title."""
    return {
        number: f"{path}::{name}"
        for number, path, name in re.findall(
            r'^\[T(\d+)\]: \.\./\.\./(tests/\S+\.py)\n  "(\w+)"$', document, re.MULTILINE
        )
    }


if __name__ == "__main__":
    main()
