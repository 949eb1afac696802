"""Where a recovery restores to: the places that a person named, or scratch places of a rehearsal."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Final, Protocol

import psycopg2

from coffre.model.errors import CoffreError, ScratchError
from coffre.model.manifest import DatabaseContent
from coffre.model.recovery import Step, StepKind
from coffre.model.words import size
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.client_tools import PostgresTools
from coffre.postgres.connection.create_database import drop_database
from coffre.postgres.scratch.roles import ScratchRoles, make_roles
from coffre.postgres.scratch.server import ScratchServer, scratch_server
from coffre_cli.commands.recover.destinations import BucketPlace, bucket_place_of, connection_of
from coffre_cli.screen import remark
from coffre_cli.server_programs import server_home

# Tables with their indexes take about this much of the backup's size, and files their own.
_DATABASE_FACTOR: Final = 2


class Ground(Protocol):
    """Where steps restore to."""

    @property
    def is_scratch(self) -> bool:
        """Whether it is removed in the end: settings have no such place, and are compared alone."""

    def database(self, step: Step, content: DatabaseContent) -> Connection:
        """Return the database that a step restores into, which need not exist."""

    def asking(self, step: Step) -> Connection:
        """Return how the owner's checks reach that database."""

    def bucket(self, step: Step) -> BucketPlace:
        """Return where a step writes objects."""


class NamedGround:
    """The places that a person named."""

    is_scratch = False

    def database(self, step: Step, content: DatabaseContent) -> Connection:
        """Return the database of the step's reference."""
        del content
        return connection_of(step.target, step.reference)

    def asking(self, step: Step) -> Connection:
        """Return the same: no other role is known."""
        return connection_of(step.target, step.reference)

    def bucket(self, step: Step) -> BucketPlace:
        """Return the place of the step's reference."""
        return bucket_place_of(step.target, step.reference)


@dataclass
class ScratchGround:
    """A scratch server, or databases of their own on a server that a person named; a directory for objects."""

    directory: Path
    server: ScratchServer | None
    given: Connection | None
    _roles: dict[str, ScratchRoles] = field(default_factory=dict)
    _made: list[Connection] = field(default_factory=list)
    is_scratch = True

    def database(self, step: Step, content: DatabaseContent) -> Connection:
        """Return a new database with a name of its own."""
        name = f"coffre_rehearsal_{step.restore_id.lower()}"
        if self.server is None:
            connection = self._outside.to_database(name)
            self._made.append(connection)
            return connection
        named = chain(content.roles, *content.policy_roles.values())
        self._roles[step.target] = make_roles(self.server, named, content.encoding)
        return self.server.connection(name, self._roles[step.target].restorer)

    def asking(self, step: Step) -> Connection:
        """Return the same database, on a scratch server as a role that can only read."""
        name = f"coffre_rehearsal_{step.restore_id.lower()}"
        if self.server is None:
            return self._outside.to_database(name)
        return self.server.connection(name, self._roles[step.target].reader)

    def bucket(self, step: Step) -> BucketPlace:
        """Return a directory of its own."""
        return BucketPlace(directory=self.directory / step.target)

    @property
    def _outside(self) -> Connection:
        if self.given is None:
            raise AssertionError
        return self.given

    def clear(self) -> None:
        """Drop what was made on a server that a person named."""
        for connection in self._made:
            with suppress(psycopg2.Error):
                try:
                    drop_database(connection)
                except CoffreError as error:
                    remark(f"The scratch database {connection} could not be dropped: {error.message} Drop it.")


@contextmanager
def scratch_ground(work: Path, reference: str | None, steps: tuple[Step, ...]) -> Iterator[ScratchGround]:
    """Give scratch places for these steps, and remove them with everything in them.

    Parameters
    ----------
    reference
        A server that may be used (as for `--to`); None: one is started here.

    Raises
    ------
    ScratchError
        `SCRATCH_FULL`: there is too little room for what will be restored.
    SettingsError
        `SERVER_PROGRAMS_MISSING`
    DrillImpossibleError
        The server does not start here.
    """
    needs_server = any(step.kind is StepKind.DATABASE for step in steps)
    refuse_little_room(work, steps, is_server_here=reference is None)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="scratch-", dir=work)))
        given = connection_of("the rehearsal", reference) if reference is not None else None
        server = None
        if needs_server and given is None:
            server = stack.enter_context(scratch_server(PostgresTools(server_home())))
        ground = ScratchGround(folder, server, given)
        stack.callback(ground.clear)
        yield ground


def refuse_little_room(work: Path, steps: tuple[Step, ...], *, is_server_here: bool) -> None:
    """Refuse a rehearsal that would fill the disk; raises `SCRATCH_FULL`."""
    needed = {work: 0, Path(tempfile.gettempdir()): 0}
    for step in steps:
        if step.kind is StepKind.BUCKET:
            needed[work] += step.size_bytes
        elif step.kind is StepKind.DATABASE and is_server_here:
            needed[Path(tempfile.gettempdir())] += _DATABASE_FACTOR * step.size_bytes
    for place, bytes_needed in needed.items():
        free = shutil.disk_usage(place).free
        if bytes_needed > free:
            raise ScratchError(
                f"The rehearsal needs about {size(bytes_needed)} in {place}, which has {size(free)} left.",
                code="SCRATCH_FULL",
                hint="Name a larger disk (--work DIR; TMPDIR for the scratch server), or another server: --scratch "
                "env:NAME",
            )
