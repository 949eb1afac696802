"""`coffre roles`: the SQL scripts that make and drop the roles in a database, for psql."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from coffre_cli.examples import examples

EXAMPLES = examples(
    "coffre roles backup > backup.sql && psql -v role=coffre_backup -f backup.sql shop",
    "coffre roles restore > restore.sql && psql -v role=coffre_restore -v into=shop_restored -f restore.sql postgres",
    "coffre roles remove > remove.sql && psql -v role=coffre_backup -f remove.sql shop",
)
_PACKAGE = Path(__file__).parents[2]


class Script(StrEnum):
    """What each script is for."""

    BACKUP = "backup"
    RESTORE = "restore"
    REMOVE = "remove"


def roles(script: Annotated[Script, typer.Argument(help="Which script.")]) -> None:
    """Print the SQL script that makes a role for backups or restores in a database, or drops one.

    Run it with psql, as the administrator that your provider gives you. It asks for the new role's password, and can be
    run again. Each script begins with what it does and which variables it takes (docs/roles.md).
    """
    installed = _PACKAGE / "roles"
    place = installed if installed.is_dir() else _PACKAGE.parents[1] / "docs" / "roles"
    print((place / f"{script.value}.sql").read_text(), end="")
