"""An empty server that a person gives for a drill: checked before anything is made there, and left as it was.

The drill makes one database, `coffre_drill`, and roles with a comment of their own. They are removed in the end, and
what a killed drill left before the next one begins. The role of the address restores, unless it is a superuser: a
backup that someone has forged must not get programs run on that server.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final

import psycopg2
import psycopg2.extensions
from psycopg2 import sql

from coffre.model.errors import CoffreError, ConnectError, ConnectTransientError, DestinationError, DrillImpossibleError
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.connect import connect, one_line
from coffre.postgres.connection.sessions import Sessions
from coffre.postgres.destination.content import is_empty
from coffre.postgres.destination.database_identity import DatabaseIdentity, identity_of
from coffre.postgres.scratch.roles import ScratchRoles
from coffre.postgres.scratch.server import NO_SPACE

DATABASE: Final = "coffre_drill"
_MARK: Final = "made by a Coffre drill, which removes it"
_GUARD_KEY: Final = 0x64726C6C  # "drll"
_OLDEST: Final = 130000
_HAS_PREDEFINED_ROLES: Final = 140000
_GONE: Final = re.compile(r"SQLSTATE (57P0[1-5]|08)")


@dataclass(frozen=True)
class GivenServer:
    """A server whose databases are empty. `password` is of the roles that a drill makes to log in with."""

    address: Connection
    is_superuser: bool
    version_number: int
    password: str = field(repr=False)
    sessions: Sessions | None = field(default=None, repr=False)

    def connection(self, database: str, user: str | None = None) -> Connection:
        """Return how to reach a database of it."""
        found = replace(self.address.to_database(database), sessions=self.sessions)
        if user in (None, self.address.user):
            return found
        return replace(found, user=user, password=self.password, renewal=None)

    def kill(self) -> None:
        """Do nothing: it is not ours. What was made there is removed when `given_server` ends."""

    def used_bytes(self) -> int:
        """Return what the drill's database takes now; 0 if that cannot be found out."""
        try:
            with connect(replace(self.address, sessions=self.sessions)) as session, session.cursor() as cursor:
                cursor.execute("SELECT pg_database_size(datname) FROM pg_database WHERE datname = %s", (DATABASE,))
                return sum(size for (size,) in cursor.fetchall())
        except (CoffreError, psycopg2.Error):
            return 0

    def refuse_impossible(self, error: BaseException) -> None:
        """Raise when an error is not about what was restored, but about the place where it was tried.

        Raises
        ------
        DrillImpossibleError
            `SCRATCH_FULL`, `SCRATCH_SERVER_FAILED`, or the code of what prevents a restore there.
        """
        words = f"{error} {getattr(error, 'detail', '') or ''}"
        if NO_SPACE.search(words):
            raise DrillImpossibleError(
                f"The disk of the server {self.address} is too small for what the drill restores.",
                code="SCRATCH_FULL",
                hint="Nothing is known against the backup. Give a larger server.",
            ) from error
        if isinstance(error, ConnectError | ConnectTransientError) or _GONE.search(words):
            raise DrillImpossibleError(
                f"The server {self.address} went away during the drill.",
                code="SCRATCH_SERVER_FAILED",
                detail=words.strip()[:800],
                hint="Nothing is known against the backup. Is the server large enough, and was it restarted?",
            ) from error
        if isinstance(error, DestinationError):
            raise DrillImpossibleError(error.message, code=error.code, detail=error.detail, hint=error.hint) from error

    def make_roles(self, named: Iterable[str]) -> ScratchRoles:
        """Make the roles that a backup names and that the server does not have, as far as the address's role may.

        Roles that exist are not changed, and no one becomes a member of them.
        """
        wanted = sorted({name for name in named if not name.startswith("pg_")})
        with self._session() as session, session.cursor() as cursor:
            roles = self._own_roles(cursor)
            cursor.execute("SELECT rolname FROM pg_roles")
            existing = {name for (name,) in cursor.fetchall()}
            for name in wanted:
                if name not in existing and self._tried(cursor, "CREATE ROLE {} NOLOGIN", sql.Identifier(name)):
                    self._mark(cursor, name)
                    self._tried(cursor, "GRANT {} TO {}", sql.Identifier(name), sql.Identifier(roles.restorer))
                    self._let_read(cursor, name)
        return roles

    def see_forced_rows(self, database: str, user: str) -> None:
        """Let the restoring role read tables whose row level security holds for their owner too."""
        if self.is_superuser:
            return  # its restoring role bypasses row level security
        with connect(self.connection(database, user)) as session, session.cursor() as cursor:
            cursor.execute(_FORCED)
            for schema, table in cursor.fetchall():
                name = sql.Identifier(schema, table)
                cursor.execute(sql.SQL("ALTER TABLE {} NO FORCE ROW LEVEL SECURITY").format(name))
            session.commit()

    def clear(self) -> None:
        """Remove what a drill has made; raises what the server says."""
        with self._session() as session, session.cursor() as cursor:
            name = sql.Identifier(DATABASE)
            cursor.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
            cursor.execute(_MARKED_ROLES, (_MARK,))
            for (role,) in cursor.fetchall():
                cursor.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))

    def _own_roles(self, cursor: psycopg2.extensions.cursor) -> ScratchRoles:
        if not self.is_superuser:
            return ScratchRoles(self.address.user, self.address.user)
        suffix = secrets.token_hex(4)
        roles = ScratchRoles(restorer=f"drill_{suffix}", reader=f"check_{suffix}")
        for name, options in ((roles.restorer, "CREATEDB"), (roles.reader, "")):
            statement = sql.SQL("CREATE ROLE {} LOGIN BYPASSRLS {} PASSWORD {}")
            cursor.execute(statement.format(sql.Identifier(name), sql.SQL(options), sql.Literal(self.password)))
            self._mark(cursor, name)
            self._let_read(cursor, name)
        if self.version_number >= _HAS_PREDEFINED_ROLES:
            cursor.execute(sql.SQL("GRANT pg_write_all_data TO {}").format(sql.Identifier(roles.restorer)))
            return roles
        return replace(roles, reader=roles.restorer)  # no role may read all that others make

    def _let_read(self, cursor: psycopg2.extensions.cursor, role: str) -> None:
        """At the source they could read what their views read, as superusers maybe."""
        if self.version_number >= _HAS_PREDEFINED_ROLES:
            self._tried(cursor, "GRANT pg_read_all_data TO {}", sql.Identifier(role))

    def _mark(self, cursor: psycopg2.extensions.cursor, role: str) -> None:
        cursor.execute(sql.SQL("COMMENT ON ROLE {} IS {}").format(sql.Identifier(role), sql.Literal(_MARK)))

    def _tried(self, cursor: psycopg2.extensions.cursor, statement: str, *names: sql.Identifier) -> bool:
        """Execute what the role may not be allowed to do; the restore names what is missing then."""
        try:
            cursor.execute(sql.SQL(statement).format(*names))
        except psycopg2.Error:
            return False
        return True

    @contextmanager
    def _session(self) -> Iterator[psycopg2.extensions.connection]:
        # Not one of the run's sessions: these have ended when it is time to clear.
        with connect(self.address) as session:
            session.autocommit = True
            yield session


