"""Backups that several functions take together, against one function: its overhead, and what many connections gain.

    python -m benchmarks.spread_time --part overhead     # on this machine: goal, at most 1.25 of one function's time
    python -m benchmarks.spread_time --part link         # 5 MB/s a connection: goal, 16 connections 12 times as fast
    python -m benchmarks.spread_time --part restore      # the same link: a restore by one function, and by four

The functions are threads of this process, with a played state machine (tests/integration/spread_machine.py) and AWS
played by moto; packs go to a directory. So all workers share one interpreter, which real functions do not.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Final

import pytest
from moto import mock_aws
from tests.catalog_table import create_table
from tests.integration.conftest import BUCKET, REGION, TABLE, Coffre, client
from tests.integration.share_machine import share_machine
from tests.integration.spread_machine import spread_machine
from tests.quick_answers import answer_one_at_a_time

from benchmarks.databases import TWO_TABLES
from benchmarks.link import Link, open_link
from benchmarks.workbench import Workbench, arguments_of, workbench
from coffre.model.backup import Status
from coffre.runtime.bootstrap import Services
from coffre.stores.directory import DirectoryStore
from coffre.vault.codec import new_identity
from coffre.vault.vault import Vault

_RATE: Final = 5_000_000
_CONNECTIONS: Final = {"never": 4, "always": 16}
_ENVIRONMENT: Final = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_REGION": REGION,
    "POWERTOOLS_METRICS_DISABLED": "true",
}


@contextmanager
def _stack(bench: Workbench, patch: pytest.MonkeyPatch) -> Iterator[Coffre]:
    """Give a deployment whose vault is an empty directory."""
    with mock_aws(), tempfile.TemporaryDirectory(dir=bench.directory) as directory:
        answer_one_at_a_time(patch)
        client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        create_table(TABLE)
        topic = client("sns").create_topic(Name="alerts")["TopicArn"]
        patch.setattr(Services, "vault", Vault(DirectoryStore(Path(directory))))
        names = {"CONFIGURATION": "configuration", "VAULT_BUCKET": BUCKET, "CATALOG_TABLE": TABLE}
        names |= {"ALERT_TOPIC_ARN": topic, "POSTGRES_HOME": str(bench.home)}
        stack = Coffre({f"COFFRE_{name}": value for name, value in names.items()}, new_identity())
        yield stack
        stack.close()


def _seconds(bench: Workbench, url: str, spread: str, streams: int) -> float:
    """Take one backup, and return how long it took until it was complete."""
    with pytest.MonkeyPatch.context() as patch, _stack(bench, patch) as stack:
        stack.configure(url, target={"limits": {"spread": spread, "streams": streams}})
        if spread == "never":
            began = perf_counter()
            done = stack.backup()["id"]
        else:
            with spread_machine(stack, patch, hold_seconds=600.0) as machine:
                del stack.environment["COFFRE_SPREAD_GROUP_BYTES"]  # groups as the plan makes them
                began = perf_counter()
                done = stack.backup()["id"]
                machine.wait()
        whole = perf_counter() - began
        backup = stack.catalog.get_backup(done)
        if backup.completed_at is None or backup.failure is not None:
            raise SystemExit(f"the backup failed: {backup.failure}")
        took = (backup.completed_at - backup.created_at).total_seconds()
        rate = f"{bench.plain_bytes / took / 1e6:.1f} MB/s"
        print(f"spread {spread}, {streams} connections: {took:.1f} s, {rate}; functions ended after {whole:.1f} s")
        return took


def _restored(bench: Workbench, link: Link, stack: Coffre, backup_id: str, spread: str) -> float:
    """Restore over the link, by one function of four connections or by four of them; return how long its rows took."""
    name = f"restored_{spread}"
    stack.configure(bench.url, target={"limits": {"spread": spread, "streams": 16}})
    began = perf_counter()
    with pytest.MonkeyPatch.context() as patch, share_machine(stack, patch) as machine:
        answer = stack.restore(backup_id, link.through(bench.server.dsn(name)), streams=_CONNECTIONS[spread])
        if spread == "always":
            machine.wait()
    whole = perf_counter() - began
    record = stack.catalog.get_restore(answer["id"])
    if record.status is not Status.COMPLETED:
        raise SystemExit(f"the restore failed: {record.failure}")
    rate = f"{bench.plain_bytes / whole / 1e6:.1f} MB/s"
    print(f"restore, spread {spread}: {whole:.1f} s, {rate}", flush=True)
    bench.server.drop_database(name)
    return whole


def _restore_part(bench: Workbench, link: Link, runs: int) -> None:
    with pytest.MonkeyPatch.context() as patch, _stack(bench, patch) as stack:
        stack.configure(bench.url)
        stack.secret("coffre/identity/main", stack.identity)
        stack.environment["COFFRE_IDENTITY_SECRET"] = "coffre/identity/main"
        backup_id = stack.backup()["id"]
        one, several = [], []
        for _ in range(runs):
            one.append(_restored(bench, link, stack, backup_id, "never"))
            several.append(_restored(bench, link, stack, backup_id, "always"))
    print(f"four functions restore in {min(several) / min(one):.2f} of one function's time")


def main() -> None:
    """Fill a database, and take it in both ways in turn."""
    parser = arguments_of(__doc__, runs=1)
    parser.add_argument("--part", choices=["overhead", "link", "restore"], required=True)
    parser.add_argument("--rate", type=float, default=_RATE, help="bytes a second that the link gives each connection")
    arguments = parser.parse_args()
    os.environ |= _ENVIRONMENT
    with workbench(TWO_TABLES, arguments.scale) as bench, open_link(bench.server.port, arguments.rate) as link:
        if arguments.part == "restore":
            _restore_part(bench, link, arguments.runs)
            return
        is_link = arguments.part == "link"
        url = link.through(bench.url) if is_link else bench.url
        one, several = [], []
        for _ in range(arguments.runs):
            one.append(_seconds(bench, url, "never", 1 if is_link else 4))
            several.append(_seconds(bench, url, "always", 16 if is_link else 4))
        if is_link:
            print(f"16 connections are {min(one) / min(several):.1f} times as fast as one (goal: 12)")
        else:
            print(f"several functions take {min(several) / min(one):.2f} of one function's time (goal: 1.25)")


if __name__ == "__main__":
    main()
