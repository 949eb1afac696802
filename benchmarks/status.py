"""`coffre status` with 20 targets and a year of daily backups: seconds of the whole command, requests, bytes.

The account is moto's. Its answers are kept after the first run, and later ones come after `--latency` milliseconds: a
database in Python would be most of what is measured otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Protocol

import boto3
import requests
from moto import mock_aws
from tests.catalog_table import create_table
from ulid import ULID

from benchmarks.harness import progress
from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup, Status, Tier
from coffre.model.drill import DrillSummary, Outcome
from coffre.policy.safety import DRILLED_WITHIN
from coffre.vault.codec import new_identity, public_key

_REGION: Final = "eu-west-1"
_JOBS: Final = (
    *("daily-databases", "weekly-databases", "monthly-databases", "weekly-buckets", "monthly-buckets"),
    *("rotate", "weekly-drill", "monthly-drill", "fresh", "inventory", "read"),
)
_OUTPUTS: Final = {
    "CatalogTable": "catalog",
    "Configuration": "configuration",
    "Schedules": " ".join(f"{job}=safe-{job}" for job in _JOBS),
}
# moto's CloudFormation needs much that nothing else here does.
_STACK: Final = (
    "<DescribeStacksResponse><DescribeStacksResult><Stacks><member><StackName>safe</StackName><Outputs>"
    + "".join(
        f"<member><OutputKey>{name}</OutputKey><OutputValue>{value}</OutputValue></member>"
        for name, value in _OUTPUTS.items()
    )
    + "</Outputs></member></Stacks></DescribeStacksResult></DescribeStacksResponse>"
).encode()
# Retention by default leaves 7 daily, 4 weekly and 12 monthly ones.
_KEPT_BY_DEFAULT: Final = 23


@dataclass
class Traffic:
    """What the command has asked, and the answers, which are kept."""

    latency: float
    asked: int = 0
    sent_bytes: int = 0
    kept: dict[tuple[str, str, bytes], tuple[int, str, bytes]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, str, bytes]:
        """Return status, type and body: what was answered before, or what the account says."""
        del method  # all of these are POST
        key = (path, headers.get("X-Amz-Target", ""), body)
        found = self.kept.get(key)
        if found is None:
            service = headers["Authorization"].split("/")[3]
            if service == "cloudformation":
                found = self.kept[key] = (200, "text/xml", _STACK)
                return found
            url = f"https://{service}.{_REGION}.amazonaws.com{path}"  # moto answers, whatever the address is
            reply = requests.post(url, body, headers=dict(headers.items()) | {"Host": url.split("/")[2]}, timeout=60)
            found = (reply.status_code, reply.headers.get("Content-Type", ""), reply.content)
            self.kept[key] = found
        else:
            time.sleep(self.latency)
        with self.lock:
            self.asked += 1
            self.sent_bytes += len(found[2])
        return found


class Answering(Protocol):
    """What answers for AWS."""

    def answer(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, str, bytes]:
        """Return status, type and body."""


@contextmanager
def proxy(traffic: Answering) -> Iterator[str]:
    """Serve the account through the proxy; yield its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body in one piece: in two, the second waits 40 ms for the delayed acknowledgement of the first.
        wbufsize = -1
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, kind, answer = traffic.answer(self.command, self.path, self.headers, body)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            with suppress(BrokenPipeError):  # The client did not wait for it.
                self.wfile.write(answer)
                self.wfile.flush()

        do_GET = do_PUT = do_POST  # noqa: N815 - so called

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


# --- the stack ---


def make_stack(targets: int) -> None:
    """Make the stack's configuration and its rules."""
    names = [f"shop-{number:02}" for number in range(targets)]
    recipient = public_key(new_identity())
    document = {
        "encryption": "age",
        "recipients": [recipient],
        "targets": [{"name": name, "secret": f"coffre/database/{name}"} for name in names],
    }
    boto3.client("ssm").put_parameter(Name="configuration", Value=json.dumps(document), Type="String", Tier="Advanced")
    events = boto3.client("events")
    for job in _JOBS:
        events.put_rule(Name=f"safe-{job}", ScheduleExpression="cron(0 2 * * ? *)")
    Catalog("catalog").recipients.note_use(recipient, datetime.now(UTC) - timedelta(days=40))


