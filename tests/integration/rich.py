"""One database with as much as a major of PostgreSQL knows: what a round trip has to bring back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

ROLES: Final = ("rich_owner", "Rich Reader")
_BLOCKS: Final = re.compile(r"^-- since (\d+)\n(.*?)(?=^-- since|\Z)", re.DOTALL | re.MULTILINE)


def statements(major: int) -> list[str]:
    """Return what fills the database on a server of this major."""
    text = Path(__file__).with_name("rich.sql").read_text()
    return [block for since, block in _BLOCKS.findall(text) if int(since) <= major]