@contextmanager
def given_server(
    address: Connection, source: Callable[[], DatabaseIdentity | None], report: Callable[[str], None]
) -> Iterator[GivenServer]:
    """Check that a server can be used for a drill, let no other drill use it, and leave it empty.

    Parameters
    ----------
    address
        How to reach any database of it, as a role that may create databases.
    source
        Returns which database the backup is of, if that can be found out.
    report
        Gets a sentence for a person.

    Raises
    ------
    DrillImpossibleError
        `SCRATCH_IS_SOURCE`, `SCRATCH_NOT_EMPTY`, `SCRATCH_READ_ONLY`, `SCRATCH_RIGHTS`, `SCRATCH_TOO_OLD`,
        `SCRATCH_BUSY`: nothing was changed there. `SCRATCH_NOT_CLEARED`: what has to be removed by hand.
    ConnectError
        The server cannot be reached.
    """
    with connect(address, stays=True) as session:
        session.autocommit = True
        server = _looked_at(address, session)
        _refuse_source(address, session, source())
        _refuse_content(server, session)
        with session.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", (_GUARD_KEY,))
            if cursor.fetchall() != [(True,)]:
                raise _refused(address, "SCRATCH_BUSY", "is used by another drill now", "Wait for it.")
        try:
            _clear(server)  # what a killed drill has left
            yield server
        finally:
            report("Removing what the drill made on the server.")
            _clear(server)


