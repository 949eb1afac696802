"""PostgreSQL's client programs on this machine: pg_dump 17 or newer, where `--here` runs them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from coffre.model.errors import SettingsError

if TYPE_CHECKING:
    from coffre.postgres.connection.client_tools import PostgresTools

_OLDEST: Final = 17
_INSTALL: Final = (
    "Install them (Debian, Ubuntu: postgresql-client-18 of PostgreSQL's own repository; macOS: brew install libpq), or "
    "say where they are: --postgres-home DIR, so that DIR/bin/pg_dump exists."
)


def find_tools(home: Path | None) -> PostgresTools:
    """Return the client programs in `home`, or the newest ones that are found on this machine.

    Raises
    ------
    SettingsError
        `TOOLS_MISSING`, `TOOLS_BROKEN`, `TOOLS_TOO_OLD`
    """
    from coffre.postgres.connection.client_tools import PostgresTools

    if home is not None:
        tools = PostgresTools(home.expanduser().absolute())
        if not (tools.home / "bin" / "pg_dump").is_file():
            raise SettingsError(f"There is no pg_dump in {tools.home / 'bin'}.", code="TOOLS_MISSING", hint=_INSTALL)
        return _checked(tools)
    broken: SettingsError | None = None
    found: list[PostgresTools] = []
    for place in dict.fromkeys(_places()):
        try:
            PostgresTools(place).version()
        except SettingsError as error:
            broken = error
        else:
            found.append(PostgresTools(place))
    if found:
        return _checked(max(found, key=lambda tools: tools.version()))
    if broken is not None:
        raise broken
    raise SettingsError("pg_dump was not found on this machine.", code="TOOLS_MISSING", hint=_INSTALL)


def _checked(tools: PostgresTools) -> PostgresTools:
    """Refuse what is older than Coffre's own programs may be."""
    version = tools.version()
    if version[0] < _OLDEST:
        raise SettingsError(
            f"The pg_dump in {tools.home / 'bin'} is version {version[0]}.{version[1]}; {_OLDEST} or newer is needed.",
            code="TOOLS_TOO_OLD",
            hint=_INSTALL,
        )
    return tools


def _places() -> Iterator[Path]:
    """Yield the folders that may have bin/pg_dump. Debian's own /usr/bin/pg_dump only starts one of the others."""
    path = shutil.which("pg_dump")
    if path is not None and (real := Path(path).resolve()).name == "pg_dump":
        yield real.parent.parent
    for parent, pattern in (("/usr/lib/postgresql", "*"), ("/usr", "pgsql-*"), ("/opt/homebrew/opt", "libpq*")):
        yield from (home for home in Path(parent).glob(pattern) if (home / "bin" / "pg_dump").is_file())
