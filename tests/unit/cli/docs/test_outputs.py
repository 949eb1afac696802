"""Sample outputs in the documentation are what the command says now.

`SCENES` are samples that are produced here and compared, with ids, times and amounts taken as equal. What needs a
server is compared with the strings of the source: a message that was reworded is found.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

import pytest
from tests.unit.cli.conftest import Account, Coffre
from tests.unit.cli.docs.messages import unknown_headings, unknown_words
from tests.unit.cli.docs.pages import Command
from tests.unit.cli.docs.scenes import cost_of_a_month
from tests.unit.cli.docs.test_commands import COMMANDS

SAMPLES: Final = tuple(command for command in COMMANDS if command.output)
SCENES: Final[Mapping[str, Callable[[Account, pytest.MonkeyPatch], None]]] = {"coffre cost": cost_of_a_month}

# What other programs say in our output: PostgreSQL.
SAID_BY_OTHERS: Final = re.compile(r"insert or update on table|violates foreign key constraint")
_VOLATILE: Final = (
    (re.compile(r"\b[0-9A-HJKMNP-TV-Z]{26}\b"), "ID"),
    (re.compile(r"\d{4}-\d\d-\d\d( \d\d:\d\d(:\d\d)?)?"), "TIME"),
    (re.compile(r"\b\d+ (s|min|h|d) ago\b"), "AGE"),
    (re.compile(r" +"), " "),
)


def test_scenes_are_of_samples() -> None:
    assert {command.text for command in SAMPLES} >= SCENES.keys()


@pytest.mark.parametrize("command", SAMPLES, ids=str)
def test_a_sample_says_what_the_source_says(command: Command) -> None:
    problems = [
        f"{command}: {line}\n  not in the source: {', '.join(unknown)}"
        for line in command.output
        if not SAID_BY_OTHERS.search(line)
        if (unknown := [*unknown_words(line), *unknown_headings(line)])
    ]

    assert not problems, (
        "The message was changed, or it is not ours. Correct the page; words of other programs go into "
        "SAID_BY_OTHERS:\n" + "\n".join(problems)
    )


@pytest.mark.parametrize("text", SCENES)
def test_a_sample_is_what_the_command_says(
    coffre: Coffre, account: Account, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    SCENES[text](account, monkeypatch)

    said = coffre(*text.split()[1:])

    assert said.status == 0, said.err
    for command in SAMPLES:
        if command.text == text:
            shown = [normal(line) for line in command.output]
            assert shown == [normal(line) for line in said.out.splitlines()[: len(shown)]], str(command)


def normal(line: str) -> str:
    """Return a line without what differs from one time to the next."""
    for pattern, name in _VOLATILE:
        line = pattern.sub(name, line)
    return line.rstrip()


@pytest.mark.parametrize(
    "line",
    [
        "Restored casa in db.example:5432/casa: 1 table, 3 rows in 1.2 s. The row counts match.",
        "  Note: Owners and rights were not restored.",
        "TABLE  ADDED  CHANGED",
    ],
)
def test_a_message_that_does_not_exist_is_found(line: str) -> None:
    assert unknown_words(line) or unknown_headings(line)
