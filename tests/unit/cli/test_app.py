"""The command as a whole: its help, its version, which stack it works on, and errors that nobody planned for."""

from __future__ import annotations

import shlex
import tomllib
from pathlib import Path
from typing import Literal

import boto3
import pytest
from botocore.exceptions import ClientError
from tests.unit.cli.conftest import OUTPUTS, Account, Coffre

from coffre import __version__
from coffre_cli import deployed
from coffre_cli.commands.local import _databases
from coffre_cli.local import stack as local_stack
from coffre_cli.local.state import LocalState

ROOT = Path(__file__).parents[3]
COMMANDS = [
    (),
    ("backup",),
    ("backup", "database"),
    ("catalog",),
    ("catalog", "rebuild"),
    ("delete",),
    ("demo",),
    ("export",),
    ("invoke",),
    ("keys",),
    ("keys", "new"),
    ("list",),
    ("local",),
    ("local", "down"),
    ("local", "env"),
    ("local", "up"),
    ("pin",),
    ("restore",),
    ("alerts", "list"),
    ("alerts", "test"),
    ("rotate",),
    ("show",),
    ("unpin",),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_help_has_an_example_and_fits_eighty_columns(
    coffre: Coffre, command: tuple[str, ...], option: str
) -> None:
    said = coffre(*command, option)

    lines = said.out.splitlines()
    assert said.status == 0
    assert lines[0].startswith(f"Usage: {' '.join(('coffre', *command))} ")
    assert max(len(line) for line in lines) <= 80
    assert "..." not in said.out.split("Examples:")[0].split("Commands:")[-1], "a summary is cut"
    examples = lines[lines.index("  Examples:") + 1 :]
    assert examples
    for example in examples:
        assert "coffre" in shlex.split(example, comments=True) or "$(coffre" in example


def test_the_help_lists_the_commands_in_the_order_of_use(coffre: Coffre) -> None:
    lines = coffre("--help").out.splitlines()
    start = lines.index("Commands:") + 1

    names = [line.split()[0] for line in lines[start : start + 20]]
    assert names[:9] == ["demo", "backup", "list", "show", "ls", "cat", "diff", "restore", "export"]
    middle = ["verify", "report", "alerts", "rotate", "pin", "unpin", "delete", "keys", "catalog"]
    assert names[9:] == [*middle, "invoke", "local"]


def test_the_version_is_that_of_the_project(coffre: Coffre) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert coffre("--version").out == f"coffre {__version__}\n"
    assert __version__ == project["version"]


@pytest.mark.parametrize("arguments", [("nope",), ("--nope",), ("backup", "nope"), ("local", "nope")])
def test_an_unknown_command_is_wrong_usage(coffre: Coffre, arguments: tuple[str, ...]) -> None:
    said = coffre(*arguments)

    assert (said.status, said.out) == (2, "")
    assert "Usage: coffre" in said.err


# --- which stack ---


@pytest.mark.parametrize("arguments", [("list",), ("show", "latest"), ("backup", "database")])
def test_without_any_stack_both_ways_to_get_one_are_told(coffre: Coffre, arguments: tuple[str, ...]) -> None:
    said = coffre(*arguments)

    assert (said.status, said.out) == (1, "")
    assert said.err == (
        "Error: No stack was named, and no local stack is up. [STACK_UNKNOWN]\n"
        "What to do: Name the deployed stack (--stack coffre), or start a local one: coffre local up\n"
    )


@pytest.mark.parametrize(
    ("status", "what", "hint"),
    [
        ("up", "The local stack does not run any more.", "coffre local up (what it stored is lost)"),
        ("starting", "The local stack is still starting, or its start was interrupted.", "run it again"),
    ],
)
def test_a_local_stack_that_is_not_up_is_told_apart(
    coffre: Coffre,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    status: Literal["up", "starting"],
    what: str,
    hint: str,
) -> None:
    monkeypatch.setattr(deployed, "read_state", lambda: LocalState(status=status, stack="coffre", directory=tmp_path))

    said = coffre("list")

    assert (said.status, said.out) == (1, "")
    assert what in said.err
    assert hint in said.err


def test_the_option_wins_over_the_variable(coffre: Coffre, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def outputs(name: str) -> dict[str, str]:
        asked.append(name)
        return OUTPUTS

    monkeypatch.setattr(deployed, "_outputs", outputs)

    coffre("list")
    coffre("list", "--stack", "other")

    assert asked == ["safe", "other"]


def test_a_stack_that_is_not_coffres_is_told(coffre: Coffre, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployed, "_outputs", lambda name: {"Url": "https://shop.example"})

    said = coffre("list")

    assert said.status == 1
    assert "The stack safe has no output CatalogTable: it is not a Coffre stack, or of another version." in said.err


def test_a_stack_that_cannot_be_looked_up_is_told(coffre: Coffre, monkeypatch: pytest.MonkeyPatch) -> None:
    # Nothing listens on the discard port.
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")

    said = coffre("list", "--stack", "safe")

    assert (said.status, said.out) == (1, "")
    assert "The stack safe could not be looked up. [STACK_UNREACHABLE]" in said.err
    assert "AWS_REGION, AWS_PROFILE" in said.err


def test_an_error_of_aws_that_nobody_planned_for_is_no_traceback(
    coffre: Coffre, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str) -> object:
        raise ClientError({"Error": {"Code": "Throttling", "Message": "Rate exceeded"}}, "AnyCall")

    monkeypatch.setattr(boto3, "client", refuse)

    said = coffre("keys", "new")

    assert (said.status, said.out) == (1, "")
    assert "AWS did not do what was asked. [AWS_REFUSED]" in said.err
    assert "Rate exceeded" in said.err


def test_a_missing_configuration_document_is_told(coffre: Coffre, account: Account) -> None:
    boto3.client("ssm").delete_parameter(Name="configuration")

    said = coffre("backup", "database")

    assert (said.status, account.invoked) == (1, [])
    assert "[CONFIGURATION_MISSING]" in said.err


def test_a_missing_table_is_told(coffre: Coffre, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployed, "_outputs", lambda name: {**OUTPUTS, "CatalogTable": "gone"})

    said = coffre("list")

    assert (said.status, said.out) == (1, "")
    assert "[CATALOG_UNAVAILABLE]" in said.err
    assert "What to do: Is the stack deployed in this account and region" in said.err


# --- the local stack ---


def test_local_env_leads_a_shell_away_from_its_own_aws(coffre: Coffre, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        local_stack, "environment", lambda: {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "COFFRE_STACK": "it's"}
    )

    lines = coffre("local", "env").out.splitlines()

    assert lines[0].startswith("unset AWS_PROFILE ")
    assert lines[1:] == ["export AWS_ENDPOINT_URL=http://127.0.0.1:1", """export COFFRE_STACK='it'"'"'s'"""]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["shop"], "--database takes NAME=URL."),
        (["=postgresql://me:pa55@h/d"], "--database takes NAME=URL."),
        (["Shop=postgresql://me:pa55@h/d"], '"Shop" cannot be the name of a target.'),
        ([f"{'a' * 64}=postgresql://me:pa55@h/d"], "cannot be the name of a target."),
        (["shop=mysql://me:pa55@h/d"], "--database shop has no address of a database."),
        (["shop=postgresql://h/d"], "the URL has no user"),
        (["shop=postgresql://me:pa55@h:6543/d"], "is a transaction pooler"),
        (["shop=postgresql://me:pa55@h/d", "shop=postgresql://me:pa55@h/e"], "--database shop is given twice."),
    ],
)
def test_a_wrong_database_is_refused_before_anything_starts(coffre: Coffre, options: list[str], why: str) -> None:
    arguments = [part for option in options for part in ("--database", option)]

    said = coffre("local", "up", *arguments)

    assert (said.status, said.out) == (1, "")
    assert why in said.err
    assert "What to do: " in said.err
    assert "pa55" not in said.err


def test_databases_are_taken_by_name() -> None:
    url = "postgresql://me:a=b@h/d"

    assert _databases([f"shop={url}", f"blog-2={url}"]) == {"shop": url, "blog-2": url}


def test_empty_and_a_database_exclude_each_other(coffre: Coffre) -> None:
    said = coffre("local", "up", "--empty", "--database", "shop=postgresql://me@h/d")

    assert said.status == 1
    assert "exclude each other" in said.err
