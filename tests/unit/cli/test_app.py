"""The command as a whole: its help, its version, which stack it works on, and errors that nobody planned for."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Literal

import boto3
import pytest
from botocore.exceptions import ClientError
from tests.unit.cli.conftest import OUTPUTS, Account, Coffre

from coffre import __version__
from coffre_cli import app, aws, stack_choice
from coffre_cli.commands.stack.local import _databases
from coffre_local import stack as local_stack
from coffre_local.aws import LocalAws
from coffre_local.processes import ProcessMark
from coffre_local.state import LocalState

ROOT = Path(__file__).parents[3]
COMMANDS = [
    (),
    ("audit",),
    ("audit", "accesses"),
    ("backup",),
    ("backup", "database"),
    ("backup", "buckets"),
    ("cat",),
    ("catalog",),
    ("catalog", "rebuild"),
    ("completion",),
    ("delete",),
    ("demo",),
    ("deploy",),
    ("diff",),
    ("export",),
    ("init",),
    ("invoke",),
    ("keys",),
    ("keys", "check"),
    ("keys", "list"),
    ("keys", "new"),
    ("keys", "recovery-kit"),
    ("keys", "rotate"),
    ("list",),
    ("local",),
    ("local", "down"),
    ("local", "env"),
    ("local", "up"),
    ("ls",),
    ("pin",),
    ("report",),
    ("restore",),
    ("restore", "database"),
    ("restore", "tables"),
    ("restore", "rows"),
    ("restore", "objects"),
    ("alerts",),
    ("alerts", "list"),
    ("journal",),
    ("journal", "list"),
    ("journal", "log"),
    ("journal", "find-drop"),
    ("journal", "drain"),
    ("journal", "off"),
    ("alerts", "test"),
    ("rotate",),
    ("show",),
    ("unpin",),
    ("hold",),
    ("release",),
    ("verify",),
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
    assert "..." not in said.out.partition("Commands:")[2].partition("Examples:")[0], "a summary is cut"
    examples = lines[lines.index("  Examples:") + 1 :]
    assert examples
    for example in examples:
        assert "coffre" in shlex.split(example, comments=True) or "$(coffre" in example


def test_the_help_lists_the_commands_in_the_order_of_use(coffre: Coffre) -> None:
    lines = coffre("--help").out.splitlines()
    start = lines.index("Commands:") + 1

    names = [line.split()[0] for line in lines[start : lines.index("", start)]]
    assert names == list(app._COMMANDS)
    everyday = ["backup", "status", "list", "show", "restore", "verify", "rotate", "keys", "invoke"]
    assert [name for name in names if name in everyday] == everyday


def test_the_version_is_that_of_the_project(coffre: Coffre) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert coffre("--version").out == f"coffre {__version__}\n"
    assert __version__ == project["version"]


@pytest.mark.parametrize("arguments", [("nope",), ("--nope",), ("backup", "nope"), ("local", "nope")])
def test_an_unknown_command_is_wrong_usage(coffre: Coffre, arguments: tuple[str, ...]) -> None:
    said = coffre(*arguments)

    assert (said.status, said.out) == (2, "")
    assert "Usage: coffre" in said.err


HEAVY = {
    *(
        "apprise",
        "boto3",
        "botocore",
        "cryptography",
        "jinja2",
        "psutil",
        "psycopg2",
        "pynamodb",
        "pyrage",
        "rich.progress",
    ),
    *(
        "ulid",
        "urllib3",
        "coffre.model.backup",
        "coffre.catalog",
        "coffre.operations",
        "coffre.vault",
        "coffre.buckets",
        "coffre.stores",
        "coffre_cli.commands.restore.without_stack",
        "coffre_cli.commands.verify.without_stack",
        "coffre_local",
        "coffre_cli.read_only_vault",
    ),
}
EVERY_HELP = """
import json, sys
from coffre_cli import app

def shown(*words):
    sys.argv = ["coffre", *words]
    try:
        app.main()
    except SystemExit as ended:
        assert ended.code == 0, words

heavy = set(json.loads(sys.argv[1]))
commands = json.loads(sys.argv[2])
found = {}
for words in commands:
    shown(*words)
    found[" ".join(words)] = sorted(heavy & set(sys.modules))
