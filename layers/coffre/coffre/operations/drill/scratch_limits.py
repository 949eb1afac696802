"""The place where a drill works: how much room there is, and which errors are about it and not about the backup."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from coffre.model.errors import DrillImpossibleError, RestoreError
from coffre.operations.drill.findings import Found
from coffre.postgres.scratch.given_server import GivenServer
from coffre.postgres.scratch.server import NO_SPACE, ScratchServer

# Of the disk that is free: what a server writes besides tables, and room for having guessed wrong.
_SHARE_OF_DISK: Final = 0.8
_GAUGE_SECONDS: Final = 0.5
_GAUGE_GIVEN_SECONDS: Final = 10.0  # each time needs a session
_REFUSED_A_RIGHT: Final = re.compile(r"permission denied|must be (superuser|owner|able)|[Oo]nly (superusers|roles)")


def free_bytes(server: ScratchServer) -> int:
    """Return how much a group of tables may take."""
    return int(shutil.disk_usage(server.directory).free * _SHARE_OF_DISK)


def is_full(error: RestoreError) -> bool:
    """Whether a restore ended because the disk was full."""
    return NO_SPACE.search(error.detail or "") is not None


@contextmanager
def gauging(server: ScratchServer | GivenServer, found: Found) -> Iterator[None]:
    """See from time to time how much the server's files take: most while indexes are sorted."""
    done = threading.Event()
    pause = _GAUGE_GIVEN_SECONDS if isinstance(server, GivenServer) else _GAUGE_SECONDS

    def look() -> None:
        is_over = False
        while not is_over:
            is_over = done.wait(pause)
            found.scratch_bytes = max(found.scratch_bytes, server.used_bytes())

    thread = threading.Thread(target=look, name="gauge", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def told_apart(server: ScratchServer | GivenServer) -> Iterator[None]:
    """Tell what speaks against the backup from a place that is too small, or rights that a drill does not have."""
    try:
        yield
    except Exception as error:
        server.refuse_impossible(error)
        if isinstance(error, RestoreError) and _REFUSED_A_RIGHT.search(error.detail or ""):
            raise DrillImpossibleError(
                "The backup has a definition that only a superuser can restore, and a drill is none.",
                code="DRILL_NEEDS_SUPERUSER",
                detail=error.detail,
                hint="Nothing is known against the backup. Restore it into a server of yours to prove it, and rely on "
                "`coffre verify --level read` meanwhile.",
            ) from error
        raise
