"""Contenders side by side: each a pipeline of programs, measured in turn, printed as one table.

CPU seconds come from the kernel's account of every process that ended (`wait4`), so nothing is missed between samples:
PostgreSQL's client programs, everything else on the client's side, and the server each have a column.
"""

from __future__ import annotations

import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from benchmarks.processes import TreeMemory, cpu_of_process, cpu_of_server, wait_for


@dataclass(frozen=True)
class Contender:
    """Programs joined by pipes.

    Parameters
    ----------
    name
        What the table calls it.
    pipeline
        Argument lists, the first writes to the second, and so on.
    clean
        Called before each run; its time does not count.
    size
        Tells after a run how many bytes were stored; None where nothing is stored.
    output
        Where the last program's stdout goes; nowhere when None.
    slow
        Measured once, and marked so.
    reports
        The last program writes a JSON object to stdout: `programs_cpu_seconds` of its children, and what else it knows.
    """

    name: str
    pipeline: Sequence[Sequence[str]]
    clean: Callable[[], None] = lambda: None
    size: Callable[[], int] | None = None
    output: Path | None = None
    slow: bool = False
    reports: bool = False


@dataclass(frozen=True)
class Sample:
    """One run: seconds of wall clock, CPU seconds by who spent them, peak memory and stored bytes."""

    wall: float
    programs_cpu: float
    other_cpu: float
    server_cpu: float
    link_cpu: float
    peak_rss: int
    stored: int
    report: Mapping[str, object] = field(default_factory=dict)

    @property
    def cpu(self) -> float:
        """CPU seconds of client and server together; a simulated link is not theirs."""
        return self.programs_cpu + self.other_cpu + self.server_cpu


@dataclass(frozen=True)
class Surroundings:
    """What contenders run in.

    Parameters
    ----------
    environment
        Variables of every program.
    home
        PostgreSQL's; its programs are counted apart and find their libraries there.
    postmaster, link
        Pids whose CPU time is counted too.
    """

    environment: Mapping[str, str]
    home: Path
    postmaster: int | None = None
    link: int | None = None

    def is_postgresql(self, argv: Sequence[str]) -> bool:
        """Whether this is one of PostgreSQL's client programs."""
        return Path(argv[0]).is_relative_to(self.home)


def progress(text: str) -> None:
    """Tell whoever waits what is being done."""
    print(text, file=sys.stderr, flush=True)


def measure(contender: Contender, around: Surroundings) -> Sample:
    """Run a contender once.

    Raises
    ------
    SystemExit
        When one of its programs failed.
    """
    contender.clean()
    os.sync()  # nobody pays for writing what the one before left in memory
    server, link = cpu_of_server(around.postmaster), cpu_of_process(around.link)
    with ExitStack() as stack:
        report = stack.enter_context(tempfile.TemporaryFile()) if contender.reports else None
        output = report or (stack.enter_context(contender.output.open("wb")) if contender.output else None)
        began = time.perf_counter()
        children = _start(contender, around, output, stack)
        memory = stack.enter_context(TreeMemory([child.pid for child in children]))
        ended = [wait_for(child) for child in children]
        wall = time.perf_counter() - began
        failed = [shlex.join(argv[:3]) for argv, end in zip(contender.pipeline, ended, strict=True) if end.status]
        if failed:
            raise SystemExit(f"{contender.name}: {' and '.join(failed)} failed")
        told = _read_report(report) if report else {}
    server, link = cpu_of_server(around.postmaster) - server, cpu_of_process(around.link) - link
    client = sum(end.cpu_seconds for end in ended)
    programs = float(str(told.get("programs_cpu_seconds", 0))) + sum(
        end.cpu_seconds for argv, end in zip(contender.pipeline, ended, strict=True) if around.is_postgresql(argv)
    )
    stored = contender.size() if contender.size else 0
    return Sample(wall, programs, client - programs, server, link, memory.peak, stored, told)


