"""What is known of the databases of a server: found by the function that backs them up, kept in the catalog."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class SeenDatabase:
    """A database that was found on a server, and the target that it is.

    `name` is the target's name, which never changes. `gone_since` says since when the server does not have it any more,
    or since when its configuration leaves it out.
    """

    name: str
    server: str
    database: str
    found_at: datetime
    gone_since: datetime | None = None


def usable(seen: Iterable[SeenDatabase], server: str, taken: Container[str]) -> dict[str, SeenDatabase]:
    """Return the databases of a server by their names on it.

    Parameters
    ----------
    taken
        Names of targets in the document. A database whose name is one of these has got another since; the last counts.
    """
    own = (one for one in seen if one.server == server and one.name not in taken)
    return {one.database: one for one in sorted(own, key=lambda one: (one.found_at, one.name))}
