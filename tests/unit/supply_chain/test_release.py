"""What the installed command depends on: the ranges that the layer and the checkout's environment are tested with."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# By another name, or with another one.
IMPORTED_AS = {"botocore": "boto3", "psycopg2": "psycopg2-binary", "ulid": "python-ulid", "yaml": "pyyaml"}
IMPORTED_AS |= {"backports": "backports.zstd", "aws_lambda_powertools": "aws-lambda-powertools"}


def wanted(text: str) -> dict[str, str]:
    found = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[a-z0-9,]+\])?([<>=][^;\s]*)", text, re.MULTILINE)
    return dict(found)


def test_the_ranges_are_those_that_are_tested() -> None:
    tested = wanted((ROOT / "layers/coffre/requirements.in").read_text())
    tested |= wanted((ROOT / "requirements/dev.in").read_text())
    own = wanted("\n".join(PROJECT["dependencies"]))

    assert {name: tested.get(name) for name in own} == own


def statements_of(node: ast.AST) -> Iterator[ast.AST]:
    """Yield every statement below a node; the expressions, which are ten times as many, have no imports in them."""
    for name in ("body", "orelse", "finalbody", "handlers", "cases"):
        below = getattr(node, name, [])
        for one in below if isinstance(below, list) else []:
            yield one
            yield from statements_of(one)


def imports_of(place: Path) -> set[str]:
    """Return the names of distributions that files below a place import, whatever they are needed for."""
    found: set[str] = set()
    for file in place.rglob("*.py"):
        for node in statements_of(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(str(node.module).partition(".")[0])
    foreign = {name for name in found if not name.startswith(("coffre", "mypy_boto3"))} - sys.stdlib_module_names
    return {IMPORTED_AS.get(name, name) for name in foreign}


@pytest.mark.parametrize("place", ["cli/coffre_cli", "layers/coffre/coffre"])
def test_everything_that_the_command_imports_is_installed_with_it(place: str) -> None:
    of_notify_alone = {"apprise"}  # in a layer of its own; --here never runs it
    assert imports_of(ROOT / place) - of_notify_alone <= set(wanted("\n".join(PROJECT["dependencies"])))
