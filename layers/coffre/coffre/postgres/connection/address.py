"""How to reach a database: its address, role, password and TLS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from coffre.concurrency.renewal import Renewal
from coffre.model.database_target import Tls, default_tls_mode
from coffre.postgres.connection.certificates import authority_file
from coffre.postgres.connection.sessions import PLAIN_NAME, Sessions


@dataclass(frozen=True)
class Login:
    """A role and its password, which is never shown."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Connection:
    """How to reach one database. The password is never shown.

    `place` names for a person where this address is kept: `the secret coffre/database/shop`, `--to`.
    `renewal` has the login to use, if it can change while the run works: the secret is read again when it is refused.
    `sessions` are those of the run that it belongs to (`Children.watching`), which can end all of them.
    """

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str
    sslmode: str = "require"
    sslrootcert: str | None = None
    connect_timeout_seconds: int = 10
    channel_binding: str | None = None
    place: str = "the target's secret"
    renewal: Renewal[Login] | None = field(default=None, repr=False, compare=False)
    sessions: Sessions | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}/{self.database}"

    @property
    def login(self) -> Login:
        """The role and password to log in with now."""
        return self.renewal.current() if self.renewal else Login(self.user, self.password)

    def to_database(self, database: str) -> Connection:
        """Return the same server and role with another database."""
        return replace(self, database=database)

    def environment(self) -> dict[str, str]:
        """Return libpq's variables for a child process: nothing of this is ever in an argument list."""
        login = self.login
        variables = {
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGUSER": login.user,
            "PGPASSWORD": login.password,
            "PGDATABASE": self.database,
            "PGSSLMODE": self.sslmode,
            "PGCONNECT_TIMEOUT": str(self.connect_timeout_seconds),
            "PGAPPNAME": self.sessions.name if self.sessions else PLAIN_NAME,
        }
        if self.sslrootcert:
            variables["PGSSLROOTCERT"] = self.sslrootcert
        if self.channel_binding:
            variables["PGCHANNELBINDING"] = self.channel_binding
        return variables


def conninfo_of(database: str) -> str:
    """Return a connection string that names a database and nothing else: the rest comes from the environment."""
    escaped = database.replace("\\", "\\\\").replace("'", "\\'")
    return f"dbname='{escaped}'"


def apply_tls(
    connection: Connection,
    tls: Tls,
    scratch: Path,
    *,
    connect_timeout_seconds: int,
    read_secret: Callable[[str], str],
) -> Connection:
    """Return the connection with the target's own settings; a CA makes `verify-full` the default.

    Raises
    ------
    ConfigurationError, SecretError
        The CA cannot be read.
    """
    connection = replace(connection, connect_timeout_seconds=connect_timeout_seconds)
    if tls.ca is None:
        return replace(connection, sslmode=tls.mode) if tls.mode else connection
    file = authority_file(tls.ca, scratch, read_secret)
    return replace(connection, sslmode=tls.mode or default_tls_mode(connection.host, has_ca=True), sslrootcert=file)
