"""A backup in a process that is killed when nine tenths of the tables are read.

Run as `python killed_run.py URL POSTGRES_HOME VAULT RECORDS`. RECORDS gets the run's id, and a line for each record of
what it has stored, as the catalog would.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from ulid import ULID

from coffre.model.backup import Backup, Status, Tier
from coffre.model.database_target import DatabaseTarget
from coffre.model.manifest import Manifest
from coffre.operations.backup_database.backup import backup_database
from coffre.operations.backup_database.job import DatabaseBackupJob
from coffre.operations.runs import part_recorder
from coffre.operations.runs.heartbeat import Watch
from coffre.operations.runs.parallel_map import ThreadRunner, width_for
from coffre.operations.runs.progress import Meter
from coffre.operations.runs.run import Run
from coffre.policy import slicing
from coffre.postgres.connection.client_tools import Children, PostgresTools
from coffre.postgres.connection.connection_secret import parse_secret
from coffre.stores.directory import DirectoryStore
from coffre.vault import pack
from coffre.vault.codec import FrameEncoder
from coffre.vault.vault import Vault

STREAMS = 2


def backup_job(url: str, home: Path, vault: Path, scratch: Path) -> DatabaseBackupJob:
    """A backup of `shop` into a directory, not encrypted."""
    children = Children()
    return DatabaseBackupJob(
        target=DatabaseTarget(name="shop", secret="-"),
        connection=parse_secret(url, where="argument"),
        tools=PostgresTools(home),
        children=children,
        vault=Vault(DirectoryStore(vault)),
        encoder=FrameEncoder((), level=3),
        recipients=(),
        scratch=scratch,
        streams=STREAMS,
        runner=ThreadRunner(width_for(STREAMS), children.end_all),
        now=lambda: datetime.now(UTC),
    )


def one_run(job: DatabaseBackupJob, recorded: Callable[[str, int, str], None] | None) -> Manifest:
    """Do the job; `recorded` gets the run's id, and the number and SHA-256 of each record."""
    now = datetime.now(UTC)
    backup = Backup(
        id=str(ULID.from_datetime(now)), target="shop", tiers=(Tier.MANUAL,), status=Status.IN_PROGRESS, created_at=now
    )
    meter = Meter()
    watch = Watch(meter, beat=lambda _: None, remaining_seconds=lambda: 900.0, stop=job.children.end_all)
    keep = None if recorded is None else lambda number, sha256: recorded(backup.id, number, sha256)
    with watch:
        return backup_database(job, Run(backup, meter, watch, lambda: backup.tiers, lambda _: None, keep))[0]


def die_at_nine_tenths() -> None:
    """End this process, without any clearing away, once what was stored until then is recorded."""
    add, looks, looked = Meter.add, [0], threading.Condition()
    record = part_recorder.PartRecorder._record

    def record_and_count(self: part_recorder.PartRecorder, seconds: float = math.inf) -> None:
        record(self, seconds)
        with looked:
            looks[0] += 1
            looked.notify_all()

    def add_and_die(self: Meter, **done: object) -> None:
        add(self, **done)  # type: ignore[arg-type]
        progress = self.read()
        if progress.done_bytes >= 0.9 * progress.total_bytes > 0:
            with looked:
                seen = looks[0]
                looked.wait_for(lambda: looks[0] >= seen + 2)
            os.kill(os.getpid(), signal.SIGKILL)

    part_recorder.PartRecorder._record = record_and_count  # type: ignore[method-assign]
    Meter.add = add_and_die  # type: ignore[method-assign]


def main(url: str, home: str, vault: str, records: str) -> None:
    """Back up, and die."""
    pack.PACK_SIZE_BYTES = 64 * 1024  # type: ignore[misc]
    slicing.SLICE_BLOCKS = 24  # type: ignore[misc]
    part_recorder.FIRST_AFTER_SECONDS = part_recorder.EVERY_SECONDS = 0.05  # type: ignore[misc]
    die_at_nine_tenths()
    known: list[str] = []

    def recorded(backup_id: str, number: int, sha256: str) -> None:
        known.append(json.dumps([number, sha256]))
        Path(records).write_text("\n".join([backup_id, *known]))

    with tempfile.TemporaryDirectory() as scratch:
        one_run(backup_job(url, Path(home), Path(vault), Path(scratch)), recorded)


if __name__ == "__main__":
    main(*sys.argv[1:])
