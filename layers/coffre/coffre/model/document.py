"""The bases of all models. Documents that people write are strict, with errors that name the wrong field."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

# How pydantic shows the member of an enumeration: `<TargetKind.DATABASE: 'database'>`.
_MEMBER: Final = re.compile(r"<\w+\.\w+: ('[^']*')>")
KIND_UNKNOWN: Final = "kind_unknown"
# What pydantic puts into the path of a target: its kind, which is no field.
_KINDS: Final = frozenset({"database", "bucket", "settings", "repository"})


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    Raises
    ------
    json.JSONDecodeError
        Also for what `json.loads` has other errors for: bytes that are no text, deep nesting, endless numbers.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except (ValueError, RecursionError) as error:
        why = "too deeply nested" if isinstance(error, RecursionError) else "a number or character out of range"
        raise json.JSONDecodeError(why, "", 0) from None


class FrozenModel(BaseModel):
    """What Coffre writes for itself. A later version's fields are ignored: an old restore has to read them."""

    model_config = ConfigDict(frozen=True, defer_build=True)


class Document(BaseModel):
    """What comes from outside. It may be wrong, and hold a secret in a wrong field, which no error may repeat."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True)


def describe_validation(error: ValidationError) -> list[str]:
    """Turn a pydantic error into lines like `targets[0].limits.streams: should be less than or equal to 16`.

    The offending value is not repeated: it may be a secret that was put into the wrong field.
    """
    return [f"{path_words(path) or 'document'}: {message}" for path, message in located(error)]


def located(error: ValidationError) -> list[tuple[tuple[int | str, ...], str]]:
    """Return where each wrong value of a document is, and what is wrong with it; as `describe_validation`, in parts."""
    found = []
    items = error.errors(include_url=False, include_input=False)
    for item in items:
        if item["type"] == "too_short" and any(
            other["loc"][: len(item["loc"])] == item["loc"] for other in items if other is not item
        ):
            continue  # too few are left only because others are wrong, which is said already
        path = _spoken(item["loc"])
        message = item["msg"].removeprefix("Value error, ").removeprefix("Input ")
        message = _MEMBER.sub(r"\1", message)
        if item["type"] == "extra_forbidden":
            message = "unknown field"
        if item["type"] == KIND_UNKNOWN:
            path = (*path, "kind")
        found.append((path, message))
    return found


def path_words(path: tuple[int | str, ...]) -> str:
    """Return a path as messages have it: `targets[0].limits.streams`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def _spoken(path: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Leave out what pydantic puts into the path of a target: its kind, which is no field."""
    is_target = len(path) > 2 and path[0] == "targets" and path[2] in _KINDS
    return (*path[:2], *path[3:]) if is_target else path
