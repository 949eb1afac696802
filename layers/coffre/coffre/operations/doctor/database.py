"""The facts of a database target, read as a backup would: with its secret, address, role and sessions."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Final

import psycopg2
import psycopg2.extensions

from coffre.model.backup import Backup, Failure
from coffre.model.database_target import DatabaseTarget
from coffre.model.errors import CoffreError, ConnectError
from coffre.model.journal_options import JournalOptions
from coffre.operations.doctor.checkup import Reader
from coffre.policy.checks.activity import Activity
from coffre.policy.checks.address import Address, DatabaseSecret, address_ipv6_only
from coffre.policy.checks.check import Unread
from coffre.policy.checks.contents import Contents
from coffre.policy.checks.endpoint import Endpoint, Sharing, SnapshotExport, Standby
from coffre.policy.checks.extensions import Collations, Extensions
from coffre.policy.checks.journal import JournalServer
from coffre.policy.checks.login import Encryption, Login
from coffre.policy.checks.managed import Managed, Sealed
from coffre.policy.checks.publication import JournalPublication
from coffre.policy.checks.role import Role, Settings, Unreadable
from coffre.policy.checks.server import Server
from coffre.policy.checks.time_limit import Provider, Runs, Volume
from coffre.policy.patterns import schema_pattern, table_pattern
from coffre.policy.profiles import Profile, all_profiles, detect, fits
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.connect import connect, one_line
from coffre.postgres.connection.provider_facts import read_provider_facts
from coffre.postgres.inspection.activity import read_activity
from coffre.postgres.inspection.contents import (
    Chosen,
    read_collations,
    read_extensions,
    read_managed,
    read_relations,
    read_sealed,
)
from coffre.postgres.inspection.journal import read_journal_server
from coffre.postgres.inspection.server import (
    read_encryption,
    read_role,
    read_server,
    read_settings,
)
from coffre.postgres.inspection.sessions import Query, limit, reading, several, shared_process
from coffre.postgres.journal import pgoutput
from coffre.postgres.journal.publication_facts import read_journal_publication

_RUNS_LOOKED_AT: Final = 5
# An RDS token is a signed request; a password of a person's is none.
_IAM_TOKEN: Final = re.compile(r"X-Amz-Signature=|Action=connect&DBUser=")
# An address of the IPv6 internet. Connecting a datagram socket sends nothing: it only looks for a route.
_SOMEWHERE_IPV6: Final = ("2000::1", 9)


@dataclass(frozen=True)
class DatabaseLook:
    """What doctor needs to look at a database.

    Parameters
    ----------
    connection
        Reads the target's secret and settings, and returns how to reach the database; raises what doing so raises.
    client_version
        Returns the version of `pg_dump`.
    backups
        The target's newest complete backups, newest first.
    streams
        How many sessions read tables in a backup.
    """

    target: DatabaseTarget
    connection: Callable[[], Connection]
    client_version: Callable[[], tuple[int, int]]
    backups: Callable[[], Sequence[Backup]]
    streams: int
    now: Callable[[], datetime]

    def readers(self, stack: ExitStack) -> Iterator[Reader]:
        """Yield the readers, in order: what one finds out decides whether the next has anything to read.

        Parameters
        ----------
        stack
            Keeps the session that most of them use open.
        """
        way = _Way(self)
        yield Reader((DatabaseSecret, Address), way.read_address)
        yield Reader((Login, Sharing, Encryption), lambda: way.read_login(stack))
        yield Reader((Server, Standby), lambda: read_server(way.query, self.client_version(), self.now))
        yield Reader((Role,), lambda: [read_role(way.query)])
        yield Reader((Provider,), lambda: [Provider(way.profile.name, way.connection.host)])
        yield Reader((Settings,), lambda: [read_settings(way.query)])
        yield Reader((SnapshotExport, Endpoint), lambda: self._several(way))
        yield Reader((Contents, Unreadable, Volume), lambda: read_relations(way.query, _chosen_by(self.target)))
        yield Reader((Extensions,), lambda: [read_extensions(way.query, self._settled(way.profile))])
        yield Reader((Collations,), lambda: [read_collations(way.query, way.version_number)])
        yield Reader((Managed,), lambda: [read_managed(way.query, _chosen_by(self.target), way.profile)])
        yield Reader((Sealed,), lambda: [read_sealed(way.query)])
        yield Reader((Activity,), lambda: [read_activity(way.query)])
        if self.target.journal is not None:
            yield from self._of_journal(way, self.target.journal)
        yield Reader((Runs,), lambda: [self._runs()])

    def journal_readers(self, stack: ExitStack, journal: JournalOptions, slots: int) -> Iterator[Reader]:
        """Yield the readers of what a journal needs that the target does not have yet.

        Parameters
        ----------
        slots
            How many slots are to be made on the server, if not all exist: for its other databases, too.
        """
        way = _Way(self)
        yield Reader((DatabaseSecret, Address), way.read_address)
        yield Reader((Login, Sharing, Encryption), lambda: way.read_login(stack))
        yield Reader((Provider,), lambda: [Provider(way.profile.name, way.connection.host)])
        yield from self._of_journal(way, journal, slots)

    def _of_journal(self, way: _Way, journal: JournalOptions, slots: int = 1) -> Iterator[Reader]:
        is_published = self._plugin(way, journal) == pgoutput.PLUGIN
        yield Reader(
            (JournalServer,),
            lambda: [read_journal_server(way.query, journal, is_published=is_published, wanted_slots=slots)],
        )
        if is_published:
            yield Reader((JournalPublication,), lambda: [read_journal_publication(way.query)])

    def _several(self, way: _Way) -> Iterator[object]:
        export, endpoint = several(way.connection, way.query, self.streams)
        yield export
        yield endpoint or (Endpoint, Unread("No snapshot could be exported, so none could be looked for."))

    def _plugin(self, way: _Way, journal: JournalOptions) -> str:
        """Return the output plugin of the journal, as a drain chooses it, once the readers before have their facts."""
        if journal.plugin != "auto":
            return journal.plugin
        try:
            return way.profile.journal_plugin
        except CoffreError:  # the server was not reached: what needs it says so
            return all_profiles()[self.target.provider].journal_plugin if self.target.provider != "auto" else "unknown"

    def _runs(self) -> Runs:
        read = [
            (one.plaintext_bytes, one.duration_ms / 1000)
            for one in self.backups()[:_RUNS_LOOKED_AT]
            if one.plaintext_bytes is not None and one.duration_ms is not None
        ]
        return Runs(tuple(read))

    def _settled(self, profile: Profile) -> Chosen:
        """Return whether a backup stores a table of an extension all the same, or needs none of its rows."""
        stored = [table_pattern(one) for one in self.target.tables.include_members]
        transient = profile.rows.transient_members
        return lambda schema, name: any(one(schema, name) for one in stored) or fits(f"{schema}.{name}", transient)


def _chosen_by(target: DatabaseTarget) -> Chosen:
    """Return whether the target's patterns take a relation, as `pg_dump` understands them."""
    schemas_out = [schema_pattern(one) for one in target.schemas.exclude]
    schemas_in = [schema_pattern(one) for one in target.schemas.include]
    tables_out = [table_pattern(one) for one in target.tables.exclude]
    tables_in = [table_pattern(one) for one in target.tables.include]

    def chosen(schema: str, name: str) -> bool:
        if any(one(schema) for one in schemas_out) or any(one(schema, name) for one in tables_out):
            return False
        if tables_in:
            return any(one(schema, name) for one in tables_in)
        return not schemas_in or any(one(schema) for one in schemas_in)

    return chosen


