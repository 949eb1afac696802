"""One restore from a vault directory, as the function does it; the process that benchmarks measure.

Run as `python -m benchmarks.restore_job URL POSTGRES_HOME VAULT_DIRECTORY IDENTITY [STREAMS]`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks.backup_job import newest
from coffre.operations.progress import Meter
from coffre.operations.restore_database import restore_database
from coffre.operations.restore_plan import Job
from coffre.operations.runner import ThreadRunner
from coffre.postgres.connect import parse_secret
from coffre.postgres.tools import Children, PostgresTools
from coffre.stores.directory import DirectoryStore
from coffre.vault.codec import FrameDecoder
from coffre.vault.vault import Vault


def main(url: str, home: str, vault: str, identity: str, streams: str = "2") -> None:
    """Restore the newest backup and print what was loaded and how long each phase took."""
    backup = newest(Path(vault))
    if backup is None:
        raise SystemExit(f"no backup in {vault}")
    children = Children()
    with tempfile.TemporaryDirectory() as scratch:
        job = Job(
            restore_id="bench",
            backup=backup,
            connection=parse_secret(url, where="argument"),
            tools=PostgresTools(Path(home)),
            children=children,
            vault=Vault(DirectoryStore(Path(vault))),
            decoder=FrameDecoder((identity,) if identity.startswith("AGE-") else ()),
            scratch=Path(scratch),
            streams=int(streams),
            runner=ThreadRunner(2 * int(streams), children.end_all),
        )
        report = restore_database(job, Meter())
    print(f"{report.rows} rows, ms: {report.phases_ms}", file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
