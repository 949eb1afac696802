"""The place where a benchmark is set up, and cleared away whatever happens: server, database, directory, tools."""

from __future__ import annotations

import argparse
import compileall
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.databases import Database, fill
from benchmarks.harness import Surroundings, progress
from coffre_local.cluster import ServerOptions
from coffre_local.errors import ToolError
from coffre_local.postgres_server import PostgresServer
from coffre_local.shared_libraries import install, may_install
from coffre_local.toolchain import CHECKOUT, Toolchain

_BLOCK_BYTES: Final = 1024 * 1024
# Files of the write-ahead log are kept for those who come next: else whoever follows a quiet minute has to make them.
_WAL_KEPT: Final = "4GB"
# Only ever a benchmark's password: its repositories are thrown away.
_RESTIC: Final = {"RESTIC_PASSWORD": "benchmark"}


@dataclass(frozen=True)
class Workbench:
    """A filled database on a server of its own, and a directory for what is written."""

    server: PostgresServer
    home: Path
    directory: Path
    url: str
    plain_bytes: int

    @property
    def gigabytes(self) -> float:
        """The size of the database as plain `pg_dump` text."""
        return self.plain_bytes / 1e9

    def program(self, name: str) -> str:
        """Return the path of one of PostgreSQL's programs."""
        return str(self.home / "bin" / name)

    def around(self, link: int | None = None) -> Surroundings:
        """Return what contenders run in; `link` is the pid of a simulated link."""
        mark = self.server.mark
        return Surroundings(environment(), self.home, mark.pid if mark else None, link)


def job(module: str, *arguments: object) -> list[str]:
    """Return the argument list of one of our own measured processes."""
    return [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]


def environment() -> dict[str, str]:
    """Return the variables of contenders: where our packages are, and a password for restic."""
    return {**os.environ, **_RESTIC, "PYTHONPATH": f"{CHECKOUT}:{CHECKOUT}/layers/coffre:{CHECKOUT}/cli"}


def arguments_of(description: str | None, *, runs: int = 3) -> argparse.ArgumentParser:
    """Return a parser with the options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--scale", type=float, default=1.0, help="1 is the full size")
    parser.add_argument("--runs", type=int, default=runs, help=f"rounds, {runs} when not given; slow ones are run once")
    return parser


@contextmanager
def workbench(database: Database, scale: float) -> Iterator[Workbench]:
    """Start a server, fill the database, warm every cache; nothing is left afterwards, not even by SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    Toolchain(on_step=progress).copydata()
    for package in ("layers/coffre", "benchmarks", "cli"):  # byte code, as the layer has it
        compileall.compile_dir(CHECKOUT / package, quiet=2)
    home = Toolchain(on_step=progress).postgresql(18)
    options = ServerOptions(settings={"min_wal_size": _WAL_KEPT, "max_wal_size": _WAL_KEPT})
    with PostgresServer(home, options) as server, tempfile.TemporaryDirectory(prefix="coffre-bench-") as directory:
        progress(f"filling {database.title}, scale {scale:g}")
        url = server.create_database("bench")
        fill(database, url, scale)
        plain_bytes = _plain_bytes(home, url)
        progress(f"  {plain_bytes / 1e6:.0f} MB as plain text")
        small = "" if scale == 1 else f" (scale {scale:g}: the goals are for the full size)"
        print(f"{database.title}: {plain_bytes / 1e9:.2f} GB as plain `pg_dump` text{small}\n", flush=True)
        yield Workbench(server, home, Path(directory), url, plain_bytes)


def _plain_bytes(home: Path, url: str) -> int:
    """Dump once to nowhere: it counts the bytes, and fills the system's cache for everybody."""
    variables = {**os.environ, "LD_LIBRARY_PATH": str(home / "lib")}
    total = 0
    with subprocess.Popen([str(home / "bin" / "pg_dump"), url], env=variables, stdout=subprocess.PIPE) as child:
        while child.stdout and (block := child.stdout.read(_BLOCK_BYTES)):
            total += len(block)
    if child.returncode:
        raise SystemExit("pg_dump failed")
    return total


def has_tool(name: str, package: str) -> bool:
    """Whether a program is there, after trying to install it; a contender without its program is left out."""
    if shutil.which(name):
        return True
    if may_install():
        progress(f"installing the system package {package}")
        try:
            install([package])
        except ToolError as error:
            progress(str(error))
    if shutil.which(name):
        return True
    note = f"`{name}` is not on this machine and is left out; on Debian: apt-get install {package}"
    progress(note)
    print(f"({note})")
    return False
