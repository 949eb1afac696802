"""Restoring definitions from an archive: `pg_restore`, and the one complaint of it that is tolerated."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import psycopg2
import psycopg2.extensions

from coffre.model.errors import RestoreError
from coffre.postgres.archive import TocEntry
from coffre.postgres.connect import conninfo_of, one_line
from coffre.postgres.destination import Destination
from coffre.postgres.load import connection_lost
from coffre.postgres.refusals import CONNECTION_LOST
from coffre.postgres.tools import Child, Children, PostgresTools, output_of

# pg_restore 18 sets a parameter that servers below 17 do not know; the only complaint that is ever tolerated
# (field note 7).
_TOLERATED: Final = re.compile(
    r"could not execute query: ERROR:  unrecognized configuration parameter \"transaction_timeout\"\n"
    r"(?:Command was: )?(?:pg_restore: detail: Command was: )?SET transaction_timeout = 0;"
)
_NEW_PARAMETER: Final = "SET transaction_timeout = 0;\n"
# psql's own commands around a script (field note 8): the first and the last line that is no comment.
_RESTRICT: Final = re.compile(r"\A((?:--[^\n]*\n|\n)*)\\restrict (\w+)\n(.*)\n\\unrestrict \2\n\s*\Z", re.DOTALL)
_IGNORED_COUNT: Final = re.compile(r"errors ignored on restore: (\d+)")
# What stands around messages. Parallel workers share stderr, and only each piece is written at once: the pieces of two
# messages can stand in any order, so they are taken away one by one, and nothing else may be left.
_AROUND: Final = re.compile(
    r"pg_restore:|error:|warning:|while (?:INITIALIZING|PROCESSING TOC|FINALIZING):|from TOC entry [^\n]*|\s"
)


class SchemaLoader:
    """Runs `pg_restore` for chosen lines of an archive. The first error that is not tolerated stops it.

    Parameters
    ----------
    with_owners
        Whether owners and rights are restored as dumped (all roles exist) or not at all.
    """

    def __init__(
        self, tools: PostgresTools, children: Children, destination: Destination, *, with_owners: bool, jobs: int
    ) -> None:
        self._tools = tools
        self._children = children
        self._destination = destination
        self._with_owners = with_owners
        self._jobs = jobs

    def restore(self, archive: Path, section: str, toc: Iterable[TocEntry]) -> None:
        """Restore one section (`pre-data` or `post-data`) of an archive.

        Raises
        ------
        RestoreError
            With pg_restore's own words about the statement that failed.
        """
        chosen = archive.with_suffix(".list")
        chosen.write_text("".join(f"{entry.dump_id};\n" for entry in toc))
        argv = [*self._command(section), f"--use-list={chosen}"]
        if section == "post-data":
            argv.append(f"--jobs={self._jobs}")
        self._run([*argv, str(archive)])

    def script(self, archive: Path, section: str, toc: Iterable[TocEntry]) -> str:
        """Return the SQL that `restore` would run, for a session of our own."""
        chosen = archive.with_suffix(".list")
        chosen.write_text("".join(f"{entry.dump_id};\n" for entry in toc))
        argv = [self._tools.program("pg_restore"), f"--section={section}", f"--use-list={chosen}", "--file=-"]
        with output_of(
            self._children, [*argv, *self._options(), str(archive)], self._tools.environment(), None
        ) as stdout:
            text = stdout.read().decode("utf-8", "surrogateescape")
        text = _RESTRICT.sub(r"\3", text)
        return text if self._destination.version_number >= 170000 else text.replace(_NEW_PARAMETER, "", 1)

    def execute(
        self,
        cursor: psycopg2.extensions.cursor,
        archive: Path,
        section: str,
        toc: Iterable[TocEntry],
        encoding: str,
    ) -> None:
        """Restore one section of an archive in a transaction of our own. `encoding` is the source's."""
        text = self.script(archive, section, toc).encode("utf-8", "surrogateescape")
        # A server takes all statements that are sent at once as text in the encoding that counts before the first one.
        cursor.execute("SELECT set_config('client_encoding', %s, false)", (encoding,))
        try:
            cursor.execute(text)
        except psycopg2.Error as error:
            if cursor.connection.closed:
                raise
            raise RestoreError(
                f"The schema could not be restored into {self._destination.connection}.",
                code="SCHEMA_FAILED",
                detail=one_line(error),
                hint="The detail is the server's own explanation. Often an extension or a role is missing there.",
            ) from error
        cursor.execute("SELECT pg_catalog.set_config('client_encoding', %s, false)", (cursor.connection.encoding,))

    def restore_data(self, archive: Iterable[bytes]) -> None:
        """Restore the data section of an archive that is read as it comes: nothing of it is kept.

        Raises
        ------
        RestoreError
            With pg_restore's own words; what reading the archive raises is raised as it is.
        """
        self._run(self._command("data"), archive)

    def _command(self, section: str) -> list[str]:
        argv = [
            self._tools.program("pg_restore"),
            "--no-password",
            "--format=custom",
            f"--dbname={conninfo_of(self._destination.connection.database)}",
            f"--section={section}",
            *self._options(),
        ]
        if self._destination.version_number >= 170000:
            argv.append("--exit-on-error")
        return argv

    def _options(self) -> list[str]:
        """Return what is left out in whatever way an archive is restored."""
        # Tablespaces belong to a machine's disks: no managed server has the source's.
        return ["--no-tablespaces", *([] if self._with_owners else ["--no-owner", "--no-privileges"])]

    def _run(self, argv: Sequence[str], archive: Iterable[bytes] = ()) -> None:
        environment = self._tools.environment(self._destination.connection)
        child = self._children.start(argv, environment, stdin=subprocess.PIPE)
        try:
            _feed(child, archive)
            status = child.wait()
            text = child.complaint()
        finally:
            self._children.forget(child)
        if status != 0 and not (self._destination.version_number < 170000 and only_tolerated(text)):
            if re.search(CONNECTION_LOST, text):
                raise connection_lost(self._destination.connection, text[-800:])
            raise RestoreError(
                f"pg_restore could not restore the schema into {self._destination.connection}.",
                code="SCHEMA_FAILED",
                detail=text[-1500:] or f"exit status {status}",
                hint="The detail names the statement. Often an extension or a role is missing at the destination.",
            )


def _feed(child: Child, archive: Iterable[bytes]) -> None:
    if child.stdin is None:
        raise AssertionError
    # A child that ended early says why with its status and on stderr.
    with contextlib.suppress(BrokenPipeError), child.stdin as pipe:
        for chunk in archive:
            view = memoryview(chunk)
            while view:
                view = view[pipe.write(view) or 0 :]


def only_tolerated(stderr: str) -> bool:
    """Whether every complaint of a pg_restore is the one about `transaction_timeout`."""
    rest, tolerated = _TOLERATED.subn("", stderr)
    ignored = sum(int(count) for count in _IGNORED_COUNT.findall(rest))
    return tolerated > 0 and ignored <= tolerated and not _AROUND.sub("", _IGNORED_COUNT.sub("", rest))
