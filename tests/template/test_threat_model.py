"""docs/format/threat-model.md is what the template says, and each of its cells has a test."""

from __future__ import annotations

import ast
import re

import pytest
from tests.template.privileges import Privileges
from tests.template.rendering import ROOT
from tests.template.threat_model import BEGIN, DOCUMENT, END, named_tests, references, section, updated


@pytest.fixture(scope="module")
def document() -> str:
    return DOCUMENT.read_text()


def rows(document: str) -> list[list[str]]:
    """Return the cells of the table of attackers, its head left out."""
    table = document[document.index("| an attacker has |") :].split("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_the_generated_part_is_what_the_template_says(document: str) -> None:
    assert updated(document, section(Privileges())) == document, "run: make threat-model"


@pytest.mark.parametrize("text", ["", BEGIN, f"{END} {BEGIN}", f"{BEGIN} {END} {END}", f"{BEGIN} {END} {BEGIN} {END}"])
def test_a_document_without_the_two_markers_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="one line"):
        updated(text, "made")


def test_only_what_is_between_the_markers_is_replaced() -> None:
    assert (
        updated(f"before\n{BEGIN}\nold\n{END}\nafter", f"{BEGIN}\nnew\n{END}") == f"before\n{BEGIN}\nnew\n{END}\nafter"
    )


def test_every_cell_of_the_table_names_a_test_or_is_true_by_definition(document: str) -> None:
    cells = [(row[0], cell) for row in rows(document) for cell in row[1:] if cell]

    assert len(rows(document)) >= 14
    assert all(len(row) == 4 for row in rows(document)), "each row has four cells"
    assert [found for found in cells if not references(found[1]) and "[D]" not in found[1]] == []


def test_every_test_that_is_named_exists(document: str) -> None:
    functions: dict[str, set[str]] = {}
    for place in named_tests(document).values():
        path, _, name = place.partition("::")
        if path not in functions:
            tree = ast.parse((ROOT / path).read_text())
            functions[path] = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert name in functions[path], place


def test_every_number_is_defined_once_and_used(document: str) -> None:
    table = document[: document.index(BEGIN)]
    defined = re.findall(r"^\[T(\d+)\]:", document, re.MULTILINE)

    assert defined == list(dict.fromkeys(defined)) == list(named_tests(document))
    assert set(references(table)) == set(defined)
