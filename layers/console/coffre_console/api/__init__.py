"""The API below /api/v1."""

from __future__ import annotations

from coffre_console.api import (
    approvals,
    backups,
    downloads,
    keys,
    metrics,
    overview,
    records,
    restores,
    runs,
    schema,
    sessions,
    triggers,
)
from coffre_console.api.routes import ApiRoutes
from coffre_console.routing import Routes

_READ = (overview, backups, runs, records, metrics, schema)
_DONE = (downloads, restores, approvals, keys, sessions, triggers)


def register_api(routes: Routes) -> ApiRoutes:
    """Register every route of the API, and return them."""
    found = ApiRoutes(routes)
    for module in (*_READ, *_DONE):
        module.register(found)
    return found
