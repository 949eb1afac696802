"""A configuration document that a person has just written: refused with the line of each mistake.

It is read more strictly than a document that is in effect already: what a new version of Coffre would refuse there
stops no backup.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, get_args

from pydantic import BaseModel, ValidationError

from coffre.model.configuration import Configuration, validated
from coffre.model.configuration_version import LONGEST_DOCUMENT_BYTES
from coffre.model.copies import Destination
from coffre.model.document import located, parse_json, path_words
from coffre.model.errors import ConfigurationError
from coffre.model.words import counted

type _Path = tuple[str | int, ...]

_TOKEN: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\],]|[^\s{}\[\],:"]++', re.DOTALL)
_SHOWN: Final = 50
_UNKNOWN: Final = "unknown field"
_HINT: Final = "Nothing was written. docs/configuration.md lists every field with its allowed values and an example."


def read_new_document(content: str | bytes, *, where: str) -> Configuration:
    """Read a document that shall be in effect.

    Parameters
    ----------
    where
        Where it came from, for the message.

    Raises
    ------
    ConfigurationError
        `CONFIGURATION_INVALID`: it is empty, too large, no UTF-8, no JSON, names a field twice, or has wrong values.
        Each is named by its line and its path.
    """
    text = readable_text(content, where=where)
    try:
        data = parse_json(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}: {error.msg}"
        raise _invalid(f"The configuration document in {where} is not valid JSON.", place) from error
    places = _places(text)
    refused: list[tuple[_Path, str]] = []
    try:
        configuration = validated(data)
        refused = list(_copies_of_one_place(configuration.copies))
    except ValidationError as error:
        refused = located(error)
    count = len(places.odd) + len(refused)
    if count:
        wrong = [*places.odd, *((places.around(path), _explained(message, path)) for path, message in refused[:_SHOWN])]
        shown = [places.line(offset) + words for offset, words in wrong[:_SHOWN]]
        more = [f"and {count - _SHOWN:,} more"] if count > _SHOWN else []
        message = f"The configuration document in {where} has {counted(count, 'mistake')}."
        raise _invalid(message, "\n".join((*shown, *more)))
    return configuration


def _copies_of_one_place(copies: Sequence[Destination]) -> Iterator[tuple[_Path, str]]:
    """Yield where each copy is that has the place of one before it; a document in effect is not refused for that."""
    first: dict[str, str] = {}
    for number, copy in enumerate(copies):
        if first.setdefault(copy.place, copy.name) != copy.name:
            yield ("copies", number, "store"), f"is the place of the copy {first[copy.place]}: give each its own"


def readable_text(content: str | bytes, *, where: str) -> str:
    """Return a document as text; it may still be no JSON. Raises `ConfigurationError` as `read_new_document` does."""
    try:
        raw = content.encode() if isinstance(content, str) else content
        text = raw.decode()
    except UnicodeError as error:
        at = f"the byte at position {error.start:,}" if isinstance(error, UnicodeDecodeError) else "a character"
        raise _invalid(
            f"The configuration document in {where} is not text in UTF-8.", f"{at} is no part of it"
        ) from error
    if len(raw) > LONGEST_DOCUMENT_BYTES:
        raise _invalid(
            f"The configuration document in {where} has {len(raw):,} bytes; at most {LONGEST_DOCUMENT_BYTES:,} can be "
            "stored.",
            "Certificates can be in a secret: tls.ca takes secret:NAME.",
        )
    if not text.strip():
        raise _invalid(f"The configuration document in {where} is empty.", None)
    return text


def _invalid(message: str, detail: str | None) -> ConfigurationError:
    return ConfigurationError(message, detail=detail, hint=_HINT)


@dataclass
class _Level:
    """A container that is open: its own keys, or how many values it has had."""

    keys: set[str] | None
    current: str | int = 0
    awaits_key: bool = False


@dataclass
class _Places:
    """Where each value is; and what is odd: keys that are given twice, numbers that JSON does not have."""

    text: str
    offsets: dict[_Path, int] = field(default_factory=dict)
    odd: list[tuple[int | None, str]] = field(default_factory=list)

    def line(self, offset: int | None) -> str:
        """Return `line 12, `, counted from 1; nothing for what has no place."""
        return f"line {self.text.count('\n', 0, offset) + 1}, " if offset is not None else ""

    def around(self, path: _Path) -> int | None:
        """Return where a value is, or the nearest one around it; None for the whole document."""
        return next((self.offsets[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self.offsets), None)


def _places(text: str) -> _Places:
    """Return where the values of a valid JSON text are. Without recursion: a text may be nested as deep as it likes."""
    found, levels = _Places(text), list[_Level]()
    for token in _TOKEN.finditer(text):
        word, offset = token[0], token.start()
        top = levels[-1] if levels else None
        if word in "}]":
            levels.pop()
        elif word == "," and top:
            if top.keys is None and isinstance(top.current, int):
                top.current += 1
            top.awaits_key = top.keys is not None
        elif top and top.awaits_key and top.keys is not None:
            top.current, top.awaits_key = json.loads(word), False
            path = _path(levels)
            if top.current in top.keys:
                found.odd.append((offset, f"{path_words(path)}: given twice"))
            top.keys.add(str(top.current))
            found.offsets[path] = offset
        else:
            found.offsets.setdefault(_path(levels), offset)
            if word in ("NaN", "Infinity", "-Infinity"):
                found.odd.append((offset, f"{word} is no JSON"))
            if word in "{[":
                levels.append(_Level(set() if word == "{" else None, awaits_key=word == "{"))
    return found


def _path(levels: Sequence[_Level]) -> _Path:
    return tuple(level.current for level in levels)


def _explained(message: str, path: _Path) -> str:
    """Return what is wrong with a field; for an unknown one, which known field is spelled like it."""
    near = difflib.get_close_matches(str(path[-1]), sorted(_names(Configuration)), 1) if message == _UNKNOWN else []
    meant = f"; did you mean {near[0]}?" if near else ""
    return f"{path_words(path) or 'document'}: {message}{meant}"


def _names(model: type[BaseModel]) -> set[str]:
    """Return the names of all fields of a model and of the models below it."""
    found = set(model.model_fields)
    for known in model.model_fields.values():
        for inner in _models(known.annotation):
            found |= _names(inner)
    return found


def _models(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models(argument)]
