"""One backup of one database into a directory, as the function does it; the process that benchmarks measure.

Run as `python -m benchmarks.backup_job URL POSTGRES_HOME VAULT_DIRECTORY [age|none] [STREAMS] [--timers]`.
"""

from __future__ import annotations

import json
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from time import process_time

from ulid import ULID

from benchmarks.newest import newest
from benchmarks.timers import Timers, cpu_report
from coffre.model.backup import Backup, Status, Tier
from coffre.model.database_target import DatabaseTarget
from coffre.model.manifest import Manifest
from coffre.operations.backup_database.backup import backup_database
from coffre.operations.backup_database.job import DatabaseBackupJob
from coffre.operations.runs.heartbeat import Watch
from coffre.operations.runs.parallel_map import ThreadRunner, width_for
from coffre.operations.runs.progress import Meter
from coffre.operations.runs.run import Run
from coffre.postgres.connection.client_tools import Children, PostgresTools
from coffre.postgres.connection.connection_secret import parse_secret
from coffre.stores.directory import DirectoryStore
from coffre.vault.codec import FrameEncoder
from coffre.vault.vault import Vault

# Only ever a benchmark's key: its backups are thrown away.
RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"


def run_backup(
    url: str, home: Path, directory: Path, *, recipient: str | None, streams: int, previous: Backup | None
) -> Manifest:
    """Back up once and return the manifest."""
    now = datetime.now(UTC)
    children = Children()
    recipients = (recipient,) if recipient else ()
    backup = Backup(
        id=str(ULID.from_datetime(now)), target="bench", tiers=(Tier.MANUAL,), status=Status.IN_PROGRESS, created_at=now
    )
    meter = Meter()
    watch = Watch(meter, beat=lambda _: None, remaining_seconds=lambda: 900.0, stop=children.end_all)
    with tempfile.TemporaryDirectory() as scratch, watch:
        job = DatabaseBackupJob(
            target=DatabaseTarget(name="bench", secret="-"),
            connection=parse_secret(url, where="argument"),
            tools=PostgresTools(home),
            children=children,
            vault=Vault(DirectoryStore(directory)),
            encoder=FrameEncoder(recipients, level=3),
            recipients=recipients,
            scratch=Path(scratch),
            streams=streams,
            runner=ThreadRunner(width_for(streams), children.end_all),
            now=lambda: datetime.now(UTC),
            previous=previous,
        )
        manifest, _ = backup_database(job, Run(backup, meter, watch, lambda: backup.tiers, lambda _: None))
    return manifest


def main(url: str, home: str, vault: str, encryption: str = "age", streams: str = "2", *options: str) -> None:
    """Back up, pointing at what the vault has already; print what was stored and which CPU seconds went where."""
    timers = Timers.installed(process_time()) if "--timers" in options else None
    directory = Path(vault)
    manifest = run_backup(
        url,
        Path(home),
        directory,
        recipient=RECIPIENT if encryption == "age" else None,
        streams=int(streams),
        previous=newest(directory),
    )
    report = {"plaintext_bytes": manifest.plaintext_bytes, "stored_bytes": manifest.stored_bytes}
    print(json.dumps({**report, **cpu_report(), "timers": timers.shares() if timers else {}}))


if __name__ == "__main__":
    main(*sys.argv[1:])
