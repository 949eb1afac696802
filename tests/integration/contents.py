"""Databases that are backed up and restored by the functions in process, and compared in every way."""

from __future__ import annotations

import difflib
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import psycopg2
import pytest

from coffre.model.backup import Backup, Restore, Status
from coffre.model.manifest import Entry, Manifest
from coffre.model.names import quoted
from coffre.model.restore_report import RestoreReport
from coffre.policy.slicing import Slice
from coffre.postgres.source.dump import SliceReader
from coffre.postgres.source.snapshot import Holder
from coffre_local.postgres_server import PostgresServer
from coffre_local.sample import fingerprint, sequences

if TYPE_CHECKING:
    from tests.integration.conftest import Coffre

# What differs between two dumps of the same schema: a random key, and when it was made.
_VOLATILE = re.compile(r"^(\\(un)?restrict .*|-- (Dumped|Started|Completed) .*)\n", re.MULTILINE)


def run(url: str, *statements: str) -> None:
    """Execute statements, each on its own."""
    with closing(psycopg2.connect(url)) as session:
        session.autocommit = True
        session.set_client_encoding("UTF8")
        with session.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    """Return what a query answers."""
    with closing(psycopg2.connect(url)) as session, session.cursor() as cursor:
        session.set_client_encoding("UTF8")
        cursor.execute(query)
        return [tuple(bytes(item) if isinstance(item, memoryview) else item for item in row) for row in cursor]


def value(url: str, query: str) -> Any:
    """Return the one value that a query answers."""
    ((answer,),) = rows(url, query)
    return answer


def schema_of(home: Path, url: str) -> str:
    """Return the whole schema as SQL: two databases with the same text have the same objects, owners and rights."""
    done = subprocess.run(
        [home / "bin" / "pg_dump", "--schema-only", "--dbname", url],
        env={**os.environ, "LD_LIBRARY_PATH": str(home / "lib")},
        capture_output=True,
        check=True,
    )
    return _VOLATILE.sub("", done.stdout.decode("utf-8", "surrogateescape"))


def database_of(url: str) -> str:
    """Return the name of the database that a URL names."""
    return unquote(urlsplit(url).path[1:])


def eventually(is_so: Callable[[], bool]) -> bool:
    """Whether it is so within a minute: servers end a session a moment after its client."""
    end = time.monotonic() + 60
    while not is_so():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def no_session_stays(url: str) -> None:
    """Require that the server has no session of Coffre's or of its client programs, in any database."""
    ours = "SELECT application_name, state, query FROM pg_stat_activity WHERE application_name ~ '^(coffre|pg_)'"
    assert eventually(lambda: not rows(url, ours)), rows(url, ours)


