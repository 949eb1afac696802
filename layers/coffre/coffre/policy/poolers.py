"""Poolers in transaction mode: how an address shows one, and which address a backup uses instead (field note 10)."""

from __future__ import annotations

from typing import Final

_NEON: Final = "-pooler."
_TRANSACTION_PORTS: Final = frozenset({6543})


def session_endpoint(host: str, port: int) -> str | None:
    """Return what to use instead, as a sentence, where the address is that of a pooler in transaction mode.

    None: neither the name nor the port is that of one (Neon, Supabase).
    """
    if _NEON in host:
        return f"Use Neon's direct endpoint: host {host.replace(_NEON, '.', 1)}, port {port}."
    if port in _TRANSACTION_PORTS:
        return f"Use the session pooler: the same host {host} with port 5432."
    return None
