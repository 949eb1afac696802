"""The data directory of a local PostgreSQL server, owned by the user that the server runs as.

PostgreSQL refuses to run as root. There it runs as `nobody` (65534), from a copy of the programs when that user cannot
reach the original.
"""

import datetime
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from coffre_local.certificate import write_certificate
from coffre_local.errors import ServerError
from coffre_local.processes import minimal_environment
from coffre_local.program_files import copy_tree

NOBODY = 65534


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How a server is made and run.

    Parameters
    ----------
    superuser, password
        The first role. Without a password everyone who reaches 127.0.0.1 is trusted; with one, SCRAM is asked for.
    durable
        False: faster, and a crash of the machine may spoil the data.
    tls
        TCP connections need TLS; the certificate is self-signed. Takes binaries with TLS (not the embedded ones).
    settings
        Values of the configuration that replace ours.
    port
        0 for a free one.
    """

    superuser: str = "postgres"
    password: str | None = field(default=None, repr=False)
    durable: bool = False
    tls: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    port: int = 0


@dataclass(frozen=True, slots=True)
class Cluster:
    """Programs and a directory for one server, both usable by the user (and group) it runs as; None is the caller."""

    home: Path
    directory: Path
    user: int | None

    @property
    def data(self) -> Path:
        """What `initdb` made."""
        return self.directory / "data"

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.directory / "server.log"

    @property
    def certificate(self) -> Path:
        """The server's certificate and its own authority."""
        return self.directory / "server.crt"

    @property
    def key(self) -> Path:
        """The key of the certificate."""
        return self.directory / "server.key"

    def program(self, name: str) -> str:
        """Return the path of one of PostgreSQL's programs."""
        return str(self.home / "bin" / name)

    def environment(self) -> dict[str, str]:
        """Return the environment of PostgreSQL's programs: nothing of the user's `PG...` variables."""
        return minimal_environment(LD_LIBRARY_PATH=str(self.home / "lib"), HOME=str(self.directory))

    def remove(self) -> None:
        """Remove the directory with its contents."""
        shutil.rmtree(self.directory, ignore_errors=True)


def make_cluster(home: Path, directory: Path, options: ServerOptions) -> Cluster:
    """Make a data directory below `directory`, or use the existing one.

    Raises
    ------
    ServerError
        The directory cannot be used by the user that the server must run as, or `initdb` failed.
    """
    user = NOBODY if os.geteuid() == 0 else None
    if user is not None:
        os.chown(directory, user, user)
        home = _reachable_programs(home, directory)
    cluster = Cluster(home=home, directory=directory, user=user)
    if not (cluster.data / "PG_VERSION").exists():
        _initialise(cluster, options)
    return cluster


def _reachable_programs(home: Path, directory: Path) -> Path:
    closed = _first_closed(directory.parent)
    if closed is not None:
        raise ServerError(
            f"PostgreSQL does not run as root, and no other user can enter {closed}.",
            code="LOCAL_SERVER_DIRECTORY",
            hint="Choose a directory below /tmp, or set TMPDIR to one that every user can enter.",
        )
    programs = (home / "bin", (home / "bin").resolve())
    if all(_first_closed(place) is None for place in programs) and _is_open(home / "bin" / "postgres"):
        return home
    copy = directory / "programs"
    if not copy.exists():
        copy_tree(home, copy)
    return copy


def _first_closed(directory: Path) -> Path | None:
    """Return the first of a directory and its parents that not every user may enter."""
    for place in (directory, *directory.parents):
        if not place.stat().st_mode & 0o001:
            return place
    return None


def _is_open(program: Path) -> bool:
    return program.stat().st_mode & 0o005 == 0o005


def _initialise(cluster: Cluster, options: ServerOptions) -> None:
    arguments = ["--no-sync", "--locale=C", "--encoding=UTF8", f"--username={options.superuser}"]
    password_file = cluster.directory / "password"
    if options.password is None:
        arguments += ["--auth=trust"]
    else:
        password_file.touch(mode=0o600)
        password_file.write_text(f"{options.password}\n")
        _give(cluster, password_file)
        arguments += ["--auth=scram-sha-256", f"--pwfile={password_file}"]
    try:
        _initdb(cluster, arguments)
    finally:
        password_file.unlink(missing_ok=True)
    if options.tls:
        for path in write_certificate(cluster.directory, now=datetime.datetime.now(datetime.UTC)):
            _give(cluster, path)
        _refuse_plain_tcp(cluster.data / "pg_hba.conf")


def _initdb(cluster: Cluster, arguments: list[str]) -> None:
    result = subprocess.run(
        [cluster.program("initdb"), *arguments, f"--pgdata={cluster.data}"],
        capture_output=True,
        text=True,
        check=False,
        env=cluster.environment(),
        cwd=cluster.directory,
        user=cluster.user,
        group=cluster.user,
        extra_groups=None if cluster.user is None else [],
    )
    if result.returncode:
        raise ServerError(
            "The data directory of the local PostgreSQL cannot be made.",
            code="LOCAL_SERVER_INITDB",
            detail=(result.stderr or result.stdout).strip(),
        )


def _give(cluster: Cluster, path: Path) -> None:
    if cluster.user is not None:
        os.chown(path, cluster.user, cluster.user)


def _refuse_plain_tcp(rules: Path) -> None:
    lines = rules.read_text().splitlines()
    rules.write_text(
        "".join(f"{line.replace('host', 'hostssl', 1) if line.startswith('host') else line}\n" for line in lines)
    )
