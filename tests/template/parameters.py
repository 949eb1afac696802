"""docs/parameters.md: the parameters of the template. `python -m tests.template.parameters` writes its tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from tests.template.rendering import read_template

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "parameters.md"
COMMAND: Final = "PYTHONPATH=layers/coffre:cli:. python -m tests.template.parameters"
BEGIN: Final = "<!-- The tables below are made from template.yaml. -->\n"


def tables(template: Mapping[str, Any] | None = None) -> str:
    """Return the tables, one for each group, in the order in which the console of CloudFormation shows them."""
    read = template or read_template()
    parameters = read["Parameters"]
    groups = read["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    return "\n".join(part for group in groups for part in _table(group, parameters))


def updated(document: str) -> str:
    """Return the document with the tables of now."""
    head, found, _ = document.partition(BEGIN)
    assert found, f"{DOCUMENT.name} has lost the line {BEGIN}"
    return f"{head}{BEGIN}\n{tables()}"


def _table(group: Mapping[str, Any], parameters: Mapping[str, Any]) -> Iterator[str]:
    yield f"## {group['Label']['default']}\n"
    yield "| parameter | allowed | default | what it does |"
    yield "|---|---|---|---|"
    for name in group["Parameters"]:
        said = parameters[name]
        cells = (f"`{name}`", allowed(said), default(said), str(said["Description"]))
        yield f"| {' | '.join(cell.replace('|', '\\|') for cell in cells)} |"
    yield ""


def default(parameter: Mapping[str, Any]) -> str:
    """Return a default in words."""
    if "Default" not in parameter:
        return "required"
    return f"`{parameter['Default']}`" if str(parameter["Default"]) else "empty"


def allowed(parameter: Mapping[str, Any]) -> str:
    """Return which values a parameter takes."""
    kind = {"Number": "number", "CommaDelimitedList": "list, between commas"}.get(parameter["Type"], "text")
    if "AllowedValues" in parameter:
        return ", ".join(f"`{value}`" if str(value) else "empty" for value in parameter["AllowedValues"])
    if "MinValue" in parameter:
        return f"{parameter['MinValue']:,} to {parameter['MaxValue']:,}"
    if "AllowedPattern" in parameter:
        return f"{kind} like `{parameter['AllowedPattern']}`"
    return kind


if __name__ == "__main__":
    DOCUMENT.write_text(updated(DOCUMENT.read_text()))
