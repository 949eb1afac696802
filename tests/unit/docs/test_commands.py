"""Every command in the documentation is one that can be typed: options, targets of make, calls of AWS, files."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import botocore.session
import pytest
from botocore import xform_name
from tests.unit.docs.command_line import why_refused, why_unknown
from tests.unit.docs.pages import ROOT, Line, lines_of, mentioned_in, pages

# Programs whose arguments are theirs; the files of this repository among them have to exist.
OTHERS: Final = frozenset(
    [
        ".venv/bin/pytest",
        ".venv/bin/python",
        "age",
        "age-keygen",
        "apt-get",
        "cat",
        "cd",
        "cp",
        "curl",
        "docker",
        "echo",
        "eval",
        "export",
        "git",
        "grype",
        "head",
        "jq",
        "ln",
        "ls",
        "pg_dump",
        "pg_restore",
        "pip",
        "pipx",
        "podman",
        "psql",
        "python",
        "python3",
        "rclone",
        "restic",
        "ruff",
        "select",
        "sha256sum",
        "shasum",
        "sops",
        "ssh",
        "tar",
        "test",
        "unzip",
        "uv",
        "wc",
        "zstd",
    ]
)
_AWS_GLOBAL: Final = frozenset({"--output", "--query", "--region", "--profile", "--endpoint-url", "--no-cli-pager"})
_S3: Final = {"sync", "cp", "ls", "mb", "rb", "rm", "mv"}
_NEEDS_A_RULE: Final = (
    "is not a program that the documentation's test knows. Add a check for it to _CHECKS in {file}, or, if its "
    "arguments are no business of Coffre, its name to OTHERS."
)


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_can_be_typed(page: Path) -> None:
    problems = [
        f"{line.where}: {' '.join(command)}: {why}"
        for line in lines_of(page)
        for command in line.commands
        if (why := why_wrong(command)) is not None
    ]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_in_prose_exists(page: Path) -> None:
    problems = [
        f"{line.where}: {line.text}: {why}"
        for line in mentioned_in(page)
        if (why := why_unknown(line.text)) is not None
    ]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("coffre restore latest --to env:X", "say first what is restored"),
        ("coffre restore tables latest orders --bucket x", "No such option"),
        ("coffre list --nosuch", "No such option"),
        ("coffre backup", "a command is missing"),
        ("make nosuch", "no target nosuch"),
        ("aws s3api put-objects --bucket x", "no such call"),
        ("aws s3api put-object --buckets x", "no option --buckets"),
        ("sam deploy --parameter-overrides NoSuch=on", "no parameter NoSuch"),
        ("psql -f docs/roles/nosuch.sql x", "no file docs/roles/nosuch.sql"),
        ("python -m benchmarks.nosuch", "no module benchmarks.nosuch"),
        ("frobnicate x", "is not a program"),
        ("X=1 coffre list && coffre shwo ID", "No such command"),
        ('eval "$(coffre local nosuch)"', "No such command"),
    ],
)
def test_what_cannot_be_typed_is_found(text: str, why: str) -> None:
    found = [why_wrong(command) for command in Line("here", text).commands]

    assert any(why in (one or "") for one in found), found


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("coffre lst", "no command lst"),
        ("coffre keys new|lst", "no command new|lst"),
        ("coffre restore tables ID TABLE [--into X]", "no option --into"),
        ("coffre --valt DIR list", "no option --valt"),
    ],
)
def test_what_does_not_exist_in_prose_is_found(text: str, why: str) -> None:
    assert why_unknown(text) == why


def why_wrong(command: Sequence[str]) -> str | None:
    """Return what is wrong with a command; None: nothing that can be seen without running it."""
    program, *arguments = command
    if program in _CHECKS:
        return _CHECKS[program](arguments)
    if program in OTHERS:
        return _missing_file(arguments)
    return f"{program} {_NEEDS_A_RULE.format(file=Path(__file__).relative_to(ROOT))}"


def _make(arguments: Sequence[str]) -> str | None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    wrong = [word for word in arguments if "=" not in word and not word.startswith("-") and word not in targets]
    return f"no target {wrong[0]}" if wrong else None


def _sam(arguments: Sequence[str]) -> str | None:
    if "--parameter-overrides" not in arguments:
        return None
    template = (ROOT / "template.yaml").read_text()
    given = [word for word in arguments[arguments.index("--parameter-overrides") + 1 :] if "=" in word]
    wrong = [word for word in given if f"\n  {word.partition('=')[0]}:\n" not in template]
    return f"no parameter {wrong[0].partition('=')[0]}" if wrong else None


def _aws(arguments: Sequence[str]) -> str | None:
    service, call, *options = arguments
    if service == "s3":
        return None if call in _S3 else "no such call"
    if service == "configure" or call in ("wait", "help"):
        return None
    session = botocore.session.get_session()
    model = session.get_service_model({"s3api": "s3"}.get(service, service))
    found = [name for name in model.operation_names if xform_name(name, "-") == call]
    if not found:
        return "no such call"
    shape = model.operation_model(found[0]).input_shape
    members = {f"--{xform_name(name, '-')}" for name in (shape.members if shape else {})} | _AWS_GLOBAL
    wrong = [
        option
        for option in options
        if option.startswith("--") and option not in members and f"--{option.removeprefix('--no-')}" not in members
    ]
    return f"no option {wrong[0]}" if wrong else None


def _python(arguments: Sequence[str]) -> str | None:
    if "-m" not in arguments[:-1]:
        return _missing_file(arguments)
    module = arguments[arguments.index("-m") + 1]
    path = ROOT / module.replace(".", "/")
    is_ours = module.split(".")[0] in {"benchmarks", "tests", "supply_chain"}
    exists = path.is_dir() or path.with_suffix(".py").is_file() or "NAME" in module
    return f"no module {module}" if is_ours and not exists else None


def _missing_file(arguments: Sequence[str]) -> str | None:
    ours = [word for word in arguments if word.startswith(("docs/", "tests/", "layers/", "events/", "benchmarks/"))]
    missing = [word for word in ours if not (ROOT / word).exists()]
    return f"no file {missing[0]}" if missing else None


_CHECKS: Final[dict[str, Callable[[Sequence[str]], str | None]]] = {
    "coffre": why_refused,
    "make": _make,
    "sam": _sam,
    "aws": _aws,
    "python": _python,
    "python3": _python,
    ".venv/bin/python": _python,
}
