"""One drill of the newest backup in a vault directory, as the function does it; the process that benchmarks measure.

Run as `python -m benchmarks.drill_job POSTGRES_HOME VAULT_DIRECTORY IDENTITY [STREAMS]`.
"""

from __future__ import annotations

import json
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from ulid import ULID

from benchmarks.newest import newest
from coffre.model.drill import Outcome
from coffre.model.drill_options import Drill
from coffre.model.drill_report import DrillState
from coffre.operations.drill.database import drill
from coffre.operations.drill.job import DrillJob
from coffre.operations.runs.parallel_map import ThreadRunner
from coffre.postgres.connection.client_tools import Children, PostgresTools
from coffre.stores.directory import DirectoryStore
from coffre.vault.codec import FrameDecoder
from coffre.vault.vault import Vault


def main(home: str, vault: str, identity: str, streams: str = "2") -> None:
    """Drill; print what was compared, how long each phase took, and what was needed of the disk."""
    backup = newest(Path(vault))
    if backup is None:
        raise SystemExit(f"no backup in {vault}")
    children = Children()
    with tempfile.TemporaryDirectory() as scratch:
        job = DrillJob(
            id=str(ULID()),
            backup=backup,
            settings=Drill(),
            tools=PostgresTools(Path(home)),
            children=children,
            vault=Vault(DirectoryStore(Path(vault))),
            decoder=FrameDecoder((identity,)),
            scratch=Path(scratch),
            streams=int(streams),
            runner=ThreadRunner(2 * int(streams), children.end_all),
            now=lambda: datetime.now(UTC),
            remaining_seconds=lambda: 900.0,
            look_again=lambda: backup,
        )
        report = drill(job)
    if isinstance(report, DrillState):
        raise SystemExit("the drill did not end in 900 seconds")
    if report.outcome is not Outcome.PASSED:
        raise SystemExit(f"the drill did not pass: {report.problems or report.failure}")
    print(
        json.dumps(
            {
                "rows": report.rows,
                "restore_seconds": report.restore_seconds,
                "scratch_bytes": report.scratch_bytes,
                "groups": report.groups,
                "phases_ms": report.phases_ms,
                # The scratch server and what restores into it are this process's own: harness columns do not tell them.
                "programs_cpu_seconds": 0,
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
