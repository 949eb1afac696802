"""The directories of PostgreSQL servers, and of tests, in memory, where there is room for them.

A database that is created writes its 7 MB twice, into the log and into its files. On a disk that took most of a short
test's time, and a restore creates one too.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psutil
import pytest

from coffre_local import postgres_server

MEMORY: Final = Path("/dev/shm")
# Few servers of a worker pass a gigabyte, and machines whose memory others need keep them on their disk.
_ROOM_BYTES: Final = 10 * 2**30
_PREFIXES: Final = ("coffre-postgres-", "coffre-server-", "coffre-standby-", "coffre-local-", "coffre-demo-")


def keep_servers_in_memory(patch: pytest.MonkeyPatch) -> None:
    """Make servers, those of drills too, in memory, unless a test has chosen a place for temporary files."""
    if not _has_room():
        return
    make, usual = tempfile.mkdtemp, tempfile.gettempdir()

    def mkdtemp(suffix: str | None = None, prefix: str | None = None, dir: str | None = None) -> str:  # noqa: A002
        if dir is None and prefix in _PREFIXES and tempfile.gettempdir() == usual:
            dir = str(MEMORY)  # noqa: A001
        return make(suffix, prefix, dir)

    patch.setattr(tempfile, "mkdtemp", mkdtemp)
    # The log is written over again instead of growing to what a disk has room for.
    settings = {**postgres_server.THROWAWAY_SETTINGS, "max_wal_size": "192MB"}
    patch.setattr(postgres_server, "THROWAWAY_SETTINGS", settings)


@contextmanager
def directories_in_memory(config: pytest.Config) -> Iterator[None]:
    """Give tests their directories in memory while this holds: stores wait for the disk after each object they write.

    Workers get them within those of the process that has started them. `--basetemp` names another place.
    """
    if config.option.basetemp is not None or hasattr(config, "workerinput") or not _has_room():
        yield
        return
    with tempfile.TemporaryDirectory(prefix="coffre-tests-", dir=MEMORY, ignore_cleanup_errors=True) as directory:
        config.option.basetemp = f"{directory}/tests"
        yield


def _has_room() -> bool:
    try:
        runs_programs = not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC
        free = shutil.disk_usage(MEMORY).free
    except OSError:
        return False
    return runs_programs and min(free, psutil.virtual_memory().available) > _ROOM_BYTES
