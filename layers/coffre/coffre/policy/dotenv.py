"""The names in a file of variables (`.env`), to say what changed. Values are compared and never shown."""

from __future__ import annotations

import re
from typing import Final

# A name, and a value in quotes (which can go over several lines) or up to the end of the line.
_VARIABLE: Final = re.compile(
    r"""^[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z_][A-Za-z0-9_.]*)[ \t]*=[ \t]*
    (?P<value>"(?:\\.|[^"\\])*"|'[^']*'|[^\n]*)""",
    re.MULTILINE | re.VERBOSE | re.DOTALL,
)


def variables_of(content: bytes) -> dict[str, str]:
    """Return the variables of a file by name, values as they are written; none for what is no such file.

    A byte order mark, CRLF, `export`, comments and quotes over several lines are understood.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return {}
    text = text.replace("\r\n", "\n")
    return {found["name"]: found["value"].strip() for found in _VARIABLE.finditer(text)}
