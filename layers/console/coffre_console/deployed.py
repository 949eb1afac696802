"""Puts the deployed console together."""

from __future__ import annotations

from collections.abc import Mapping

from coffre.runtime.function import utc_now
from coffre_console.access.gate import Gate
from coffre_console.app import App
from coffre_console.console import Console
from coffre_console.pages.site import Site


def make_app(environment: Mapping[str, str]) -> App:
    """Return the application from the process's environment; raises `SettingsError`."""
    console = Console.make(environment)
    services = console.services
    gate = Gate(services.catalog, services.edge, lambda: console.configuration(utc_now()), services.secret)
    return App.make(console, gate, Site())
