"""A PostgreSQL server of our own on a port of 127.0.0.1, which leaves nothing behind."""

import signal
import subprocess
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Self
from urllib.parse import quote, urlencode

import psutil
import psycopg2
from psycopg2 import sql

from coffre.postgres.scratch import server_settings
from coffre_local.cluster import Cluster, ServerOptions, make_cluster
from coffre_local.errors import ServerError, tail_of
from coffre_local.ports import free_port
from coffre_local.processes import ProcessMark, end, start_detached

__all__ = ["PostgresServer", "ServerOptions"]

START_SECONDS = 60.0
# Another process may take a free port between our look and the server's.
PORT_ATTEMPTS = 5
# A socket's path has at most 107 bytes on Linux: the directory, then "/.s.PGSQL.65535".
SOCKET_DIRECTORY_BYTES = 90
# The line of postmaster.pid with the server's state, which pg_ctl waits for too.
STATE_LINE = 7

SETTINGS = {**server_settings.SETTINGS, "listen_addresses": "127.0.0.1", "max_connections": "100"}
# No background work changes a measurement.
THROWAWAY_SETTINGS = {**server_settings.THROWAWAY_SETTINGS, "max_wal_size": "4GB"}


class PostgresServer:
    """One server process. Use it as a context manager, or call `start` and `stop`.

    Parameters
    ----------
    home
        Directory with `bin`, `lib` and `share`.
    directory
        Where data, socket, log and certificate go. It is created if missing, and existing data is used again. A new
        temporary directory when None.
    keep
        Leave the directory behind on `stop`.

    Examples
    --------
    >>> with PostgresServer(Toolchain().embedded_postgresql()) as server:
    ...     url = server.create_database("shop")
    """

    def __init__(
        self, home: Path, options: ServerOptions | None = None, *, directory: Path | None = None, keep: bool = False
    ) -> None:
        self.options = options or ServerOptions()
        self.port = self.options.port
        self.mark: ProcessMark | None = None
        self._home = home
        self._given_directory = directory
        self._keep = keep
        self._cluster: Cluster | None = None
        self._child: subprocess.Popen[bytes] | None = None

    @classmethod
    def running(cls, mark: ProcessMark, directory: Path, options: ServerOptions) -> Self:
        """Return a server that another process started with `detached`; the options name its port."""
        server = cls(directory, options, directory=directory)
        server.mark = mark
        server._cluster = Cluster(home=directory, directory=directory, user=None)
        return server

    def __enter__(self) -> Self:
        """Start the server."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop the server and remove its directory."""
        self.stop()

    @property
    def cluster(self) -> Cluster:
        """The server's directory and programs; only between `start` and `stop`."""
        if self._cluster is None:
            raise ServerError("The local PostgreSQL server is not running.", code="LOCAL_SERVER_STOPPED")
        return self._cluster

    @property
    def directory(self) -> Path:
        """The directory with everything that belongs to the server."""
        return self.cluster.directory

    @property
    def certificate(self) -> Path:
        """What clients may check the server with (`sslrootcert`); exists with the option `tls` only."""
        return self.cluster.certificate

    @property
    def socket_directory(self) -> Path | None:
        """The directory of the Unix socket; None when its path would be too long."""
        return self.directory if len(bytes(self.directory)) <= SOCKET_DIRECTORY_BYTES else None

    def start(self, *, detached: bool = False) -> Self:
        """Make the data directory if it does not exist, start the server and wait until it takes connections.

        Parameters
        ----------
        detached
            The server continues when this process ends; `running` finds it again by its `mark`.

        Raises
        ------
        ServerError
            The server cannot be made or started; nothing is left behind.
        """
        try:
            self._cluster = make_cluster(self._home, self._make_directory(), self.options)
            self._launch(detached=detached)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop the server immediately and remove its directory, unless it is kept. May be called again."""
        # A checkpoint takes time and is of use only to a directory that is kept.
        self._end(signal.SIGINT if self._keep else signal.SIGQUIT)
        if self._cluster is not None and not self._keep:
            self._cluster.remove()
            self._cluster = None

    def dsn(
        self, database: str = "postgres", *, user: str | None = None, password: str | None = None, **parameters: str
    ) -> str:
        """Return a connection URL, of the superuser unless another user is named; parameters are libpq's own."""
        if user is None:
            user, password = self.options.superuser, password or self.options.password
        account = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
        if self.options.tls:
            parameters = {"sslmode": "require", **parameters}
        query = f"?{urlencode(parameters, quote_via=quote)}" if parameters else ""
        return f"postgresql://{account}@127.0.0.1:{self.port}/{quote(database, safe='')}{query}"

    def create_database(self, name: str, template: str | None = None) -> str:
        """Create a database, as a copy of a template if one is named, and return its connection URL."""
        statement: sql.Composable = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        if template is not None:
            statement += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
        self._execute(statement)
        return self.dsn(name)

    def drop_database(self, name: str) -> None:
        """Drop a database if it exists, even with open connections."""
        # `WITH (FORCE)` came with PostgreSQL 13. Without it the server waits five seconds for sessions that end.
        self._execute(
            sql.SQL("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {}").format(
                sql.Literal(name)
            ),
            sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)),
        )

    def _execute(self, *statements: sql.Composable) -> None:
        # CREATE and DROP DATABASE refuse to run inside a transaction.
        with closing(psycopg2.connect(self.dsn())) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)

    def _make_directory(self) -> Path:
        if self._given_directory is None:
            return Path(tempfile.mkdtemp(prefix="coffre-postgres-"))
        self._given_directory.mkdir(parents=True, exist_ok=True)
        return self._given_directory

    def _launch(self, *, detached: bool) -> None:
        for _ in range(PORT_ATTEMPTS):
            self.port = self.options.port or free_port()
            self.cluster.log.unlink(missing_ok=True)
            if self._answers(self._spawn_detached() if detached else self._spawn()):
                return
            self._end(signal.SIGQUIT)
            said = tail_of(self.cluster.log)
            if self.options.port or "could not bind" not in said:
                break
        raise ServerError("The local PostgreSQL server did not start.", code="LOCAL_SERVER_START", detail=said)

    def _command(self) -> list[str]:
        settings = SETTINGS if self.options.durable else SETTINGS | THROWAWAY_SETTINGS
        own = {"port": str(self.port), "unix_socket_directories": str(self.socket_directory or "")}
        if self.options.tls:
            own |= {"ssl": "on", "ssl_cert_file": str(self.certificate), "ssl_key_file": str(self.cluster.key)}
        lines = {**settings, **own, **self.options.settings}
        pairs = [part for name, value in lines.items() for part in ("-c", f"{name}={value}")]
        return [self.cluster.program("postgres"), "-D", str(self.cluster.data), *pairs]

    def _spawn(self) -> ProcessMark | None:
        cluster = self.cluster
        with cluster.log.open("ab") as log:
            self._child = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=cluster.environment(),
                cwd=cluster.directory,
                # Ctrl-C in a terminal is for us, who stop the server when we are done with it.
                start_new_session=True,
                user=cluster.user,
                group=cluster.user,
                extra_groups=None if cluster.user is None else [],
            )
        return ProcessMark.of(self._child.pid)

    def _spawn_detached(self) -> ProcessMark | None:
        cluster = self.cluster
        try:
            return start_detached(
                self._command(),
                environment=cluster.environment(),
                log=cluster.log,
                directory=cluster.directory,
                user=cluster.user,
            )
        except psutil.NoSuchProcess:
            return None

    def _end(self, first: signal.Signals) -> None:
        if self.mark is not None:
            end(self.mark, first=first)
            self.mark = None
        if self._child is not None:
            self._child.wait()
            self._child = None

    def _answers(self, mark: ProcessMark | None) -> bool:
        """Wait for the server's own word in its pid file that it takes connections; False when it ended instead."""
        self.mark = mark
        deadline = time.monotonic() + START_SECONDS
        while mark is not None and mark.process() is not None and time.monotonic() < deadline:
            if _state_of(self.cluster, mark.pid) == "ready":
                return True
            time.sleep(0.005)
        return False


def _state_of(cluster: Cluster, pid: int) -> str:
    try:
        lines = (cluster.data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return ""
    written = len(lines) > STATE_LINE and lines[0].strip() == str(pid)
    return lines[STATE_LINE].strip() if written else ""
