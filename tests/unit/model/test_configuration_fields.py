"""Every field of the configuration explains itself, and docs/configuration.md and the JSON Schema say the same."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from enum import Enum
from functools import cache
from typing import Annotated, Any, Final, NamedTuple

import pytest
from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo
from tests.unit.model.configuration_schema import COMMAND, DOCUMENT, models, models_in, schema, text

from coffre.model.bucket_target import BucketTarget
from coffre.model.configuration import Configuration, parse_configuration
from coffre.model.database_target import DatabaseTarget
from coffre.model.repository_target import RepositoryTarget
from coffre.model.settings_target import SettingsTarget
from coffre.vault.codec import new_identity, public_key

GUIDE: Final = DOCUMENT.with_name("configuration.md")
FIELDS: Final = [(model, name) for model in models() for name in model.model_fields]
RULE: Final = 'write: NAME: TYPE = Field(default=..., description="...", examples=[...])'
NUMBERS: Final = {"integer", "number"}


@pytest.mark.parametrize(
    ("model", "name"), FIELDS, ids=lambda value: value if isinstance(value, str) else value.__name__
)
def test_every_field_has_a_description_an_example_that_is_valid_and_a_unit(model: type[BaseModel], name: str) -> None:
    field = model.model_fields[name]
    where = f"{model.__module__}.{model.__name__}.{name}"

    assert field.description, f"{where} has no description: {RULE}"
    assert field.description.endswith("."), f"{where}: its description is a sentence, and ends with a period"
    assert field.examples, f"{where} has no example: {RULE}"
    kind: Any = Annotated[field.annotation, "of an example", *field.metadata]
    adapter = TypeAdapter(kind)
    for example in field.examples:
        adapter.validate_python(example)
    if is_number(model, name):
        assert '"unit"' in json.dumps(property_of(model, name)), (
            f'{where} is a number without a unit: add json_schema_extra={{"unit": "seconds"}} to its Field'
        )


def property_of(model: type[BaseModel], name: str) -> dict[str, Any]:
    found: dict[str, Any] = properties_of(model)[name]
    return found


@cache
def properties_of(model: type[BaseModel]) -> dict[str, Any]:
    properties: dict[str, Any] = model.model_json_schema()["properties"]
    return properties


def is_number(model: type[BaseModel], name: str) -> bool:
    """Return whether a field is a number that measures or counts; one of a few fixed numbers is a choice."""
    said = property_of(model, name)
    parts = said.get("anyOf", [said])
    kinds = {part.get("type") for part in parts if "enum" not in part and "const" not in part}
    return bool(kinds & NUMBERS) and kinds <= {*NUMBERS, "null"}


def test_the_published_schema_is_that_of_the_models() -> None:
    assert DOCUMENT.read_text() == text(), f"docs/{DOCUMENT.name} is not of these models. Write it: {COMMAND}"


def test_the_schema_knows_its_own_link_and_no_unknown_field() -> None:
    made = schema()

    assert made["additionalProperties"] is False
    assert {"$schema", *Configuration.model_fields} == set(made["properties"])
    assert "databases" not in made["properties"]["targets"]
    assert made["$defs"]["Retention"]["properties"]["daily_days"]["default"] == 7


def test_the_document_of_the_guide_is_valid() -> None:
    [example] = [
        block for block in re.findall(r"```json\n(.*?)```", GUIDE.read_text(), re.DOTALL) if "version" in block
    ]
    configuration = parse_configuration(example.replace("age1...", public_key(new_identity())), where=GUIDE.name)

    assert len(configuration.targets) == 2


# --- docs/configuration.md: every field once, with its default ---


class Row(NamedTuple):
    section: str
    path: str
    default: str


SHARED: Final = ("Every target", "Retention", "Freshness", "Objectives", "Alerts", "Schedule")
DATABASE: Final = ("A database",)
BUCKETS: Final = ("Buckets",)
SETTINGS: Final = ("Settings",)
REPOSITORIES: Final = ("Repositories",)


def rows() -> Iterator[Row]:
    """Yield the fields of the guide's tables; those in one row have their defaults in order, or one for all."""
    section, prefix = "", None
    for line in GUIDE.read_text().splitlines():
        if line.startswith("#"):
            section, prefix = line.lstrip("# "), None
        elif line.startswith("| field"):
            below = re.match(r"\| field below `(\w+)`", line)
            prefix = f"{below[1]}." if below else ""
        elif prefix is not None and line.startswith("| `"):
            first, _, default, _ = re.split(r"(?<!\\) \| ", line.strip("| "))
            names = re.findall(r"`([^`]+)`", first)
            defaults = default.split(", ") if len(names) > 1 else [default]
            for index, name in enumerate(names):
                yield Row(section, prefix + name, defaults[min(index, len(defaults) - 1)])


