"""The databases of servers as targets: what was found joins the configuration, wherever that is loaded."""

from __future__ import annotations

from coffre.catalog.catalog import Catalog
from coffre.model.configuration import Configuration


def with_databases(configuration: Configuration, catalog: Catalog) -> Configuration:
    """Return the configuration with the databases that were found on its servers, each as a target of its own.

    Raises
    ------
    CatalogError
        The configuration has servers, and the catalog does not answer.
    """
    return configuration.expanded(catalog.servers.seen()) if configuration.servers else configuration


def key_names(catalog: Catalog, target: str) -> tuple[str, ...]:
    """Return the targets whose own keys may open a target's backups: itself, and the server that it was found on."""
    found = catalog.servers.find(target)
    return (target,) if found is None else (target, found.server)
