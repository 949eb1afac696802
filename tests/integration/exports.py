"""Exports of backups, and loading them with nothing but PostgreSQL's own programs."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tests.integration.contents import RoundTrip, database_of

from coffre.model.backup import Backup
from coffre.operations.export.database import Exporter
from coffre.operations.export.plan import ExportPlan, plan_export
from coffre.postgres.archive.reader import Compression
from coffre.vault.codec import FrameDecoder

# The tests' servers replicate nothing; publications are made all the same.
_NO_REPLICATION = re.compile(
    r"^[^\n]*WARNING:  .?wal_level.? is insufficient to publish logical changes\nHINT:  Set [^\n]*\n", re.MULTILINE
)


@dataclass(frozen=True)
class Export:
    """One backup on its way into files."""

    round_trip: RoundTrip
    plan: ExportPlan

    @classmethod
    def of(
        cls,
        round_trip: RoundTrip,
        backup: Backup,
        *,
        tables: Sequence[str] = (),
        compression: Compression = Compression.ZSTD,
    ) -> Export:
        vault = round_trip.coffre.backup_function().services.vault
        decoder = FrameDecoder([round_trip.coffre.identity])
        return cls(round_trip, plan_export(vault, decoder, backup, tables=tables, compression=compression))

    @property
    def exporter(self) -> Exporter:
        vault = self.round_trip.coffre.backup_function().services.vault
        return Exporter(vault, self.plan, lambda count, table: None)

    def custom(self, path: Path) -> Path:
        with path.open("xb") as file:
            file.writelines(self.exporter.custom())
        return path

    def plain(self, path: Path, *, with_owners: bool = True) -> Path:
        archive = replace(self.plan.archive, compression=Compression.NONE)
        exporter = replace(self.exporter, plan=replace(self.plan, archive=archive))
        with path.open("xb") as file:
            file.writelines(exporter.plain(with_owners=with_owners))
        return path

    def directory(self, path: Path) -> Path:
        path.mkdir()
        self.exporter.directory(path)
        return path


def program(home: Path, name: str, *arguments: object, stdin: bytes = b"") -> bytes:
    """Run a client program; it must succeed and have nothing to complain about."""
    environment = {**os.environ, "LD_LIBRARY_PATH": str(home / "lib")}
    argv = [str(home / "bin" / name), *map(str, arguments)]
    done = subprocess.run(argv, env=environment, input=stdin, capture_output=True, check=False)
    words = _NO_REPLICATION.sub("", done.stderr.decode("utf-8", "replace"))
    assert (done.returncode, words) == (0, ""), words[-3000:]
    return done.stdout


@contextmanager
def another_database(round_trip: RoundTrip, suffix: str = "") -> Iterator[str]:
    """Make the copy, empty and like the source; with a suffix another one, dropped afterwards."""
    name = database_of(round_trip.copy) + suffix
    url = round_trip.server.create_database(name, template="template0")
    try:
        yield url
    finally:
        round_trip.server.drop_database(name)


def psql(home: Path, url: str, script: Path) -> None:
    """Load a script as a careful person does."""
    program(home, "psql", "-X", "-q", "-o", "/dev/null", "-v", "ON_ERROR_STOP=1", "--dbname", url, "--file", script)