class _Way:
    """The way to the server, as far as it was gone; what comes later raises what stopped it."""

    def __init__(self, look: DatabaseLook) -> None:
        self._look = look
        self._connection: Connection | None = None
        self._session: psycopg2.extensions.connection | None = None
        self._query: Query | None = None
        self._stopped: CoffreError | None = None

    @property
    def connection(self) -> Connection:
        if self._connection is None:
            raise self._stopped or ConnectError("The database's address is not known.")
        return self._connection

    @cached_property
    def profile(self) -> Profile:
        return detect(read_provider_facts(self.query, self.connection.host), self._look.target.provider)

    @property
    def version_number(self) -> int:
        return self._session.server_version if self._session else 0

    def query(self, statement: str, parameters: dict[str, object] | None = None) -> list[tuple[object, ...]]:
        """Ask the session that reads; errors of the server are Coffre's."""
        if self._query is None:
            raise self._stopped or ConnectError("The database was not reached.")
        try:
            return self._query(statement, parameters)
        except psycopg2.Error as error:
            raise ConnectError("The server did not answer a question.", detail=one_line(error)) from error

    def read_address(self) -> Iterator[object]:
        reference = self._look.target.secret
        try:
            self._connection = self._look.connection()
        except CoffreError as error:
            self._stopped = error
            yield DatabaseSecret(reference, Failure.of(error))
            raise
        connection = self._connection
        yield DatabaseSecret(reference, has_iam_token=_IAM_TOKEN.search(connection.password) is not None)
        address = Address(
            connection.host,
            connection.port,
            connection.user,
            connection.place,
            addresses_of(connection.host, connection.port),
            has_ipv6(),
        )
        yield address
        if list(address_ipv6_only.judge(address)):
            self._stopped = ConnectError("The host has only an IPv6 address.", code="ADDRESS_IPV6_ONLY")
        elif address.is_transaction_pooler:
            self._stopped = _pooled()

    def read_login(self, stack: ExitStack) -> Iterator[object]:
        if self._stopped is not None:
            if self._stopped.code == "POOLER_TRANSACTION":
                yield Sharing(same_process=None)
            raise self._stopped
        connection = self.connection
        try:
            sharing = shared_process(connection)
            if not sharing.same_process:
                self._session = stack.enter_context(connect(connection))
        except CoffreError as error:
            self._stopped = error
            yield Login(Failure.of(error))
            raise
        yield Login()
        yield sharing
        if self._session is None:
            self._stopped = _pooled()
            raise self._stopped
        self._query = stack.enter_context(reading(self._session))
        limit(self._session)
        yield read_encryption(self._session, connection, self._look.now())


def _pooled() -> ConnectError:
    return ConnectError("This is not looked at through a transaction pooler.", code="POOLER_TRANSACTION")


def addresses_of(host: str, port: int) -> tuple[str, ...]:
    """Return the addresses of a host; none of a path, or of a name that is not known."""
    if host.startswith("/"):
        return ()
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return ()
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


def has_ipv6() -> bool:
    """Return whether there is a route to the IPv6 internet. Nothing is sent."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.connect(_SOMEWHERE_IPV6)
    except OSError:
        return False
    return True
