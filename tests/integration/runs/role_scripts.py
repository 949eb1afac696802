"""Administrators as providers give them, and the scripts of docs/roles run as them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.integration.conftest import run_sql

from coffre_local.postgres_server import PostgresServer

SCRIPTS: Final = Path(__file__).resolve().parents[3] / "docs" / "roles"
PASSWORD: Final = "p%ss/word of:the 'role'"


@dataclass(frozen=True)
class Provider:
    """An administrator: the statements, run as a superuser, that make him, and the majors that the provider runs.

    Parameters
    ----------
    reads_all
        Whether he can give `pg_read_all_data`, by major; below 14 nobody can.
    bypasses
        The same for BYPASSRLS.
    """

    name: str
    majors: tuple[int, ...]
    make: Callable[[int], tuple[str, ...]]
    reads_all: Callable[[int], bool]
    bypasses: Callable[[int], bool]


def _plain(major: int) -> tuple[str, ...]:
    return ("CREATE ROLE admin LOGIN SUPERUSER",)


def _rds(major: int) -> tuple[str, ...]:
    """RDS: `postgres` is CREATEDB CREATEROLE and a member of `rds_superuser`, and nothing more.

    From "Understanding the rds_superuser role" in the RDS user guide (2026-11).
    """
    given = ["pg_monitor", "pg_signal_backend"] + (["pg_read_all_data", "pg_write_all_data"] if major >= 14 else [])
    return (
        "CREATE ROLE rds_superuser NOLOGIN",
        f"GRANT {', '.join(given)} TO rds_superuser WITH ADMIN OPTION",
        "CREATE ROLE admin LOGIN NOSUPERUSER INHERIT CREATEDB CREATEROLE NOREPLICATION IN ROLE rds_superuser",
    )


def _supabase(major: int) -> tuple[str, ...]:
    """Supabase: `postgres` may bypass row level security and give pg_read_all_data.

    From the dumps of its roles in github.com/supabase/postgres (nix/tests/expected/roles.out) and of projects.
    """
    return (
        "CREATE ROLE admin LOGIN NOSUPERUSER INHERIT CREATEDB CREATEROLE REPLICATION BYPASSRLS",
        "GRANT pg_monitor, pg_read_all_data, pg_signal_backend TO admin WITH ADMIN OPTION",
    )


def _neon(major: int) -> tuple[str, ...]:
    """Neon: the owner is a member of `neon_superuser`, which reads all data, but without the right to pass that on.

    From "Manage roles" of Neon's documentation, and dumps of the roles of its projects.
    """
    return (
        "CREATE ROLE neon_superuser NOLOGIN CREATEDB CREATEROLE BYPASSRLS REPLICATION",
        "GRANT pg_read_all_data, pg_write_all_data TO neon_superuser",
        "CREATE ROLE admin LOGIN CREATEDB CREATEROLE BYPASSRLS REPLICATION IN ROLE neon_superuser",
    )


PROVIDERS: Final = (
    Provider("plain", (12, 13, 14, 15, 16, 17, 18), _plain, lambda major: major >= 14, lambda major: True),
    Provider("rds", (12, 13, 14, 15, 16, 17, 18), _rds, lambda major: major >= 14, lambda major: False),
    # Until 15 an extension of Supabase lets its administrator give BYPASSRLS, which cannot be played here.
    Provider("supabase", (15, 17), _supabase, lambda major: True, lambda major: major >= 16),
    Provider("neon", (14, 15, 16, 17, 18), _neon, lambda major: major < 16, lambda major: major >= 16),
)
ROLES: Final = ("coffre_backup", "coffre_restore", "app", "admin", "rds_superuser", "neon_superuser")


@dataclass
class Scene:
    """A database `roles_app` of the administrator's on one server, with tables of his and of a role of his."""

    server: PostgresServer
    psql: Path
    said: str = field(default="", init=False)

    def superuser(self, database: str = "roles_app") -> str:
        return self.server.dsn(database)

    def as_role(self, role: str, database: str = "roles_app") -> str:
        return self.server.dsn(database, user=role, password=PASSWORD)

    def run(self, script: str, database: str = "roles_app", *, user: str = "admin", **variables: str) -> int:
        """Run a script as a person would, the password typed twice, and return psql's status."""
        chosen = [part for name, value in variables.items() for part in ("-v", f"{name}={value}")]
        done = subprocess.run(
            [self.psql / "bin" / "psql", "-X", *chosen, "-f", SCRIPTS / script, database],
            env={
                "LD_LIBRARY_PATH": str(self.psql / "lib"),
                "PATH": os.environ["PATH"],
                "PGHOST": "127.0.0.1",
                "PGPORT": str(self.server.port),
                "PGUSER": user,
            },
            input=f"{PASSWORD}\n{PASSWORD}\n",
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,  # without a terminal, psql asks on stdin
        )
        self.said = done.stdout + done.stderr
        return done.returncode

    def clear(self) -> None:
        for (name,) in run_sql(self.superuser("postgres"), "SELECT datname FROM pg_database WHERE datname ~ '^roles_'"):
            self.server.drop_database(name)
        for role in ROLES:
            if run_sql(self.superuser("postgres"), f"SELECT 1 FROM pg_roles WHERE rolname = '{role}'"):
                run_sql(self.superuser("postgres"), f"DROP OWNED BY {role}", f"DROP ROLE {role}")
