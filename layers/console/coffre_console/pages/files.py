"""The console's own files, under names that have their hashes: a browser keeps them for ever."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from aws_lambda_powertools.event_handler import Response as Answer

from coffre_console.access.headers import headers_of
from coffre_console.problems import NOT_FOUND
from coffre_console.routing import Routes

_DIRECTORY: Final = Path(__file__).parent / "files"
_TYPES: Final = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class File:
    """One file as browsers get it."""

    name: str
    kind: str
    body: str


@cache
def files() -> Mapping[str, File]:
    """Return all files by the names that they have in the source: `console.css`."""
    found = {}
    for path in sorted(_DIRECTORY.iterdir()):
        body = path.read_bytes()
        mark = base64.urlsafe_b64encode(hashlib.sha256(body).digest()[:9]).decode()
        found[path.name] = File(f"{path.stem}.{mark}{path.suffix}", _TYPES[path.suffix], body.decode())
    return found


def register(routes: Routes) -> None:
    """Register the route."""

    @routes.add("GET", "/assets/<name>")
    def one(name: str) -> Answer[str]:
        served = next((file for file in files().values() if file.name == name), None)
        if served is None:
            raise NOT_FOUND
        return Answer(200, served.kind, served.body, headers=headers_of("asset"))
