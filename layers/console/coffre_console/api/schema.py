"""The description of the API: OpenAPI 3.1, generated from the routes."""

from __future__ import annotations

import json
from typing import Any

from aws_lambda_powertools.event_handler import Response as Answer

from coffre import __version__
from coffre_console.api.routes import ApiRoutes

_DESCRIPTION = "What the command `coffre` does with a stack, over HTTP. docs/api.md has examples."


def register(routes: ApiRoutes) -> None:
    """Register the route."""

    @routes.add("GET", "/api/v1/openapi.json", summary="This document", tag="api")
    def openapi() -> Answer[dict[str, Any]]:
        return Answer(200, "application/json", schema_of(routes))


def schema_of(routes: ApiRoutes) -> dict[str, Any]:
    """Return the document."""
    # Here, for it is a twelfth of a start, which only this document needs.
    from aws_lambda_powertools.event_handler.openapi.models import HTTPBearer

    text = routes.resolver.get_openapi_json_schema(
        title="Coffre",
        version=__version__,
        openapi_version="3.1.0",
        description=_DESCRIPTION,
        security_schemes={"bearer": HTTPBearer()},
        security=[{"bearer": []}],
    )
    found: dict[str, Any] = json.loads(text)
    for path in found["paths"].values():
        for operation in path.values():
            # Powertools writes an answer of its own form, which the console never gives.
            operation["responses"] = {
                code: one for code, one in operation["responses"].items() if code != "422" or _is_own(one)
            }
    return found


def _is_own(answer: dict[str, Any]) -> bool:
    return "application/problem+json" in answer.get("content", {})