print(json.dumps(found), file=sys.stderr)
"""


def test_no_help_waits_for_what_only_the_work_needs() -> None:
    """Each command's help and the version in one process: what one of them imported would show in all later ones."""
    commands = [["--version"], *([*command, "--help"] for command in COMMANDS)]
    ran = subprocess.run(
        [sys.executable, "-c", EVERY_HELP, json.dumps(sorted(HEAVY)), json.dumps(commands)],
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'cli'}:{ROOT / 'layers/coffre'}"},
        capture_output=True,
        text=True,
        check=True,
    )

    found = json.loads(ran.stderr)
    assert len(found) == len(COMMANDS) + 1
    assert {command: heavy for command, heavy in found.items() if heavy} == {}


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
        ("up", "The local stack is no longer running.", "coffre local up (what it stored is lost)"),
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
    monkeypatch.setattr(
        stack_choice, "read_state", lambda: LocalState(status=status, stack="coffre", directory=tmp_path)
    )

    said = coffre("list")

    assert (said.status, said.out) == (1, "")
    assert what in said.err
    assert hint in said.err


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("list",), "Stack safe in eu-west-1 (named by COFFRE_STACK)."),
        (("list", "--json"), "Stack safe in eu-west-1 (named by COFFRE_STACK)."),
        (("list", "--stack", "other"), "Stack other in eu-west-1 (named by --stack)."),
        (("show", "latest"), "Stack safe in eu-west-1 (named by COFFRE_STACK)."),
        (("report", "latest"), "Stack safe in eu-west-1 (named by COFFRE_STACK)."),
        (("alerts", "list"), "Stack safe in eu-west-1 (named by COFFRE_STACK)."),
    ],
)
def test_the_stack_and_region_that_answer_are_said_on_stderr(
    coffre: Coffre, account: Account, arguments: tuple[str, ...], line: str
) -> None:
    said = coffre(*arguments)

    assert said.stack == line
    assert "eu-west-1" not in said.out


def test_the_region_of_aws_region_is_asked(coffre: Coffre, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-central-1")

    assert coffre("list").stack == "Stack safe in eu-central-1 (named by COFFRE_STACK)."
    assert boto3.client("cloudformation").meta.region_name == "eu-central-1"


def test_aws_region_alone_is_enough(coffre: Coffre, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    account.backup()
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.delenv("AWS_DEFAULT_REGION")

    assert coffre("show", "latest").status == 0
    assert coffre("keys", "new").status == 0


class Alive(LocalState):
    """A local stack that is up."""

    def is_alive(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("variable", "line"),
    [
        ("", "The local stack coffre in eu-north-1 at http://127.0.0.1:1."),
        ("coffre", "The local stack coffre in eu-north-1 at http://127.0.0.1:1."),
        (
            "safe",
            (
                "The local stack coffre in eu-north-1 at http://127.0.0.1:1 is up and takes precedence over "
                "COFFRE_STACK; for the other stack: --stack safe."
            ),
        ),
    ],
)
def test_a_local_stack_that_goes_before_the_variable_says_so(
    coffre: Coffre, account: Account, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, line: str
) -> None:
    aws = LocalAws(1, ProcessMark(1, 1.0), tmp_path, region="eu-north-1")
    monkeypatch.setattr(stack_choice, "read_state", lambda: Alive("up", "coffre", tmp_path, aws, outputs={}))
    monkeypatch.setenv("COFFRE_STACK", variable)
    before = dict(os.environ)

    said = coffre("list")
    os.environ.clear()
    os.environ.update(before)

    assert said.stack == line


@pytest.mark.parametrize(("status", "what"), [("up", "is no longer running"), ("starting", "is starting")])
def test_a_forgotten_local_stack_is_named_beside_the_one_that_answers(
    coffre: Coffre,
    account: Account,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    status: Literal["up", "starting"],
    what: str,
) -> None:
    monkeypatch.setattr(stack_choice, "read_state", lambda: LocalState(status, "coffre", tmp_path))

    line = coffre("list").stack

    assert line.startswith("Stack safe in eu-west-1 (named by COFFRE_STACK; ")
    assert line.endswith(f"local stack {what}).")


def test_the_option_wins_over_the_variable(coffre: Coffre, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def outputs(name: str) -> dict[str, str]:
        asked.append(name)
        return OUTPUTS

    monkeypatch.setattr(stack_choice, "_outputs", outputs)

    coffre("list")
    coffre("list", "--stack", "other")

    assert asked == ["safe", "other"]


def test_a_stack_that_is_not_coffres_is_told(coffre: Coffre, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack_choice, "_outputs", lambda name: {"Url": "https://shop.example"})

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
    assert "The command asked eu-west-1 at http://127.0.0.1:9." in said.err


def test_an_error_of_aws_that_nobody_planned_for_is_no_traceback(
    coffre: Coffre, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str) -> object:
        raise ClientError({"Error": {"Code": "Throttling", "Message": "Rate exceeded"}}, "AnyCall")

    monkeypatch.setattr(aws, "client", refuse)

    said = coffre("keys", "new")

    assert (said.status, said.out) == (1, "")
    assert "AWS refused the request. [AWS_REFUSED]" in said.err
    assert "Rate exceeded" in said.err


def test_a_missing_configuration_document_is_told(coffre: Coffre, account: Account) -> None:
    boto3.client("ssm").delete_parameter(Name="configuration")

    said = coffre("backup", "database")

    assert (said.status, account.invoked) == (1, [])
    assert "[CONFIGURATION_MISSING]" in said.err


def test_a_missing_table_is_told(coffre: Coffre, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack_choice, "_outputs", lambda name: {**OUTPUTS, "CatalogTable": "gone"})

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
        (["shop=mysql://me:pa55@h/d"], "--database shop is not a database URL."),
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