@dataclass(frozen=True)
class RoundTrip:
    """A source to fill, and a copy that does not exist until it is restored."""

    coffre: Coffre
    server: PostgresServer
    source: str
    copy: str
    home: Path

    def create_role(self, name: str, options: str = "") -> str:
        """Create a role, removed with the databases; returns the URL of the source as this role."""
        run(self.server.dsn(), f"CREATE ROLE {quoted(name)} {options}")
        return self.server.dsn(database_of(self.source), user=name)

    def fill(self, *statements: str) -> None:
        """Execute statements in the source."""
        run(self.source, *statements)

    def back_up(self, *, reader: str | None = None, **target: Any) -> Backup:
        """Back the source up, as the role of the URL `reader` if given; `target` goes into the configuration."""
        self.coffre.configure(reader or self.source, target=target)
        answer = self.coffre.backup()
        assert answer["status"] == "COMPLETED"
        return self.coffre.catalog.get_backup(answer["id"])

    def restore(self, backup: Backup, into: str | None = None, **scope: Any) -> RestoreReport:
        """Restore into the copy, or as the URL `into` says."""
        return self._restored(backup, into or self.copy, **scope)

    def restore_in_place(self, backup: Backup, **scope: Any) -> RestoreReport:
        """Restore tables, rows or all into the source itself, which the configuration names."""
        return self._restored(backup, None, **scope)

    def _restored(self, backup: Backup, url: str | None, **scope: Any) -> RestoreReport:
        answer = self.coffre.restore(backup.id, url, **scope)
        record: Restore = self.coffre.catalog.get_restore(answer["id"])
        assert record.status is Status.COMPLETED
        assert record.report_key is not None
        report = RestoreReport.model_validate_json(self.coffre.objects(record.report_key)[record.report_key])
        assert record.exceptions == report.exceptions
        assert answer["exceptions"] == len(report.exceptions)
        return report

    def manifest(self, backup: Backup) -> Manifest:
        """Return the manifest in the vault."""
        assert backup.manifest_key
        assert backup.manifest_sha256
        vault = self.coffre.backup_function().services.vault
        return vault.read_manifest(backup.manifest_key, sha256=backup.manifest_sha256)

    def entries(self, backup: Backup) -> list[Entry]:
        """Return the entries in the vault."""
        return list(self.coffre.backup_function().services.vault.entries(self.manifest(backup)))

    def make(self, **target: Any) -> RestoreReport:
        """Back up and restore."""
        return self.restore(self.back_up(**target))

    def assert_equal(self) -> None:
        """Rows, sequences, and every object of the schema with owners, rights and comments are the same."""
        assert fingerprint(self.copy) == fingerprint(self.source)
        assert sequences(self.copy) == sequences(self.source)
        assert self._difference() == "", self._difference()

    def assert_same_answer(self, query: str) -> list[tuple[Any, ...]]:
        """Both databases answer a query alike; returns the answer."""
        answer = rows(self.copy, query)
        assert answer == rows(self.source, query)
        return answer

    def _difference(self) -> str:
        source, copy = (schema_of(self.home, url).splitlines() for url in (self.source, self.copy))
        return "\n".join(difflib.unified_diff(source, copy, lineterm=""))


def before_locks(monkeypatch: pytest.MonkeyPatch, change: Callable[[], None], *, times: int = 1) -> list[str]:
    """Let somebody change the database after the schema was dumped and before it is looked for changes.

    Returns the snapshots of all attempts.
    """
    snapshots: list[str] = []
    take = Holder.tables

    def tables(holder: Holder, *arguments: object, **named: object) -> object:
        snapshots.append(holder.snapshot)
        if len(snapshots) <= times:
            change()
        return take(holder, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Holder, "tables", tables)
    return snapshots


def after_plan(monkeypatch: pytest.MonkeyPatch, action: Callable[[], object], *, times: int = 100) -> list[str]:
    """Let something happen when everything is planned, and no row is read yet.

    Returns the snapshots of all attempts.
    """
    snapshots: list[str] = []
    look = Holder.free_connections

    def free_connections(holder: Holder) -> int:
        snapshots.append(holder.snapshot)
        if len(snapshots) <= times:
            action()
        return look(holder)

    monkeypatch.setattr(Holder, "free_connections", free_connections)
    return snapshots


def while_reading(monkeypatch: pytest.MonkeyPatch, action: Callable[[tuple[str, ...]], object]) -> None:
    """Let something happen when the first rows of a part are there and its tables are locked; it gets their names."""
    read = SliceReader.read

    def reading(reader: SliceReader, pieces: Iterable[Slice]) -> Iterator[tuple[Slice, Iterator[memoryview]]]:
        asked = list(pieces)
        for number, answer in enumerate(read(reader, asked)):
            if number == 0:
                action(tuple(piece.table.name for piece in asked))
            yield answer

    monkeypatch.setattr(SliceReader, "read", reading)


def after_reading(monkeypatch: pytest.MonkeyPatch, action: Callable[[tuple[str, ...]], object]) -> None:
    """Let something happen when a part is read and its locks are released; it gets the names of its tables."""
    read = SliceReader.read

    def reading(reader: SliceReader, pieces: Iterable[Slice]) -> Iterator[tuple[Slice, Iterator[memoryview]]]:
        asked = list(pieces)
        yield from read(reader, asked)
        action(tuple(piece.table.name for piece in asked))

    monkeypatch.setattr(SliceReader, "read", reading)


type RoundTripOn = Callable[[PostgresServer], RoundTrip]
