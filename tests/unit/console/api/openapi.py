"""Writes docs/openapi.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from coffre_console.api import register_api
from coffre_console.api.schema import schema_of
from coffre_console.routing import Routes

PATH: Final = Path(__file__).parents[4] / "docs" / "openapi.json"


def document() -> str:
    """Return the description of the API as it is committed."""
    return json.dumps(schema_of(register_api(Routes())), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PATH.write_text(document())
