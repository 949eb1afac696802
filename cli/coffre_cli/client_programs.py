"""PostgreSQL's client programs on the machine of whoever runs the command."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from coffre.model.errors import SettingsError
from coffre.postgres.tools import PostgresTools

HOME_VARIABLE: Final = "COFFRE_POSTGRES_HOME"
# Older ones cannot read the archives that pg_dump 17 and newer write.
OLDEST_MAJOR: Final = 17

_CHECKOUT: Final = Path(__file__).resolve().parents[2]
_PROGRAM: Final = "pg_restore"
_DEBIAN: Final = Path("/usr/lib/postgresql")
_VERSION: Final = re.compile(r"\(PostgreSQL\) (\d+)")
_HINT: Final = (
    f"Install the client programs of PostgreSQL {OLDEST_MAJOR} or newer (Debian: postgresql-client-18 of "
    f"apt.postgresql.org; macOS: brew install libpq), or name the directory that has bin/{_PROGRAM}: {HOME_VARIABLE}. "
    "`coffre export` needs none of them."
)


@dataclass(frozen=True)
class ClientPrograms(PostgresTools):
    """Programs of this machine; what is missing or too old is only said when a program is needed."""

    problem: str | None = None

    def program(self, name: str) -> str:
        """Return the path of a program.

        Raises
        ------
        SettingsError
            `TOOLS_MISSING`
        """
        if self.problem is None and (self.home / "bin" / name).is_file():
            return str(self.home / "bin" / name)
        raise SettingsError(
            self.problem or f"The PostgreSQL client program {name} is not in {self.home / 'bin'}.",
            code="TOOLS_MISSING",
            hint=_HINT,
        )


def find_client_programs() -> ClientPrograms:
    """Return the programs that the variable names, or the first usable ones: of the checkout, the system, the PATH."""
    named = os.environ.get(HOME_VARIABLE)
    if named:
        return ClientPrograms(Path(named), _problem_of(Path(named)))
    old: ClientPrograms | None = None
    for home in _homes():
        problem = _problem_of(home)
        if problem is None:
            return ClientPrograms(home)
        old = old or ClientPrograms(home, problem)
    return old or ClientPrograms(Path("/nowhere"), f"The PostgreSQL client program {_PROGRAM} was not found.")


def _homes() -> Iterator[Path]:
    yield from sorted((_CHECKOUT / ".tools").glob("postgresql-*[0-9]"), key=_number, reverse=True)
    yield from sorted(_DEBIAN.glob("*[0-9]"), key=_number, reverse=True)
    found = shutil.which(_PROGRAM)
    if found is not None:
        yield Path(found).parent.parent


def _number(home: Path) -> int:
    digits = re.findall(r"\d+", home.name)
    return int(digits[-1]) if digits else 0


def _problem_of(home: Path) -> str | None:
    path = home / "bin" / _PROGRAM
    if not path.is_file():
        return f"The PostgreSQL client program {_PROGRAM} is not at {path}."
    environment = PostgresTools(home).environment()
    try:
        said = subprocess.run([str(path), "--version"], env=environment, capture_output=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return f"The PostgreSQL client program {path} does not run."
    found = _VERSION.search(said.stdout.decode("utf-8", "replace"))
    if found is None:
        return f"The PostgreSQL client program {path} does not run."
    if int(found[1]) < OLDEST_MAJOR:
        return f"The PostgreSQL client program {path} is of version {found[1]}, which is too old for the backup."
    return None
