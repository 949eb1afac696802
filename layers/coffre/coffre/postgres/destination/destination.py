"""The database that a restore loads into: created for it, or checked to be empty, before anything is changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

import psycopg2
import psycopg2.errors
import psycopg2.extensions

from coffre.model.errors import CoffreError, ConnectError, DestinationError
from coffre.model.manifest import DatabaseContent
from coffre.model.provider import Provider
from coffre.policy.profiles import Profile, detect, plain
from coffre.postgres.archive import sql_ascii
from coffre.postgres.archive.toc import Capabilities
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.connect import connect
from coffre.postgres.connection.create_database import (
    create_database,
    drop_created,
    maintenance_session,
    refuse_older_server,
)
from coffre.postgres.connection.provider_facts import read_provider_facts
from coffre.postgres.destination import marks, unfinished_restore
from coffre.postgres.destination.content import is_empty, refuse_content
from coffre.postgres.destination.encodings import refuse_encoding
from coffre.postgres.destination.restore_lock import end_earlier, guarded, is_ours, taken_over


@dataclass(frozen=True)
class Destination:
    """A database that is ready to be loaded into.

    `given` are its schemas that existed before the restore and that its provider makes or fills. `is_marked` says that
    it keeps marks of what is done; `is_ours` asks whether no other attempt of the restore has taken it over.
    """

    connection: Connection
    version_number: int
    capabilities: Capabilities
    schemas: frozenset[str]
    roles: frozenset[str]
    member_of: frozenset[str]
    extensions_available: frozenset[str]
    may_create: bool
    created: bool
    exceptions: tuple[str, ...] = ()
    leftovers: tuple[str, ...] = ()
    profile: Profile = field(default_factory=plain)
    given: frozenset[str] = frozenset()
    is_marked: bool = False
    is_ours: Callable[[], bool] = lambda: True

    def refuse_reader(self) -> None:
        """Refuse a role that may only read: the one that takes backups, as a rule.

        Raises
        ------
        DestinationError
            Code `DESTINATION_READ_ONLY`.
        """
        if not self.may_create:
            raise DestinationError(
                f'The role "{self.connection.user}" may not create anything in {self.connection}.',
                code="DESTINATION_READ_ONLY",
                hint="Nothing was changed. Give an address whose role owns the tables: --to env:DESTINATION.",
            )


@contextmanager
def open_destination(
    connection: Connection,
    content: DatabaseContent,
    *,
    restore_id: str,
    dry_run: bool = False,
    restart: bool = False,
    provider: Provider = "auto",
    continues: bool = False,
    keeps: Callable[[Exception], bool] = lambda _: False,
) -> Iterator[Destination]:
    """Give the destination, an existing empty database or a new one, which no other restore loads into meanwhile.

    When the block ends in an error, a database that was created for it is dropped again; an existing one stays marked
    as unfinished, so that the restore can be started again.

    Parameters
    ----------
    restore_id
        Of the restore that fills it.
    dry_run
        Create and remove nothing: a database that does not exist is described as it would be.
    restart
        Remove what an unfinished restore has left in the database.
    provider
        Whose server it is. What the provider makes in every database does not count as content.
    continues
        An earlier attempt of this restore may have begun to fill it. What it knows it has done stays; without such
        knowledge, what it left is removed.
    keeps
        Whether an error leaves the database as it is, for the next attempt of this restore.

    Raises
    ------
    DestinationError
        `DESTINATION_NOT_EMPTY`, `DESTINATION_TOO_OLD`, `DESTINATION_ENCODING`, `DESTINATION_BUSY` or
        `CREATE_DATABASE_FAILED`. Nothing was changed then.
    ConnectError
        When the server cannot be used.
    """
    if dry_run and not exists(connection):
        with maintenance_session(connection) as session:
            refuse_older_server(connection, session.server_version, content)
            yield _look(connection, session, profile_of(connection, session, provider), created=True)
        return
    earlier = taken_over(connection, restore_id) if continues and not dry_run and exists(connection) else None
    exceptions = None if exists(connection) else create_database(connection, content)
    created = exceptions is not None or (earlier is not None and earlier.created)
    # Under the guard, or two restores could both find it empty, and one could drop what the other loads into.
    with guarded(connection) as session:
        if not created:
            _refuse_unfit(connection, session, content)
        profile = profile_of(connection, session, provider)
        leftovers: tuple[str, ...] = ()
        if earlier is not None and marks.STATE in marks.kinds(session):
            is_marked = True
        else:
            if exceptions is None:
                restart = restart or earlier is not None
                leftovers = _leftovers(connection, session, profile, dry_run=dry_run, restart=restart)
            # A new one too: if this process dies, the mark proves whose the rows are.
            is_marked = not dry_run and unfinished_restore.begin(session, restore_id, created=created)
        try:
            looked = _look(connection, session, profile, created=created, exceptions=exceptions or ())
            yield replace(looked, leftovers=() if created else leftovers, is_marked=is_marked and continues)
        except Exception as error:
            if keeps(error) or not is_ours(connection, session):
                raise
            if created:
                drop_created(connection, error)
            elif not dry_run:
                _say_what_is_left(connection, error, restore_id if is_marked else None, continues=continues)
            raise
        if is_marked:
            unfinished_restore.end(session)


def profile_of(connection: Connection, session: psycopg2.extensions.connection, provider: Provider) -> Profile:
    """Return the profile of the server that a session is open to."""

    def query(statement: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        with session.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall()

    return detect(read_provider_facts(query, connection.host), provider)


def _leftovers(
    connection: Connection, session: psycopg2.extensions.connection, profile: Profile, *, dry_run: bool, restart: bool
) -> tuple[str, ...]:
    """Make sure that the database is empty, and return what an unfinished restore has left, which is removed."""
    found = unfinished_restore.find(session)
    left = tuple(f"{kind} {name}" for kind, name in unfinished_restore.leftovers(session, found)) if found else ()
    if found is None or not restart:
        refuse_content(connection, session, profile, found)
        return ()
    if not dry_run:
        unfinished_restore.clear(session, found)
        refuse_content(connection, session, profile, None)
    return left


@contextmanager
def open_existing(
    connection: Connection, content: DatabaseContent, provider: Provider = "auto", *, continues: bool = False
) -> Iterator[Destination]:
    """Give a database that is in use, into which no other restore loads meanwhile.

    With `continues`, the sessions of an earlier attempt of this restore are ended first.

    Raises
    ------
    DestinationError
        `DESTINATION_TOO_OLD`, `DESTINATION_ENCODING` or `DESTINATION_BUSY`. Nothing was changed then.
    ConnectError
        When the server cannot be used, or the database does not exist.
    """
    if continues:
        end_earlier(connection)
    with guarded(connection) as session:
        _refuse_unfit(connection, session, content)
        looked = _look(connection, session, profile_of(connection, session, provider), created=False)
        yield replace(looked, is_ours=lambda: is_ours(connection, session))


def exists(connection: Connection) -> bool:
    try:
        with connect(connection):
            return True
    except ConnectError as error:
        if error.code != "DATABASE_MISSING":
            raise
        return False


def _look(
    connection: Connection,
    session: psycopg2.extensions.connection,
    profile: Profile,
    *,
    created: bool,
    exceptions: tuple[str, ...] = (),
) -> Destination:
    with session.cursor() as cursor:
        schemas = _names(cursor, "SELECT nspname FROM pg_namespace")
        return Destination(
            connection=connection,
            version_number=session.server_version,
            capabilities=Capabilities(_answers(cursor, _IS_SUPERUSER), connection.user),
            schemas=schemas,
            roles=_role_names(cursor, _ROLES),
            member_of=_role_names(cursor, _ACTS_FOR.format("SET" if session.server_version >= 160000 else "MEMBER")),
            extensions_available=_names(cursor, "SELECT name FROM pg_available_extensions"),
            may_create=_answers(cursor, "SELECT has_database_privilege(current_database(), 'CREATE')"),
            created=created,
            exceptions=exceptions,
            profile=profile,
            given=frozenset() if created else frozenset(filter(profile.is_known, schemas)),
        )


def _say_what_is_left(connection: Connection, error: Exception, marked_by: str | None, *, continues: bool) -> None:
    try:
        with connect(connection) as session:
            if is_empty(session):
                return
        how = "empty it first"
        if marked_by is not None:
            how = "the same restore with --restart removes that and begins again"
            how += f"; with --resume {marked_by} it continues" * continues
        error.add_note(f"The database {connection} holds a part of the backup: {how}.")
    except (CoffreError, psycopg2.Error):
        error.add_note(f"The database {connection} may hold a part of the backup: look before you try again.")


def _refuse_unfit(connection: Connection, session: psycopg2.extensions.connection, content: DatabaseContent) -> None:
    refuse_older_server(connection, session.server_version, content)
    with session.cursor() as cursor:
        refuse_encoding(connection, cursor, content)


def _answers(cursor: psycopg2.extensions.cursor, query: str) -> bool:
    cursor.execute(query)
    row = cursor.fetchone()
    return bool(row and row[0])


def _role_names(cursor: psycopg2.extensions.cursor, query: str) -> frozenset[str]:
    """Return names of roles, which all databases of a server share: they may be bytes of another one's encoding."""
    cursor.execute(query)
    names = [bytes(name) for (name,) in cursor.fetchall()]
    if cursor.connection.encoding == sql_ascii.ENCODING.replace("_", ""):
        return frozenset(map(sql_ascii.text_of, names))
    return frozenset(name.decode("utf-8", "replace") for name in names)


def _names(cursor: psycopg2.extensions.cursor, query: str) -> frozenset[str]:
    cursor.execute(query)
    return frozenset(str(name) for (name,) in cursor.fetchall())


_ROLES: Final = "SELECT pg_catalog.textsend(rolname::text) FROM pg_roles"
_IS_SUPERUSER: Final = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
# The roles that one can give things to and then fill these things. Since PostgreSQL 16 a membership may carry neither.
_ACTS_FOR: Final = """
SELECT pg_catalog.textsend(rolname::text) FROM pg_roles
WHERE pg_has_role(current_user, oid, 'USAGE') AND pg_has_role(current_user, oid, '{}')
"""
