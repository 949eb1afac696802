"""Lambda function `console`: the pages and the API, behind an HTTP API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coffre.runtime.kept_imports import kept_first_use, kept_imports

with kept_imports():
    from coffre.runtime.bootstrap import once
    from coffre_console.deployed import make_app

if TYPE_CHECKING:
    from coffre.runtime.function import LambdaContext

app = once(make_app)


def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Answer a request (payload format 2.0)."""
    with kept_first_use():
        return app().handle(event)
