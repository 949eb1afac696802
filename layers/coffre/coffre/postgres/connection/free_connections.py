"""How many connections the server has room for. What a pooler in between allows cannot be asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final


def free_connections(query: Callable[[str], list[tuple[Any, ...]]]) -> int:
    """Return how many more connections this role can open now."""
    return int(query(_FREE)[0][0])


# Of three limits the nearest: the server's, without what it reserves; this database's and this role's (-1: none), which
# do not hold for superusers. The numbers are those of every role: everybody may see how many connections there are.
_FREE: Final = """
WITH used AS (
    SELECT count(*) AS all, count(*) FILTER (WHERE a.datname = current_database()) AS here,
        count(*) FILTER (WHERE a.usesysid = session_user::regrole) AS ours
    FROM pg_stat_activity a WHERE a.datid IS NOT NULL OR a.usesysid IS NOT NULL),
limits AS (
    SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
        - coalesce(current_setting('reserved_connections', true), '0')::int AS server,
        d.datconnlimit, r.rolconnlimit, r.rolsuper
    FROM pg_database d, pg_roles r WHERE d.datname = current_database() AND r.rolname = session_user)
SELECT greatest(0, least(
    server - used.all,
    CASE WHEN datconnlimit >= 0 AND NOT rolsuper THEN datconnlimit - here ELSE server END,
    CASE WHEN rolconnlimit >= 0 AND NOT rolsuper THEN rolconnlimit - ours ELSE server END))
FROM used, limits
"""
