"""Servers that are newer than the client programs: what they know, an older `pg_dump` may not."""

from __future__ import annotations

from typing import Final

TESTED_MINORS: Final = {12: 22, 13: 23, 14: 23, 15: 19, 16: 15, 17: 11, 18: 6}
"""By major, the newest minor that this version was tested with."""


def note_of_newer_minor(version_number: int, version: str, client: tuple[int, int]) -> str | None:
    """Return a note for the manifest when a server is newer than the client programs; None when it is not.

    Parameters
    ----------
    version_number, version
        As the server reports them: 150020, "15.20 (Debian 15.20-0+deb12u1)".
    client
        The version of `pg_dump`.
    """
    major, minor = divmod(version_number, 10000)
    known = client[1] if major == client[0] else TESTED_MINORS.get(major)
    if known is None or minor <= known:
        return None
    return (
        f"The server is PostgreSQL {version.split(' ')[0]}, newer than the client programs "
        f"({client[0]}.{client[1]}), which were tested with {major}.{known}. "
        "Run a drill, and update Coffre when a version with newer client programs exists."
    )