def _clear(server: GivenServer) -> None:
    try:
        server.clear()
    except (CoffreError, psycopg2.Error) as error:
        words = one_line(error) if isinstance(error, psycopg2.Error) else error.message
        raise DrillImpossibleError(
            f"What drills made on the server {server.address} could not be removed.",
            code="SCRATCH_NOT_CLEARED",
            detail=words,
            hint=f"Drop the database {DATABASE} there, and the roles with the comment '{_MARK}'.",
        ) from error


def _looked_at(address: Connection, session: psycopg2.extensions.connection) -> GivenServer:
    with session.cursor() as cursor:
        cursor.execute(_RIGHTS)
        ((is_superuser, may_create, is_standby),) = cursor.fetchall()
    version = session.server_version
    if version < _OLDEST:
        raise _refused(address, "SCRATCH_TOO_OLD", f"is PostgreSQL {version // 10000}", "Give PostgreSQL 13 or newer.")
    if is_standby:
        raise _refused(address, "SCRATCH_READ_ONLY", "is a standby", "Give a server that can be written to.")
    if not may_create:
        role = f'its role "{address.user}" may not create databases'
        raise _refused(address, "SCRATCH_RIGHTS", f"cannot be used: {role}", "ALTER ROLE ... CREATEDB CREATEROLE")
    return GivenServer(address, is_superuser, version, secrets.token_urlsafe(24))


def _refuse_source(
    address: Connection, session: psycopg2.extensions.connection, source: DatabaseIdentity | None
) -> None:
    """Refuse the source's own server. A branch or a copy of it was started at another time."""
    if source is None:
        return
    session.autocommit = False
    here = identity_of(session)
    session.rollback()
    session.autocommit = True
    if replace(here, oid=source.oid).is_same(source):
        hint = "Give another one: a branch without data, or a small instance."
        raise _refused(address, "SCRATCH_IS_SOURCE", "is the one that the backup was taken of", hint)


def _refuse_content(server: GivenServer, session: psycopg2.extensions.connection) -> None:
    with session.cursor() as cursor:
        cursor.execute(_DATABASES, (DATABASE,))
        names = [name for (name,) in cursor.fetchall()]
    for name in names:
        with contextlib.suppress(ConnectError):  # a provider's own, which refuses everyone
            with connect(server.address.to_database(name)) as there:
                if is_empty(there):
                    continue
            hint = "Give an empty one: a branch without data, or a new instance. Nothing was changed there."
            raise _refused(server.address, "SCRATCH_NOT_EMPTY", f"is not empty: its database {name} has tables", hint)


def _refused(address: Connection, code: str, why: str, hint: str) -> DrillImpossibleError:
    return DrillImpossibleError(f"The server {address} {why}.", code=code, hint=hint)


_RIGHTS: Final = """
SELECT rolsuper, rolsuper OR rolcreatedb, pg_is_in_recovery() FROM pg_roles WHERE rolname = current_user
"""
_DATABASES: Final = """
SELECT datname FROM pg_database
WHERE datallowconn AND NOT datistemplate AND has_database_privilege(oid, 'CONNECT') AND datname <> %s ORDER BY 1
"""
_MARKED_ROLES: Final = """
SELECT r.rolname FROM pg_roles r JOIN pg_shdescription d ON d.objoid = r.oid AND d.classoid = 'pg_authid'::regclass
WHERE d.description = %s ORDER BY 1
"""
_FORCED: Final = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relforcerowsecurity AND c.relkind IN ('r', 'p')
"""
