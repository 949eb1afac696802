"""docs/configuration.schema.json, made from the models: `python -m tests.unit.model.configuration_schema` writes it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import BaseModel

from coffre.model.configuration import Configuration

DOCUMENT: Final = Path(__file__).parents[3] / "docs" / "configuration.schema.json"
COMMAND: Final = "PYTHONPATH=layers/coffre:cli:. python -m tests.unit.model.configuration_schema"


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a configuration document."""
    made = _without_titles(Configuration.model_json_schema())
    link = {"type": "string", "description": "Where this schema is, for editors.", "examples": [DOCUMENT.name]}
    properties = {"$schema": link, **made.pop("properties")}
    draft = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": draft, "title": "Coffre's configuration document", **made, "properties": properties}


def text() -> str:
    """Return the file."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def models(root: type[BaseModel] = Configuration) -> Iterator[type[BaseModel]]:
    """Yield a model and all that are in it, each once."""
    found: dict[type[BaseModel], None] = {}
    waiting = [root]
    while waiting:
        model = waiting.pop()
        if model not in found:
            found[model] = None
            waiting += [inner for field in model.model_fields.values() for inner in models_in(field.annotation)]
    yield from found


def models_in(annotation: object) -> list[type[BaseModel]]:
    """Return the models that the type of a field names."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in models_in(argument)]


def _without_titles(value: Any) -> Any:
    """Leave out the titles that pydantic makes of names: a property may be called so, and is an object then."""
    if isinstance(value, dict):
        return {
            name: _without_titles(inner)
            for name, inner in value.items()
            if name != "title" or not isinstance(inner, str)
        }
    return [_without_titles(one) for one in value] if isinstance(value, list) else value


if __name__ == "__main__":
    DOCUMENT.write_text(text())
