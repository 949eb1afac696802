"""Running contenders side by side: wall time, CPU by who spent it, peak memory of the whole process tree."""

from __future__ import annotations

import compileall
import os
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from coffre_cli.local.toolchain import CHECKOUT


@dataclass(frozen=True)
class Sample:
    """One run: seconds, CPU seconds of the client side and of the server, peak memory in bytes, bytes written."""

    wall: float
    client_cpu: float
    server_cpu: float
    peak_rss: int
    output_bytes: int


@dataclass(frozen=True)
class Contender:
    """A command to measure; `size` tells afterwards how many bytes it stored."""

    name: str
    argv: Sequence[str]
    size: Callable[[], int]
    clean: Callable[[], None]


def measure(contender: Contender, environment: Mapping[str, str], postmaster: int | None) -> Sample:
    """Run a contender once. Peak memory is the sum of resident sizes (private and shared) over its process tree."""
    contender.clean()
    server_before = _server_cpu(postmaster)
    before = os.times()
    began = time.perf_counter()
    child = subprocess.Popen(contender.argv, env=dict(environment), stdout=subprocess.DEVNULL)
    peak = _Peak(child.pid)
    status = child.wait()
    wall = time.perf_counter() - began
    after = os.times()
    peak.stop()
    if status != 0:
        raise SystemExit(f"{contender.name} ended with status {status}")
    client = after.children_user + after.children_system - before.children_user - before.children_system
    return Sample(wall, client, _server_cpu(postmaster) - server_before, peak.bytes, contender.size())


def median(samples: Sequence[Sample]) -> Sample:
    """Return the sample of the middle, each figure on its own."""
    return Sample(
        statistics.median(s.wall for s in samples),
        statistics.median(s.client_cpu for s in samples),
        statistics.median(s.server_cpu for s in samples),
        int(statistics.median(s.peak_rss for s in samples)),
        int(statistics.median(s.output_bytes for s in samples)),
    )


def compare(contenders: Sequence[Contender], environment: Mapping[str, str], postmaster: int | None, runs: int) -> None:
    """Measure all contenders in turn, `runs` times round, and print medians and ratios to the first one."""
    samples: dict[str, list[Sample]] = {contender.name: [] for contender in contenders}
    for _ in range(runs):
        for contender in contenders:
            samples[contender.name].append(measure(contender, environment, postmaster))
    base = median(samples[contenders[0].name])
    print(f"medians of {runs} runs, taken in turn; the ratio is wall time against `{contenders[0].name}`\n")
    print("| what | wall s | ratio | client CPU s | server CPU s | peak memory MB | stored MB |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for contender in contenders:
        m = median(samples[contender.name])
        print(
            f"| {contender.name} | {m.wall:.2f} | {m.wall / base.wall:.2f} | {m.client_cpu:.1f} | {m.server_cpu:.1f} "
            f"| {m.peak_rss / 1e6:.0f} | {m.output_bytes / 1e6:.0f} |"
        )


def tree_size(path: Path) -> int:
    """Return the bytes of all files below a path (or of the file)."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def environment_of(home: Path) -> dict[str, str]:
    """Return what contenders run in: PostgreSQL's libraries, our packages, compiled as they are in the layer."""
    for package in ("layers/coffre", "benchmarks", "cli"):
        compileall.compile_dir(CHECKOUT / package, quiet=2)
    return {
        **os.environ,
        "LD_LIBRARY_PATH": str(home / "lib"),
        "PYTHONPATH": f"{CHECKOUT}:{CHECKOUT}/layers/coffre:{CHECKOUT}/cli",
    }


class _Peak:
    """Samples the memory of a process tree every 20 ms."""

    def __init__(self, pid: int) -> None:
        self.bytes = 0
        self._pid = pid
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.02):
            total = 0
            try:
                root = psutil.Process(self._pid)
                for process in (root, *root.children(recursive=True)):
                    total += process.memory_info().rss
            except psutil.Error:
                continue
            self.bytes = max(self.bytes, total)


def _server_cpu(postmaster: int | None) -> float:
    """Return the CPU seconds of a PostgreSQL server: its living processes, and those that it has reaped."""
    if postmaster is None:
        return 0.0
    root = psutil.Process(postmaster)
    own = root.cpu_times()
    total = own.user + own.system + own.children_user + own.children_system
    for child in root.children(recursive=True):
        times = child.cpu_times()
        total += times.user + times.system
    return float(total)
