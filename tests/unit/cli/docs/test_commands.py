"""Every command in the documentation can be run: it is run here, or parsed as far as it can be.

A command of `coffre` is parsed by the command's own parser; `RUN` are those that also run, in an account of this
process. A call of another program is checked by `programs.CHECKS`. A line that none of them knows fails.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
import typer
from tests.unit.cli.conftest import Account, Coffre
from tests.unit.cli.docs.coffre_calls import WrongUsage, find_command, options_of, parse_call
from tests.unit.cli.docs.pages import OTHER_LANGUAGES, PAGES, Command, blocks_of, commands_of, name_of, prose_of
from tests.unit.cli.docs.programs import CHECKS
from tests.unit.cli.docs.shell import Call, calls_of

COMMANDS: Final = tuple(command for page in PAGES for command in commands_of(page))
# What only reads the catalog, the configuration or the vault: an account with some backups answers it.
RUN: Final = frozenset({"list", "show", "cost", "audit", "alerts list", "config show", "config history", "keys list"})
_STANDS_FOR: Final = {"ID": "latest", "TARGET": "shop"}
_WITH_STACK: Final = re.compile(r" --stack \w+")
# `coffre keys new` of prose, with its options and arguments; not `coffre_local`, nor a file.
_INLINE: Final = re.compile(r"`(coffre(?: [^`\n]+)?)`")


def test_pages_have_commands() -> None:
    assert len(COMMANDS) > 50
    assert sum(bool(command.output) for command in COMMANDS) > 10


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_a_command_is_valid(command: Command) -> None:
    problems = [problem for call in calls_of(command.text) for problem in problems_of(call)]

    assert not problems, f"{command}: {command.text}\n" + "\n".join(problems)


def problems_of(call: Call) -> Iterator[str]:
    """Yield what is wrong with a call."""
    if call.program == "coffre":
        try:
            parse_call(tuple(filled_in(word) for word in call.arguments))
        except typer.Exit:
            return  # --help and --version
        except WrongUsage as error:
            yield f"coffre refuses it: {error}"
    elif call.program in CHECKS:
        yield from CHECKS[call.program](call)
    else:
        yield (
            f"{call.program} is not known to this test. If it is a program, write a check for it in programs.CHECKS; "
            "if the block shows no commands, give it another language (```json), or none."
        )


def filled_in(word: str) -> str:
    """Return an argument with a value for each placeholder that the parser would refuse."""
    return {"N": "3", "DAYS": "3", "...": "x"}.get(word, word)


def test_a_block_that_is_no_script_is_of_a_known_language() -> None:
    """Commands in a block of an unknown language would be checked by nothing."""
    known = {"", "sh", "bash", "shell", "console", "text", *OTHER_LANGUAGES}
    wrong = [
        f"{name_of(block.page)}:{block.line}: {block.language}"
        for page in PAGES
        for block in blocks_of(page)
        if block.language not in known
    ]

    assert not wrong, f"Write ```sh for commands, or add the language to pages.OTHER_LANGUAGES: {wrong}"


def test_a_block_without_a_language_shows_commands_after_a_prompt() -> None:
    """A line that begins with one of our commands, and has no `$ `, would be checked by nothing."""
    wrong = [
        f"{name_of(block.page)}:{block.line + at}: {line}"
        for page in PAGES
        for block in blocks_of(page)
        if block.language in {"", "console", "text"}
        for at, line in enumerate(block.lines)
        if re.match(r"(coffre|sam|aws|make|psql) [a-z-]", line)
    ]

    assert not wrong, "Begin a command with `$ `, or give its block the language sh:\n" + "\n".join(wrong)


# --- what prose names ---


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_and_options_in_prose_exist(page: Path) -> None:
    problems = [
        f"{name_of(page)}:{number}: `{text}`: {problem}"
        for number, line in enumerate(prose_of(page).splitlines(), 1)
        for text in _INLINE.findall(line)
        for problem in problems_of_inline(text.replace("\\|", "|"))
    ]

    assert not problems, "\n".join(problems)


def problems_of_inline(text: str) -> Iterator[str]:
    """Yield subcommands and options that do not exist; brackets, ellipses and alternatives are of the prose."""
    plain = re.sub(r"\$\([^)]*\)|'[^']*'|\"[^\"]*\"", "X", text)
    plain = re.split(r" [|;&]+ | >|&&| #", plain)[0]
    words = [word for word in re.sub(r"[\[\](){}…]|\.\.\.", " ", plain).split() if word != "|"][1:]
    while words and words[0].startswith("--") and words[0] not in {"--version", "--help"}:
        words = words[2:]  # before the command: --vault DIR
    while words and "|" in words[0]:
        words = words[1:]
    alternatives: list[list[str]] = [[]]
    for word in words:
        is_choice = "|" in word and not word.startswith("-")
        alternatives = [[*before, one] for before in alternatives for one in (word.split("|") if is_choice else [word])]
        if word.startswith("-") or len(alternatives) > 50:
            break
    options = [word.partition("=")[0] for word in words for word in word.split("|") if word.startswith("-")]
    for chosen in alternatives:
        command, rest = find_command(tuple(word for word in chosen if word not in options))
        if rest and hasattr(command, "resolve_command") and re.fullmatch(r"[a-z][a-z-]+", rest[0]):
            yield f"there is no subcommand {rest[0]}"
    command, _ = find_command(tuple(alternatives[0]))
    known = options_of(command)
    for option in options:
        if option not in known and not hasattr(command, "resolve_command"):
            yield f"it has no option {option}"


# --- what runs ---


def runs() -> Iterator[tuple[str, Call]]:
    for command in COMMANDS:
        calls = list(calls_of(command.text))
        if len(calls) == 1 and calls[0].program == "coffre" and "$" not in command.text:
            words = " ".join(word for word in calls[0].arguments[:2] if not word.startswith("-"))
            needs_more = {"accesses", "--anchor"} & {*calls[0].arguments}
            if (words in RUN or words.split(" ")[0] in RUN) and not needs_more:
                yield str(command), calls[0]


@pytest.fixture
def some_history(account: Account) -> Account:
    """An account with what the pages talk about: targets `shop` and `files`, and backups."""
    now = datetime.now(UTC)
    account.configure("shop", "files", "shop-orders")
    for days in (40, 3, 2, 1):
        account.backup(created_at=now - timedelta(days=days))
    return account


def test_commands_that_only_read_do_run(coffre: Coffre, some_history: Account) -> None:
    ran = list(runs())
    refused = []
    for where, call in ran:
        arguments = _WITH_STACK.sub("", " ".join(call.arguments)).split()
        said = coffre(*(_STANDS_FOR.get(word, word) for word in arguments))
        if said.status != 0:
            refused.append(f"{where}: {call}: {said.err}")

    assert len(ran) > 5
    assert not refused, "\n".join(refused)


# --- that these tests can fail ---


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("coffre lst", "No such command"),
        ("coffre list --colour", "No such option"),
        ("coffre restore", "Usage: coffre restore"),
        ("sam deploy --parameter-overrides Colour=red", "no parameter Colour"),
        ("make everything", "no target everything"),
        ("aws s3api put-objekt --bucket b", "no command s3api put-objekt"),
        ("aws s3api put-object --bucket b --colour red", "no option --colour"),
        ("psql -f docs/roles/nowhere.sql shop", "does not exist"),
        ("psql -v colour=red -f docs/roles/backup.sql shop", "does not use the variable colour"),
        ("python3 restore.py vault --colour", "no option --colour"),
        ("pip install coffre", "programs.CHECKS"),
        ("coffre list | sort", "programs.CHECKS"),
        ('DESTINATION=x echo "$(coffre lst)"', "No such command"),
    ],
)
def test_a_wrong_command_is_found(text: str, problem: str) -> None:
    problems = [found for call in calls_of(text) for found in problems_of(call)]

    assert any(problem in found for found in problems), problems


@pytest.mark.parametrize("text", ["coffre keys forget", "coffre list --colour", "coffre keys new|lst"])
def test_a_wrong_command_in_prose_is_found(text: str) -> None:
    assert list(problems_of_inline(text))


@pytest.mark.parametrize("text", ["coffre keys new|list", "coffre list [TARGET] [--stats]", "coffre --vault DIR list"])
def test_short_forms_of_prose_are_understood(text: str) -> None:
    assert not list(problems_of_inline(text))
