"""The parameters of the template are documented with their names, defaults and allowed values."""

from __future__ import annotations

import re
from typing import Any

from tests.template.parameters import COMMAND, DOCUMENT, allowed, default, tables, updated
from tests.template.rendering import read_template


def rows() -> dict[str, tuple[str, str]]:
    """Return what the document says of each parameter: the allowed values and the default."""
    found = [re.split(r"(?<!\\) \| ", line.strip("| "), maxsplit=3) for line in DOCUMENT.read_text().splitlines()]
    return {
        row[0].strip("`"): (row[1].replace("\\|", "|"), row[2].replace("\\|", "|"))
        for row in found
        if len(row) == 4 and row[0].startswith("`")
    }


def test_the_document_has_each_parameter_with_its_default_and_what_is_allowed() -> None:
    template: dict[str, Any] = read_template()["Parameters"]

    assert rows() == {name: (allowed(said), default(said)) for name, said in template.items()}, (
        f"docs/{DOCUMENT.name} is not of this template: write it with {COMMAND}"
    )


def test_the_document_is_the_one_that_the_template_makes() -> None:
    text = DOCUMENT.read_text()

    assert text == updated(text), f"docs/{DOCUMENT.name} is not of this template: write it with {COMMAND}"


def test_each_parameter_is_in_one_group_and_describes_itself_in_a_sentence() -> None:
    template = read_template()
    groups = template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    named = [name for group in groups for name in group["Parameters"]]

    assert sorted(named) == sorted(template["Parameters"]), (
        "add the parameter to a group of AWS::CloudFormation::Interface"
    )
    for name, said in template["Parameters"].items():
        assert str(said.get("Description", "")).endswith("."), f"{name}: its Description is a sentence with a period"


def test_every_kind_of_parameter_is_put_into_words() -> None:
    def of(**said: Any) -> tuple[str, str]:
        return allowed({"Type": "String", **said}), default(said)

    assert of(Default="") == ("text", "empty")
    assert of() == ("text", "required")
    assert of(Type="Number", MinValue=1, MaxValue=3650, Default=7) == ("1 to 3,650", "`7`")
    assert of(AllowedValues=["", "on"], Default="on") == ("empty, `on`", "`on`")
    assert of(AllowedPattern="^a|b$") == ("text like `^a|b$`", "required")
    assert of(Type="CommaDelimitedList")[0] == "list, between commas"
    group = {"Label": {"default": "All"}, "Parameters": ["A"]}
    made = tables(
        {
            "Parameters": {"A": {"Type": "String", "AllowedPattern": "^a|b$", "Description": "It is a."}},
            "Metadata": {"AWS::CloudFormation::Interface": {"ParameterGroups": [group]}},
        }
    )
    assert "| `A` | text like `^a\\|b$` | required | It is a. |" in made
