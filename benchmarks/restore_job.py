"""One restore from a vault directory, as the function does it; the process that benchmarks measure.

Run as `python -m benchmarks.restore_job URL VAULT_DIRECTORY IDENTITY [STREAMS] [TABLE | --analyze ...]`.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from benchmarks.newest import newest
from benchmarks.timers import cpu_report
from coffre.model.restore import Scope
from coffre.model.restore_report import RestoreReport
from coffre.operations.restore_database.job import RestoreJob
from coffre.operations.restore_database.restore import restore_database
from coffre.operations.runs.parallel_map import ThreadRunner
from coffre.operations.runs.progress import Meter
from coffre.postgres.connection.client_tools import Children
from coffre.postgres.connection.connection_secret import parse_secret
from coffre.stores.directory import DirectoryStore
from coffre.vault.codec import FrameDecoder
from coffre.vault.vault import Vault


def restore(url: str, vault: str, identity: str, streams: int = 2, scope: Scope | None = None) -> RestoreReport:
    """Restore the newest backup of a directory."""
    backup = newest(Path(vault))
    if backup is None:
        raise SystemExit(f"no backup in {vault}")
    children = Children()
    with tempfile.TemporaryDirectory() as scratch:
        job = RestoreJob(
            restore_id="bench",
            backup=backup,
            connection=parse_secret(url, where="argument"),
            children=children,
            vault=Vault(DirectoryStore(Path(vault))),
            decoder=FrameDecoder((identity,) if identity.startswith("AGE-") else ()),
            scratch=Path(scratch),
            streams=streams,
            runner=ThreadRunner(2 * streams, children.end_all),
            scope=scope or Scope(),
        )
        return restore_database(job, Meter())


def main(url: str, vault: str, identity: str, streams: str = "2", *tables: str) -> None:
    """Restore the newest backup; print what was loaded, how long each phase took, and which CPU seconds went where.

    Among the tables `--analyze` can stand: statistics are gathered then, which no other program does.
    """
    scope = Scope(tables=tuple(table for table in tables if table != "--analyze"), analyze="--analyze" in tables)
    report = restore(url, vault, identity, int(streams), scope)
    left_out = [left.what for left in report.left_out]
    print(json.dumps({"rows": report.rows, "phases_ms": report.phases_ms, "left_out": left_out, **cpu_report()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