def _start(
    contender: Contender, around: Surroundings, output: IO[bytes] | None, stack: ExitStack
) -> list[subprocess.Popen[bytes]]:
    children: list[subprocess.Popen[bytes]] = []
    stdin: IO[bytes] | None = None
    for number, argv in enumerate(contender.pipeline):
        is_last = number == len(contender.pipeline) - 1
        environment = dict(around.environment)
        if around.is_postgresql(argv):
            environment["LD_LIBRARY_PATH"] = str(around.home / "lib")
        stdout = (output or subprocess.DEVNULL) if is_last else subprocess.PIPE
        child = subprocess.Popen(argv, env=environment, stdin=stdin or subprocess.DEVNULL, stdout=stdout)
        stack.callback(_end, child)
        children.append(child)
        if stdin is not None:
            stdin.close()
        stdin = child.stdout
    return children


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a program that an error or Ctrl-C left behind."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(timeout=10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _read_report(file: IO[bytes]) -> dict[str, object]:
    file.seek(0)
    lines = file.read().splitlines()
    return dict(json.loads(lines[-1])) if lines else {}


def take_turns(contenders: Sequence[Contender], around: Surroundings, runs: int) -> dict[str, list[Sample]]:
    """Measure all contenders in turn, `runs` times round; slow ones in the first round only."""
    samples: dict[str, list[Sample]] = {contender.name: [] for contender in contenders}
    for number in range(runs):
        for contender in contenders:
            if contender.slow and number:
                continue
            sample = measure(contender, around)
            samples[contender.name].append(sample)
            progress(f"  [{number + 1}/{runs}] {contender.name}: {sample.wall:.2f} s, {sample.cpu:.1f} CPU s")
    return samples


def median(samples: Sequence[Sample]) -> Sample:
    """Return the sample of the middle, each figure on its own."""
    return Sample(
        *(
            statistics.median(getattr(sample, name) for sample in samples)
            for name in ("wall", "programs_cpu", "other_cpu", "server_cpu", "link_cpu", "peak_rss", "stored")
        )
    )


def compare(
    contenders: Sequence[Contender], around: Surroundings, runs: int, *, gigabytes: float
) -> dict[str, list[Sample]]:
    """Measure and print the table: medians, and ratios of wall time to the first contender.

    Parameters
    ----------
    gigabytes
        Of plain `pg_dump` text, for the column of CPU seconds a GB.
    """
    samples = take_turns(contenders, around, runs)
    base = median(samples[contenders[0].name])
    link = " link CPU s |" if around.link else ""
    print(f"medians of {runs} runs, taken in turn; the ratio is wall time against `{contenders[0].name}`\n")
    print(
        "| what | wall s | ratio | PostgreSQL's clients CPU s | other client CPU s | server CPU s "
        f"| all CPU s per GB |{link} peak memory MB | stored MB |"
    )
    print("|---|" + "---:|" * (8 + bool(link)))
    for contender in contenders:
        m = median(samples[contender.name])
        link = f" {m.link_cpu:.1f} |" if around.link else ""
        name = f"{contender.name} (one run)" if contender.slow and runs > 1 else contender.name
        print(
            f"| {name} | {m.wall:.2f} | {m.wall / base.wall:.2f} | {m.programs_cpu:.1f} | {abs(m.other_cpu):.1f} "
            f"| {m.server_cpu:.1f} | {m.cpu / gigabytes:.1f} |{link} {m.peak_rss / 1e6:.0f} | {_megabytes(m.stored)} |",
            flush=True,
        )
    print()
    return samples


def ratio(samples: Mapping[str, Sequence[Sample]], what: str, against: str, goal: float) -> None:
    """Print how a contender's wall time stands to another's, and the goal; nothing when one of them did not run."""
    if not samples.get(what) or not samples.get(against):
        return
    found = median(samples[what]).wall / median(samples[against]).wall
    verdict = "reached" if found <= goal else "missed"
    print(f"goal: `{what}` at most {goal:.2f} of `{against}`; measured {found:.2f}: {verdict}", flush=True)


def _megabytes(size: float) -> str:
    """Return the column: nothing for those that store nothing."""
    if size == 0:
        return "-"
    return f"{size / 1e6:.1f}" if size < 1e7 else f"{size / 1e6:.0f}"


def tree_size(path: Path) -> int:
    """Return the bytes of all files below a path (or of the file)."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
