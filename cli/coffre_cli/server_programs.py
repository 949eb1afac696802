"""PostgreSQL's server programs on this machine: for the scratch servers of rehearsals and of drills with `--here`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from coffre.model.errors import CoffreError, SettingsError
from coffre.postgres.connection.client_tools import PostgresTools

HOME_VARIABLE: Final = "COFFRE_POSTGRES_HOME"
# The scratch server's settings are those of this major version (coffre.postgres.scratch.server).
_LEAST_MAJOR: Final = 18


def server_home(home: Path | None = None) -> Path:
    """Return the home of PostgreSQL's server programs: `bin`, `lib` and `share`; `home` is the only one if it is given.

    Raises
    ------
    SettingsError
        `SERVER_PROGRAMS_MISSING`
    """
    for place in _homes() if home is None else (home,):
        has_programs = all((place / "bin" / name).exists() for name in ("initdb", "postgres"))
        if has_programs and _major(place) >= _LEAST_MAJOR:
            return place
    raise SettingsError(
        f"No server programs of PostgreSQL {_LEAST_MAJOR} or newer were found for the scratch server.",
        code="SERVER_PROGRAMS_MISSING",
        hint=f"Install postgresql-{_LEAST_MAJOR}, or name its home ({HOME_VARIABLE}=/usr/lib/postgresql/"
        f"{_LEAST_MAJOR}); or use a server that you have: --scratch env:NAME",
    )


def _homes() -> Iterator[Path]:
    if named := os.environ.get(HOME_VARIABLE):
        yield Path(named)
    if found := shutil.which("initdb"):
        yield Path(found).resolve().parents[1]
    yield from sorted(Path("/usr/lib/postgresql").glob("*"), reverse=True)
    with suppress(ImportError, CoffreError):
        from coffre_local.toolchain import Toolchain

        yield Toolchain().postgresql(_LEAST_MAJOR)


def _major(home: Path) -> int:
    tools = PostgresTools(home)
    with suppress(OSError, subprocess.SubprocessError, CoffreError):
        done = subprocess.run(
            [tools.program("postgres"), "--version"],
            env=tools.environment(),
            capture_output=True,
            check=False,
            timeout=30,
            text=True,
        )
        found = re.search(r"\(PostgreSQL\) (\d+)", done.stdout)
        return int(found[1]) if found else 0
    return 0
