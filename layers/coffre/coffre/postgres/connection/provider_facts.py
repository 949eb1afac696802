"""Which signs of providers a server shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from coffre.policy.profiles import ProviderFacts, all_signs


def read_provider_facts(query: Callable[[str, dict[str, Any]], list[tuple[Any, ...]]], host: str) -> ProviderFacts:
    """Ask a server for every sign that a profile names. `host` is the one that the session was opened to."""
    signs = all_signs()
    wanted = {name: list(getattr(signs, name)) for name in ("settings", "roles", "functions")}
    found: dict[str, set[str]] = {name: set() for name in wanted}
    for kind, name in query(_SIGNS, wanted):
        found[kind].add(name)
    return ProviderFacts(host, **{kind: frozenset(names) for kind, names in found.items()})


# `pg_settings` does not list the settings of a library that is not loaded here; `current_setting` knows them.
_SIGNS: Final = """
SELECT 'settings', name FROM unnest(%(settings)s::text[]) AS name WHERE current_setting(name, true) IS NOT NULL
UNION ALL SELECT 'roles', rolname::text FROM pg_roles WHERE rolname = ANY(%(roles)s::text[])
UNION ALL SELECT 'functions', proname::text FROM pg_proc WHERE proname = ANY(%(functions)s::text[])
"""
