"""The databases of a server: which are backed up, and how their targets are named."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Final

from coffre.model.database_target import Patterns
from coffre.model.names import visible
from coffre.policy.patterns import database_pattern

# What platforms keep for themselves; no login of a customer can read these. RDS and its proxy, Cloud SQL, AlloyDB,
# Azure, Supabase.
_MANAGED: Final = frozenset(
    {
        *("rdsadmin", "rdsproxyadmin", "cloudsqladmin", "alloydbadmin", "alloydbmetadata"),
        *("azure_maintenance", "azure_sys", "_supabase", "_supabase-internal"),
    }
)
_PLAIN: Final = re.compile(r"[a-z0-9_]+")
_OTHERS: Final = re.compile(r"[^a-z0-9]+")
_LONGEST: Final = 63
_HASH_DIGITS: Final = 10


def chosen_databases(databases: Iterable[str], patterns: Patterns) -> list[str]:
    """Return the databases that are backed up, in order: those that fit, without those of the platform.

    Raises
    ------
    EventError
        `PATTERN_INVALID`
    """
    include = [database_pattern(pattern) for pattern in patterns.include]
    exclude = [database_pattern(pattern) for pattern in patterns.exclude]
    return sorted(
        name
        for name in databases
        if name not in _MANAGED
        and (not include or any(fits(name) for fits in include))
        and not any(fits(name) for fits in exclude)
    )


def plain_name(server: str, database: str) -> str | None:
    """Return `<server>-<database>`, if the database's name has only a to z, 0 to 9 and `_`, which becomes a dash.

    No two databases of a server get the same. None: the name needs a hash (`hashed_name`).
    """
    name = f"{server}-{database.replace('_', '-')}"
    return name if _PLAIN.fullmatch(database) and len(name) <= _LONGEST else None


def hashed_name(server: str, database: str) -> str:
    """Return a target's name for any name of a database: what can be read of it, and a hash of both names."""
    digest = hashlib.sha256(f"{server}\0{database}".encode("utf-8", "surrogateescape")).hexdigest()[:_HASH_DIGITS]
    readable = f"{server}-{_OTHERS.sub('-', database.lower())}"[: _LONGEST - _HASH_DIGITS - 1].rstrip("-")
    return f"{readable}-{digest}"


def listed(names: Iterable[str], *, most: int = 20) -> str:
    """Return names of databases for a person, the first few of many."""
    shown = [f'"{visible(name)}"' for name in names]
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + more
