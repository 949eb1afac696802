"""Fresh servers turned into what a provider gives: its roles, its schemas, its refusals.

`supabase_like`, `neon_like` and `rds_like` start one each; `project()` gives the URL of a new database on it, as the
administrator whom the provider gives to its users.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psycopg2
from tests.providers.extensions import write_extensions

from coffre_local.postgres_server import PostgresServer, ServerOptions

PASSWORD: Final = "pa55 of:%the project"
_PROJECT: Final = (Path(__file__).parent / "supabase.sql").read_text(encoding="utf-8")
_numbers = itertools.count(1)


@dataclass(frozen=True)
class ProviderServer:
    """A server of a provider. `administrator` is the role that its users get; `setup` makes a database theirs."""

    server: PostgresServer
    administrator: str
    setup: Sequence[str] = ()
    made: list[str] = field(default_factory=list)

    def project(self, database: str | None = None, template: str = "template1") -> str:
        """Make a database as the provider hands it out, and return its URL for the administrator.

        Without a name it gets one of its own; `postgres`, which every server has, is given to the administrator.
        With the name of another project as `template`, it is a copy of that.
        """
        name = database or f"project_{next(_numbers)}"
        if name == "postgres":
            execute(self.server.dsn(), f'ALTER DATABASE postgres OWNER TO "{self.administrator}"')
        else:
            made = f'CREATE DATABASE "{name}" OWNER "{self.administrator}" TEMPLATE "{template}"'
            execute(self.server.dsn("template1"), made)
            self.made.append(name)
        if template == "template1":
            execute(self.server.dsn(name), *self.setup)
        return self.url(name)

    def url(self, database: str, role: str | None = None) -> str:
        """Return a URL with a password, as the administrator unless another role is named."""
        return self.server.dsn(database, user=role or self.administrator, password=PASSWORD)

    def remove(self) -> None:
        """Drop the databases that were made."""
        while self.made:
            self.server.drop_database(self.made.pop())


@contextmanager
def supabase_like(home: Path) -> Iterator[ProviderServer]:
    """A server of Supabase: `postgres` may bypass row level security and has roles made, but is no superuser.

    `home` is a PostgreSQL 18, which finds extensions outside of its own directory.
    """
    with tempfile.TemporaryDirectory(prefix="coffre-extensions-") as directory:
        settings = {"extension_control_path": write_extensions(Path(directory)), "wal_level": "logical"}
        with _server(home, "supabase_admin", settings) as server:
            execute(server.dsn(), *_SUPABASE_ROLES)
            yield ProviderServer(server, "postgres", (_PROJECT,))


@contextmanager
def neon_like(home: Path) -> Iterator[ProviderServer]:
    """A server of Neon: the owner is a member of `neon_superuser`, sessions that idle in a transaction are ended.

    Logical replication is switched on; its list of plugins has no `test_decoding`.
    """
    settings = {
        "wal_level": "logical",
        "output_plugin_libraries": "pgoutput, wal2json",
        "neon.timeline_id": "c0ffee00c0ffee00c0ffee00c0ffee00",
        "neon.tenant_id": "00c0ffee00c0ffee00c0ffee00c0ffee",
        "idle_in_transaction_session_timeout": "300000",
    }
    with _server(home, "cloud_admin", settings) as server:
        execute(server.dsn(), *_NEON_ROLES)
        yield ProviderServer(server, "neondb_owner")


@contextmanager
def rds_like(home: Path) -> Iterator[ProviderServer]:
    """A server of RDS: `postgres` is a member of `rds_superuser`, and nobody but rdsadmin is a superuser.

    `rds.logical_replication` is on, and there are slots for two databases.
    """
    settings = {
        "rds.extensions": "hstore, pg_trgm, postgres_fdw",
        "rds.logical_replication": "on",
        "wal_level": "logical",
        "max_replication_slots": "2",
    }
    with _server(home, "rdsadmin", settings) as server:
        execute(server.dsn(), *_RDS_ROLES)
        yield ProviderServer(server, "postgres")


@contextmanager
def _server(home: Path, superuser: str, settings: Mapping[str, str]) -> Iterator[PostgresServer]:
    with PostgresServer(home, ServerOptions(superuser=superuser, settings=settings)) as server:
        yield server


def execute(url: str, *statements: str) -> None:
    """Execute statements, each in a transaction of its own."""
    with closing(psycopg2.connect(url)) as session:
        session.autocommit = True
        with session.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)


_SUPABASE_ROLES: Final = (
    "CREATE ROLE postgres LOGIN NOSUPERUSER INHERIT CREATEDB CREATEROLE REPLICATION BYPASSRLS",
    "GRANT pg_monitor, pg_read_all_data, pg_signal_backend TO postgres WITH ADMIN OPTION",
    "CREATE ROLE anon NOLOGIN; CREATE ROLE authenticated NOLOGIN; CREATE ROLE service_role NOLOGIN BYPASSRLS",
    "CREATE ROLE authenticator LOGIN NOINHERIT; GRANT anon, authenticated, service_role TO authenticator",
    "ALTER ROLE anon SET statement_timeout = '3s'; ALTER ROLE authenticated SET statement_timeout = '8s'",
    "CREATE ROLE dashboard_user CREATEDB CREATEROLE REPLICATION; CREATE ROLE pgbouncer LOGIN",
    "CREATE ROLE supabase_auth_admin LOGIN NOINHERIT CREATEROLE; CREATE ROLE supabase_storage_admin LOGIN NOINHERIT",
    "CREATE ROLE supabase_realtime_admin NOLOGIN NOINHERIT; CREATE ROLE supabase_replication_admin LOGIN REPLICATION",
    "CREATE ROLE supabase_read_only_user LOGIN BYPASSRLS; GRANT pg_read_all_data TO supabase_read_only_user",
    "GRANT anon, authenticated, service_role TO postgres",
)
_NEON_ROLES: Final = (
    "CREATE ROLE neon_superuser NOLOGIN CREATEDB CREATEROLE BYPASSRLS REPLICATION",
    "GRANT pg_read_all_data, pg_write_all_data TO neon_superuser",
    "GRANT pg_create_subscription, pg_monitor TO neon_superuser WITH ADMIN OPTION",
    "CREATE ROLE neondb_owner LOGIN CREATEDB CREATEROLE BYPASSRLS REPLICATION IN ROLE neon_superuser",
)
_RDS_ROLES: Final = (
    "CREATE ROLE rds_superuser NOLOGIN; CREATE ROLE rds_replication; CREATE ROLE rds_iam; CREATE ROLE rds_password",
    "GRANT pg_monitor, pg_signal_backend, pg_read_all_data, pg_write_all_data TO rds_superuser WITH ADMIN OPTION",
    "GRANT rds_replication, rds_iam, rds_password TO rds_superuser WITH ADMIN OPTION",
    "CREATE ROLE postgres LOGIN NOSUPERUSER INHERIT CREATEDB CREATEROLE NOREPLICATION IN ROLE rds_superuser",
    "CREATE DATABASE rdsadmin",
    "REVOKE CONNECT ON DATABASE rdsadmin FROM PUBLIC",
)
