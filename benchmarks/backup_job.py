"""One backup of one database into a directory, as the function does it; the process that benchmarks measure.

Run as `python benchmarks/backup_job.py URL POSTGRES_HOME VAULT_DIRECTORY [age|none] [STREAMS]`.
"""

from __future__ import annotations

import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from ulid import ULID

from coffre.model.backup import Backup, Status, Tier
from coffre.model.target import DatabaseTarget
from coffre.operations.backup_database import Job, backup_database
from coffre.operations.lifecycle import Run
from coffre.operations.progress import Meter, Watch
from coffre.operations.runner import ThreadRunner
from coffre.postgres.connect import parse_secret
from coffre.postgres.tools import Children, PostgresTools
from coffre.stores.directory import DirectoryStore
from coffre.vault.codec import FrameEncoder, new_identity, public_key
from coffre.vault.vault import Vault


def main(url: str, home: str, vault: str, encryption: str = "age", streams: str = "2") -> None:
    """Back up and print what was stored."""
    now = datetime.now(UTC)
    children = Children()
    recipients = (public_key(new_identity()),) if encryption == "age" else ()
    backup = Backup(
        id=str(ULID.from_datetime(now)), target="bench", tiers=(Tier.MANUAL,), status=Status.IN_PROGRESS, created_at=now
    )
    meter = Meter()
    watch = Watch(meter, beat=lambda _: None, remaining_seconds=lambda: 900.0, stop=children.end_all)
    with tempfile.TemporaryDirectory() as scratch, watch:
        job = Job(
            target=DatabaseTarget(name="bench", secret="-"),
            connection=parse_secret(url, where="argument"),
            tools=PostgresTools(Path(home)),
            children=children,
            vault=Vault(DirectoryStore(Path(vault))),
            encoder=FrameEncoder(recipients, level=3),
            recipients=recipients,
            scratch=Path(scratch),
            streams=int(streams),
            runner=ThreadRunner(int(streams), children.end_all),
            now=lambda: datetime.now(UTC),
        )
        manifest, _ = backup_database(job, Run(backup, meter, watch, lambda: backup.tiers))
    print(f"{manifest.plaintext_bytes} plaintext, {manifest.stored_bytes} stored")


if __name__ == "__main__":
    main(*sys.argv[1:])
