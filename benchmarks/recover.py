"""`coffre recover` of the sample database and its files in one go, from a copy of the vault on a disk.

The clock starts before the command and stops when it ends: looking at the copy, the plan, database, files, the report.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.harness import progress
from coffre.stores.body import sha256_of
from coffre.stores.directory import DirectoryStore
from coffre.stores.store import Store
from coffre_local import stack
from coffre_local.aws import session
from coffre_local.state import LocalState


def main() -> None:
    """Start the local stack, back the sample up, copy the vault, and recover from the copy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    _coffre("local", "up")
    try:
        _coffre("backup", "database", stack.SAMPLE)
        _coffre("backup", "buckets", stack.SAMPLE_FILES)
        state = stack.running()
        with tempfile.TemporaryDirectory(prefix="coffre-recover-") as folder:
            _measure(state, Path(folder), arguments.runs)
    finally:
        _coffre("local", "down")


def _measure(state: LocalState, folder: Path, runs: int) -> None:
    environment = stack.environment_of(state)
    endpoint = environment["AWS_ENDPOINT_URL"]
    secrets = session(environment).client("secretsmanager", endpoint_url=endpoint)
    key = secrets.get_secret_value(SecretId=state.outputs["IdentitySecret"])["SecretString"]
    os.environ["KEY"] = key
    _copy(folder / "disk")
    source = ("recover", "--from", f"directory:{folder / 'disk'}", "--identity", "env:KEY", "--json")
    taken: dict[str, list[float]] = {"recover": [], "rehearse": []}
    for number in range(runs):
        os.environ["NEW"] = state.postgres.server().dsn(database=f"recovered_{number}") if state.postgres else ""
        to = (f"{stack.SAMPLE}=env:NEW", f"{stack.SAMPLE_FILES}=directory:{folder / f'files-{number}'}")
        work = ("--work", str(folder / f"work-{number}"))
        taken["recover"].append(_timed(*source, *work, "--to", to[0], "--to", to[1], "--yes"))
        taken["rehearse"].append(_timed(*source, "--work", str(folder / "rehearsal"), "--rehearse"))
    for what, seconds in taken.items():
        print(f"{what}: median {statistics.median(seconds):.1f} s ({', '.join(f'{one:.1f}' for one in seconds)})")


def _timed(*arguments: str) -> float:
    began = time.monotonic()
    answer = json.loads(_coffre(*arguments))
    seconds = time.monotonic() - began
    steps = ", ".join(f"{step['name']} {step['rows'] or step['objects']:,}" for step in answer["steps"])
    progress(f"{seconds:.1f} s, by its own report {answer['rto_seconds']:.1f} s: {steps}")
    return seconds


def _copy(folder: Path) -> None:
    from coffre_cli.stack_choice import find_stack

    folder.mkdir()
    source: Store = find_stack(None).vault.store
    for info in source.list():
        body = source.get(info.key)
        DirectoryStore(folder).put(info.key, body, sha256=sha256_of(body))


def _coffre(*arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", "coffre_cli", *arguments], check=False, capture_output=True, text=True)
    if done.returncode not in (0, 4):
        raise SystemExit(f"coffre {arguments[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
