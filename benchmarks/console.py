"""The console's answers: milliseconds of warm pages, of a process's first page, and of the list over many backups.

The function's own handler runs in a process of its own, on the layers as they are built. AWS is the emulator, behind a
proxy that keeps its answers and gives them after `--latency` ms: the emulator sorts a whole partition for each query,
which DynamoDB does not. `--local` asks the console of the local stack (`coffre local up`) over HTTP instead.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, Final, Self

import boto3
import urllib3
from tests.catalog_table import create_table
from tests.synthetic import Writer
from ulid import ULID

from benchmarks.cold_start import build
from benchmarks.console_data import FEW, MANY_ENOUGH, TARGETS, Place, fill, make_account, note_drills, sign_in
from benchmarks.console_local import measure_local
from benchmarks.harness import progress
from benchmarks.status import proxy
from coffre.catalog.catalog import Catalog
from coffre.stores.s3 import S3Store
from coffre.stores.s3_client import make_client
from coffre.vault.vault import Vault
from coffre_local.aws import start_aws
from coffre_local.toolchain import CHECKOUT, Toolchain

WARM_GOAL: Final = 120
COLD_GOAL: Final = 1200
_WARM_UP: Final = 20
_PATIENCE: Final = 6
_READS: Final = frozenset({"Query", "GetParameter", "DescribeRule"})  # a session is read as it is then
_PROGRAM: Final = """
import json, sys, time
said, sys.stdout = sys.stdout, sys.stderr  # for logs
sys.path[:0] = json.loads(sys.argv[1])
import handler
for line in sys.stdin:
    order = json.loads(line)
    walls, cpus = [], []
    for _ in range(order["times"]):
        wall, cpu = time.perf_counter(), time.process_time()
        answer = handler.handler(order["event"], None)
        walls.append((time.perf_counter() - wall) * 1000)
        cpus.append((time.process_time() - cpu) * 1000)
    print(json.dumps([answer["statusCode"], len(answer["body"]), walls, cpus]), file=said, flush=True)
"""


@dataclass
class Kept:
    """Answers of the emulator to what reads, given again after a while; what writes reaches it each time."""

    endpoint: str
    latency: float
    asked: int = 0
    _answers: dict[tuple[str, str, str, bytes], tuple[int, str, bytes]] = field(default_factory=dict)
    _asking: dict[tuple[str, str, str, bytes], threading.Lock] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _pool: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(maxsize=16, timeout=120))

    def answer(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, str, bytes]:
        """Return status, type and body."""
        call = headers.get("X-Amz-Target", "").rpartition(".")[2]
        if method != "GET" and call not in _READS:
            self.asked += 1
            return self._of_emulator(method, path, headers, body)
        key = (method, path, call, body)
        with self._lock:
            self.asked += 1
            asking = self._asking.setdefault(key, threading.Lock())
        with asking:  # A client that does not wait any longer asks again: the emulator answers each question once.
            if key not in self._answers:
                self._answers[key] = self._of_emulator(method, path, headers, body)
        time.sleep(self.latency)
        return self._answers[key]

    def _of_emulator(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, str, bytes]:
        reply = self._pool.request(method, f"{self.endpoint}{path}", body=body, headers=dict(headers.items()))
        return reply.status, reply.headers.get("content-type", ""), reply.data


class Function:
    """A process that has the function's handler and nothing else."""

    def __init__(self, layers: Sequence[Path]) -> None:
        path = json.dumps([str(CHECKOUT / "functions" / "console"), *(str(layer / "python") for layer in layers)])
        command = [str(Path(sys.executable).resolve()), "-S", "-c", _PROGRAM, path]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        _pipe(self._process.stdin).close()
        self._process.wait()
        _pipe(self._process.stdout).close()

    def ask(self, url: str, cookie: str, times: int) -> tuple[list[float], list[float], int]:
        """Return milliseconds of each answer, wall clock and processor, and the bytes of one."""
        stdin = _pipe(self._process.stdin)
        stdin.write(json.dumps({"event": _event(url, cookie), "times": times}) + "\n")
        stdin.flush()
        said = _pipe(self._process.stdout).readline()
        if not said:
            raise SystemExit(f"The function ended at {url}.")
        status, size, walls, cpus = json.loads(said)
        if status != 200:
            raise SystemExit(f"{url} was answered with {status}.")
        return walls, cpus, size

    def prepare(self, url: str, cookie: str) -> None:
        """Ask until it is answered: the emulator can need longer than the catalog's client waits, once."""
        for _ in range(_PATIENCE):
            try:
                self.ask(url, cookie, 1)
                return
            except SystemExit as error:
                progress(f"  {error}")
        raise SystemExit(f"{url} has no answer.")


def _pipe(one: IO[str] | None) -> IO[str]:
    assert one is not None
    return one


