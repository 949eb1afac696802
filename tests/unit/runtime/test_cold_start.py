"""What a function's process imports and makes until its first event: a cold start waits for each of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROGRAM = """
import gc, json, sys
import handler
from pydantic import BaseModel
assert gc.isenabled() and gc.get_freeze_count(), "a handler imports under kept_imports"
classes = {one for module in list(sys.modules.values()) for one in vars(module).values() if isinstance(one, type)}
ready = [one.__qualname__ for one in classes if issubclass(one, BaseModel) and one.__module__.startswith("coffre")
         and one.__pydantic_complete__]
print(json.dumps([sorted(sys.modules), ready]))
"""
# What only one kind of event needs, or none before it is read.
NOT_YET = {
    "verify": (
        *(
            "coffre.runtime.verify_fresh",
            "coffre.runtime.report",
            "coffre.runtime.copies",
            "coffre.runtime.backup_runs",
        ),
        *("coffre.postgres", "psycopg2", "coffre.model.restore_report", "coffre.operations.report"),
    ),
    "restore": (
        *("coffre.runtime.restore_database_function", "coffre.runtime.restore_storage_function", "psycopg2"),
        *("coffre.postgres", "coffre.buckets.writer", "coffre.operations.restore_database", "coffre.operations.export"),
    ),
    "drill": (
        *("coffre.operations.drill.database", "coffre.operations.drill.buckets", "coffre.operations.restore_database"),
        *("coffre.postgres.journal", "coffre.postgres.destination", "coffre.model.report"),
    ),
    "backup_storage": ("coffre.runtime.spread_ranges", "coffre.runtime.point_runs", "coffre.postgres.source"),
    "rotate": ("coffre.runtime.confirming", "coffre.runtime.copies", "coffre.runtime.events.restore"),
    "journal": ("coffre.policy.checks", "coffre.postgres.inspection"),
}
EVERYWHERE = ("tomllib", "boto3", "apprise", "jwt", "cryptography", "asyncio", "coffre.operations.doctor")


@pytest.mark.parametrize("function", NOT_YET)
def test_until_the_first_event_only_what_every_event_needs_is_imported(function: str) -> None:
    path = os.pathsep.join(str(ROOT / one) for one in (f"functions/{function}", "layers/coffre"))
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    said = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False)

    assert said.returncode == 0, said.stderr
    modules, ready = json.loads(said.stdout)
    early = [one for one in (*NOT_YET[function], *EVERYWHERE) if any(f"{m}.".startswith(f"{one}.") for m in modules)]
    assert early == []
    assert ready == [], (
        "a model's validator is made when it is first used: defer_build, and model_construct for defaults"
    )