def leaves(model: type[BaseModel], wholes: Collection[str], path: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield the fields that hold values, by their paths as the guide has them: `drill.checks[].name`.

    A section that is null by default may have one row (then it is among `wholes`) in place of one for each field.
    """
    for name, field in model.model_fields.items():
        inner = models_in(field.annotation)
        is_list = "tuple" in str(field.annotation)
        is_whole = path + name in wholes and field.default is None
        if not inner or is_list or is_whole:
            yield path + name, field
        if inner and not is_whole and path + name != "targets":
            for one in reversed(inner):  # Of the kinds of a union that share a field, the first one's default counts.
                yield from leaves(one, wholes, f"{path}{name}{'[]' if is_list else ''}.")


def written(field: FieldInfo) -> str:
    """Return how the guide's column of defaults begins."""
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    if default is None:
        return "`null`"
    if default in ((), ""):
        return "empty"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, Enum | str):
        return f"`{default.value if isinstance(default, Enum) else default}`"
    if isinstance(default, bool):
        return f"`{json.dumps(default)}`"
    return f"{default:,}" if isinstance(default, int) else f"{default:g}"


DOCUMENTED: Final[dict[str, tuple[tuple[str, ...], type[BaseModel]]]] = {
    "the whole document": (("The whole document", "Restore points", "Copies", "The console"), Configuration),
    "a database": ((*SHARED, *DATABASE), DatabaseTarget),
    "buckets": ((*SHARED, *BUCKETS), BucketTarget),
    "settings": ((*SHARED, *SETTINGS), SettingsTarget),
    "repositories": ((*SHARED, *REPOSITORIES), RepositoryTarget),
}


@pytest.mark.parametrize("what", DOCUMENTED)
def test_the_guide_has_every_field_with_its_default(what: str) -> None:
    sections, model = DOCUMENTED[what]
    documented = {row.path: row for row in rows() if row.section in sections}
    known = dict(leaves(model, documented))

    missing = [
        f"{path}: add a row to docs/configuration.md ({', '.join(sections)}); its default begins with {written(field)}"
        for path, field in known.items()
        if path not in documented
    ]
    assert not missing, "\n".join(missing)
    unknown = sorted(documented.keys() - known.keys())
    assert not unknown, f"docs/configuration.md has rows for {unknown}, which {model.__name__} does not have"
    wrong = [
        f"{path}: docs/configuration.md has the default {documented[path].default}; it begins with {written(field)}"
        for path, field in known.items()
        if not documented[path].default.startswith(written(field)) and path != "kind"
    ]
    assert not wrong, "\n".join(wrong)


def test_every_table_of_fields_is_in_a_section_that_is_compared() -> None:
    compared = {section for sections, _ in DOCUMENTED.values() for section in sections}

    assert {row.section for row in rows()} <= compared, "add the section to SHARED, DATABASE or BUCKETS of this test"
    groups = (SHARED, DATABASE, BUCKETS, SETTINGS)
    paths = [(row.path, *(row.section in group for group in groups)) for row in rows()]
    assert len(paths) == len(set(paths)), "a field has two rows"
    assert len(paths) > 60, "the tables are read"
