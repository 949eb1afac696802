"""Names as text: PostgreSQL identifiers in statements, and whatever name before a person."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Final

# A table by schema and name.
TableName = tuple[str, str]

UNFINISHED_RESTORE: Final = "coffre_unfinished_restore"
"""The schema in which a restore keeps what it knows until it ends. It is no data: no backup has it."""

_PLAIN: Final = re.compile(r"[a-z_][a-z0-9_]*")
# Letters and marks that are printable and not to be seen (Unicode's Default_Ignorable_Code_Point, 2025); the others of
# that kind are of the categories Cf and Cn, which `str.isprintable` knows.
_INVISIBLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def quoted(name: str) -> str:
    """Return an identifier in double quotes, always: safe in any statement, reserved words included."""
    return '"' + name.replace('"', '""') + '"'


def qualified(schema: str, name: str) -> str:
    """Return `"schema"."name"` for a statement."""
    return f"{quoted(schema)}.{quoted(name)}"


def shown(schema: str, name: str) -> str:
    """Return `schema.name` for a person and for entry names: quoted only where it would be ambiguous otherwise."""
    return ".".join(part if _PLAIN.fullmatch(part) else quoted(part) for part in (schema, name))


def visible(text: str, *, breaks: bool = False) -> str:
    r"""Return a text as it may be shown to a person: invisible characters are written out, as `\n` or `\u202e`.

    Names of databases, tables and objects may hold anything. Control characters steer a terminal, a line break forges
    a line, marks of direction turn what is read around, and invisible characters make two names look the same.

    Parameters
    ----------
    breaks
        Keep line breaks and tabs: the text is known to have lines of its own.
    """
    if text.isprintable() and _INVISIBLE.search(text) is None:
        return text
    return "".join(letter if _is_seen(letter, breaks=breaks) else _written_out(letter) for letter in text)


def visible_json(text: str) -> str:
    """Return JSON in which the same characters are escapes: it shows on a terminal, and means what it meant."""
    if text.isprintable() and _INVISIBLE.search(text) is None:
        return text
    return "".join(letter if _is_seen(letter, breaks=True) else json.dumps(letter)[1:-1] for letter in text)


def _is_seen(letter: str, *, breaks: bool) -> bool:
    if letter in "\n\t":
        return breaks
    return (letter.isprintable() or unicodedata.category(letter) == "Zs") and _INVISIBLE.fullmatch(letter) is None


def _written_out(letter: str) -> str:
    return letter.encode("unicode_escape").decode()
