"""Roles as `pg_dumpall` writes them, without those that a platform owns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from coffre.policy.profiles import is_reserved

_NAME: Final = r'("(?:[^"]|"")+"|[^\s;"]+)'
_ROLE_STATEMENT: Final = re.compile(rf"^(?:CREATE|ALTER) ROLE {_NAME}[ ;]")
_COMMENT_STATEMENT: Final = re.compile(rf"^COMMENT ON ROLE {_NAME} ")
# One statement up to its semicolon; names and texts in quotes may hold semicolons and line breaks.
_STATEMENT: Final = re.compile(r"""(?:"[^"]*"|'[^']*'|[^"';])*;""")
# What stands between statements: blank lines, comments (pg_dumpall keeps each on one line), psql's own commands.
_BETWEEN: Final = re.compile(r"(?:[ \t]*\n|--[^\n]*\n?|\\[^\n]*\n?)*")
_GRANT_STATEMENT: Final = re.compile(rf"^GRANT {_NAME} TO {_NAME}[ ;]")


def filter_roles(script: str) -> str:
    r"""Keep the statements about the owner's own roles; drop comments, `\restrict` lines and platform roles."""
    return "".join(f"{statement}\n" for statement in split_statements(script) if _is_kept(statement))


def split_statements(script: str) -> Iterator[str]:
    """Yield the statements of a script as `pg_dump` and `pg_dumpall` write them, each with its semicolon."""
    position = _end_of(_BETWEEN, script, 0)
    while found := _STATEMENT.match(script, position):
        yield found[0]
        position = _end_of(_BETWEEN, script, found.end())


def _end_of(pattern: re.Pattern[str], text: str, position: int) -> int:
    found = pattern.match(text, position)
    return found.end() if found else position


def _is_kept(statement: str) -> bool:
    name = _role_named(statement)
    return name is not None and not is_reserved(name)


def _role_named(statement: str) -> str | None:
    """Return the role that a statement is about; None for statements of another kind (`SET ...`)."""
    for pattern in (_ROLE_STATEMENT, _COMMENT_STATEMENT):
        if found := pattern.match(statement):
            return _unquoted(found[1])
    if found := _GRANT_STATEMENT.match(statement):
        # GRANT pg_read_all_data TO alice is worth keeping: only the member decides.
        return _unquoted(found[2])
    return None


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
