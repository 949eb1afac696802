"""PostgreSQL identifiers as text."""

from __future__ import annotations

import re
from typing import Final

_PLAIN: Final = re.compile(r"[a-z_][a-z0-9_]*")


def quoted(name: str) -> str:
    """Return an identifier in double quotes, always: safe in any statement, reserved words included."""
    return '"' + name.replace('"', '""') + '"'


def qualified(schema: str, name: str) -> str:
    """Return `"schema"."name"` for a statement."""
    return f"{quoted(schema)}.{quoted(name)}"


def shown(schema: str, name: str) -> str:
    """Return `schema.name` for a person and for entry names: quoted only where it would be ambiguous otherwise."""
    return ".".join(part if _PLAIN.fullmatch(part) else quoted(part) for part in (schema, name))