def _event(url: str, cookie: str) -> dict[str, Any]:
    path, _, query = url.partition("?")
    http = {"method": "GET", "path": path, "sourceIp": "192.0.2.1", "protocol": "HTTP/1.1"}
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": {"host": "backups.example.com", "sec-fetch-site": "none"},
        "cookies": [cookie],
        "requestContext": {"stage": "$default", "requestId": "r", "http": http},
        "isBase64Encoded": False,
    }


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that this share of them does not exceed."""
    return sorted(values)[max(0, -int(-share * len(values) // 1) - 1)]


def print_warm(function: Function, pages: Mapping[str, str], cookie: str, kept: Kept, requests: int) -> float:
    """Print one line for each page, and return the worst 95th percentile."""
    worst = 0.0
    for name, url in pages.items():
        function.ask(url, cookie, _WARM_UP)
        before = kept.asked
        walls, cpus, size = function.ask(url, cookie, requests)
        calls = (kept.asked - before) / requests
        worst = max(worst, percentile(walls, 0.95))
        print(
            f"| {name} | {percentile(walls, 0.5):.1f} | {percentile(walls, 0.95):.1f} | {max(walls):.0f} "
            f"| {sum(cpus) / requests:.1f} | {calls:.2f} | {size / 1000:.1f} |",
            flush=True,
        )
    return worst


def first_pages(layers: Sequence[Path], url: str, cookie: str, starts: int) -> list[float]:
    """Return milliseconds from starting a process until its first page, each time in a process of its own."""
    found = []
    for _ in range(starts + 1):
        began = time.perf_counter()
        with Function(layers) as function:
            function.ask(url, cookie, 1)
            found.append((time.perf_counter() - began) * 1000)
    return found[1:]  # The first one filled the page cache.


def verdict(what: str, found: float, goal: float) -> None:
    """Print whether a goal was reached."""
    print(f"{what}: p95 {found:.0f} ms, goal {goal:.0f} ms: {'reached' if found <= goal else 'missed'}", flush=True)


@contextmanager
def account(place: Place) -> Iterator[None]:
    """Lead AWS clients of this process, and of those that it starts, to the emulator."""
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith(("AWS_", "COFFRE_"))]:
        del os.environ[name]
    os.environ.update(place.environment())
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def measure(options: argparse.Namespace, directory: Path, stack: ExitStack) -> None:
    """Make the account, and print both tables."""
    progress("building the layers")
    layers = [build(name, "x86_64", directory / name) for name in ("coffre", "console")]
    aws = start_aws(Toolchain(on_step=progress).ministack(), directory / "aws", enforce_iam=False)
    stack.callback(aws.stop)
    place = Place(aws.endpoint)
    stack.enter_context(account(place))
    create_table(place.table)
    make_account(place)
    catalog = Catalog(place.table)
    scratch = directory / "scratch"
    scratch.mkdir()
    vault = Vault(S3Store(place.bucket, client=make_client()))
    tables = {f"table_{number:03}": b"1\ta\n" for number in range(200)}
    now = datetime.now(UTC)
    one = Writer(catalog, vault, scratch, (), target=TARGETS[0]).backup(tables, now - timedelta(hours=1))
    progress(f"writing {options.backups:,} records")
    note_drills(catalog, one)
    fill(boto3.client("dynamodb"), place, one, options.backups)
    cookie, few = sign_in(catalog, now), sign_in(catalog, now, FEW)
    kept = Kept(aws.endpoint, options.latency / 1000)
    os.environ["AWS_ENDPOINT_URL"] = stack.enter_context(proxy(kept))
    middle = ULID.from_datetime(now - timedelta(hours=options.backups // len(TARGETS) // 2))
    day = f"{now - timedelta(days=90):%Y-%m-%d}"
    pages = {
        f"dashboard of {len(TARGETS)} targets": "/",
        "list, first page": "/backups",
        "list, from the middle": f"/backups?cursor={middle}",
        "list, one target": f"/backups?target={TARGETS[3]}",
        "list, status that few have": "/backups?status=FAILED",
        "list, kind that all have": "/backups?type=database",
        "list, kind that none has": "/backups?type=repository",
        "list, one day long ago": f"/backups?since={day}&until={day}",
        "one backup": f"/backups/{one.id}",
        "API, first page": "/api/v1/backups",
    }
    print(
        f"\n{options.backups:,} backups of {len(TARGETS)} targets, {options.latency:g} ms a call of AWS, "
        f"{options.requests} requests each\n"
    )
    print(
        "| page | median ms | p95 ms | longest ms | processor ms | calls of AWS | KB |\n|---|--:|--:|--:|--:|--:|--:|"
    )
    with Function(layers) as function:
        for url in pages.values():  # Now the emulator's own answers are kept.
            function.prepare(url, cookie)
        function.prepare("/", few)
        worst = print_warm(function, pages, cookie, kept, options.requests)
        own = {f"dashboard of a role for {MANY_ENOUGH} targets": "/"}
        verdict("warm pages", max(worst, print_warm(function, own, few, kept, options.requests)), WARM_GOAL)
    starts = first_pages(layers, "/", cookie, options.starts)
    print(
        f"\nfirst page of a process: median {percentile(starts, 0.5):.0f} ms, longest {max(starts):.0f} ms", flush=True
    )
    verdict(f"{options.starts} cold starts", percentile(starts, 0.95), COLD_GOAL)


def main() -> None:
    """Measure the handler, or the local stack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backups", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--starts", type=int, default=20)
    parser.add_argument("--latency", type=float, default=5, help="milliseconds of each call of AWS")
    parser.add_argument("--local", action="store_true", help="the console of the local stack, which has to be up")
    options = parser.parse_args()
    if options.local:
        measure_local(options.requests)
        return
    with tempfile.TemporaryDirectory(prefix="coffre-bench-") as temporary, ExitStack() as stack:
        measure(options, Path(temporary), stack)


if __name__ == "__main__":
    main()
