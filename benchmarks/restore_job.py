"""One restore from a vault directory, as the function does it; the process that benchmarks measure.

Run as `python -m benchmarks.restore_job URL POSTGRES_HOME VAULT_DIRECTORY IDENTITY [STREAMS] [TABLE ...]`.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any

from benchmarks.newest import newest
from benchmarks.timers import cpu_report
from coffre.model.restore import Scope
from coffre.operations.progress import Meter
from coffre.operations.restore_database import restore_database
from coffre.operations.restore_plan import Job
from coffre.operations.runner import ThreadRunner
from coffre.postgres.secret import parse_secret
from coffre.postgres.tools import Children, PostgresTools
from coffre.stores.directory import DirectoryStore
from coffre.vault.codec import FrameDecoder
from coffre.vault.vault import Vault

# The field of a restore's job that says which part to bring back; until it is there, that contender is left out.
_CHOICE = "scope"


def can_choose_tables() -> bool:
    """Whether a restore can be told to bring back some tables only."""
    return any(field.name == _CHOICE for field in fields(Job))


def _choice(tables: tuple[str, ...]) -> dict[str, Any]:
    """Return what a job is told about the tables to restore: nothing for all of them."""
    return {_CHOICE: Scope(tables=tables)} if tables else {}


def main(url: str, home: str, vault: str, identity: str, streams: str = "2", *tables: str) -> None:
    """Restore the newest backup; print what was loaded, how long each phase took, and which CPU seconds went where."""
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
            **_choice(tables),
        )
        report = restore_database(job, Meter())
    print(json.dumps({"rows": report.rows, "phases_ms": report.phases_ms, **cpu_report()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