def fill(catalog: Catalog, target: str, days: int, *, kept: int, proven: bool) -> None:
    """Put the backups of a target into the catalog, those beyond the newest `kept` as deleted ones."""
    now = datetime.now(UTC)
    for day in range(days):
        began = now - timedelta(days=day, hours=5)
        backup_id = str(ULID.from_datetime(began))
        catalog.create_backup(
            Backup(
                id=backup_id,
                target=target,
                tiers=(Tier.DAILY,),
                status=Status.COMPLETED if day < kept else Status.DELETED,
                slot=f"{began:%Y-%m-%dT02:00:00Z}",
                created_at=began,
                started_at=began,
                completed_at=began + timedelta(minutes=4),
                duration_ms=240_000,
                plaintext_bytes=5_000_000_000 - 10_000_000 * day,
                stored_bytes=120_000_000,
                tables=420,
                rows=10_000_000,
                manifest_key=f"v1/backups/{target}/{backup_id}/manifest.json",
                manifest_sha256="a" * 64,
                source_version="18.6",
                encryption="age",
                verified_at=began + timedelta(hours=2) if proven else None,
                deleted_at=now if day >= kept else None,
                deletion="DAILY: 7 days are over" if day >= kept else None,
                exceptions=("extension table public.spatial_ref_sys is left out",),
                request_id="8f3a7c1e-5d2b-4e6f-9a0b-1c2d3e4f5a6b",
            )
        )
    if proven:
        at = now - DRILLED_WITHIN / 8
        drill = DrillSummary(
            id=str(ULID.from_datetime(at)), backup_id=backup_id, target=target, outcome=Outcome.PASSED, completed_at=at
        )
        catalog.latest.note_drill(drill)


# --- the measurement ---


def measure(arguments: list[str], traffic: Traffic, runs: int) -> tuple[float, float, float]:
    """Return the median and the longest wall time of a command, and the median of its CPU seconds."""
    _run(arguments)  # so that the proxy has the answers
    took, spent = [], []
    for _ in range(runs):
        traffic.asked = traffic.sent_bytes = 0
        began, cpu = time.perf_counter(), _cpu_of_children()
        _run(arguments)
        took.append(time.perf_counter() - began)
        spent.append(_cpu_of_children() - cpu)
    return statistics.median(took), max(took), statistics.median(spent)


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _run(arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", "coffre_cli", *arguments], capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):  # 1: not all is well, which is what some cases are about
        raise SystemExit(f"coffre {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
    progress(f"  {done.stdout.splitlines()[0]}")


def main() -> None:
    """Measure each case, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", type=int, default=20)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--latency", type=float, default=15, help="milliseconds of each request")
    options = parser.parse_args()
    cases = {
        "retention by default": {"kept": _KEPT_BY_DEFAULT, "proven": True},
        "every backup is kept": {"kept": options.days, "proven": True},
        "nothing was ever verified or drilled": {"kept": _KEPT_BY_DEFAULT, "proven": False},
    }
    fixed = {"AWS_DEFAULT_REGION": _REGION, "AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none"}
    os.environ.update({**fixed, "AWS_EC2_METADATA_DISABLED": "true", "COFFRE_STACK": "safe"})
    print(f"{options.targets} targets, {options.days} days, {options.latency:g} ms a request, {options.runs} runs\n")
    print("| what | median s | longest s | CPU s | requests | MB |\n|---|---:|---:|---:|---:|---:|")
    for name, case in cases.items():
        with mock_aws():
            os.environ.pop("AWS_ENDPOINT_URL", None)
            traffic = Traffic(options.latency / 1000)
            create_table("catalog")
            make_stack(options.targets)
            progress(f"{name}: filling the catalog")
            catalog = Catalog("catalog")
            for number in range(options.targets):
                fill(catalog, f"shop-{number:02}", options.days, **case)
            with proxy(traffic) as endpoint:
                os.environ["AWS_ENDPOINT_URL"] = endpoint
                middle, longest, cpu = measure(["status", "--stack", "safe"], traffic, options.runs)
        print(
            f"| {name} | {middle:.2f} | {longest:.2f} | {cpu:.2f} | {traffic.asked} | {traffic.sent_bytes / 1e6:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
