"""The API below /api/v1."""

from __future__ import annotations

from coffre_console.api import backups, downloads, keys, metrics, overview, records, restores, runs, schema, triggers
from coffre_console.routing import Routes


def register_api(routes: Routes) -> None:
    """Register every route of the API."""
    for module in (overview, backups, downloads, runs, restores, records, keys, metrics, triggers, schema):
        module.register(routes)
