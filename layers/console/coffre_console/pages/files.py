"""The console's own files, under names that change with their bytes; and the choice of a language."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from coffre_console.access.cookies import set_cookie
from coffre_console.access.headers import headers_of
from coffre_console.access.language import LANGUAGE_COOKIE, LANGUAGES
from coffre_console.access.request import Response, local_path
from coffre_console.problems import NOT_FOUND
from coffre_console.routing import Visit

_DIRECTORY: Final = Path(__file__).parent / "files"
_TYPES: Final = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_YEAR_SECONDS: Final = 365 * 24 * 3600


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


def asset(_: Visit, name: str) -> Response:
    served = next((file for file in files().values() if file.name == name), None)
    if served is None:
        raise NOT_FOUND
    return Response(200, served.body, {"content-type": served.kind, **headers_of("asset")})


def language(visit: Visit) -> Response:
    """Keep the chosen language in a cookie, and lead back."""
    request, chosen = visit.request, visit.request.query.get("to", "")
    kept = (set_cookie(LANGUAGE_COOKIE, chosen, seconds=_YEAR_SECONDS),) if chosen in LANGUAGES else ()
    return Response(303, "", {"location": request.prefix + local_path(request.query.get("next", "/"))}, kept)


PAGES: Final = {"GET /assets/<name>": asset, "GET /language": language}
