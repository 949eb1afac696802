"""The cold start of each function: importing its handler and making its clients, in a process of its own; layer sizes.

The layers are built by their Makefiles. The interpreter runs with `-S` and finds only the function and the layer, as in
Lambda. For comparison the same layer without its byte code: a read-only layer cannot keep what it compiles.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import tree_size
from coffre_local.toolchain import CHECKOUT

_LAYERS = {"coffre": "build-CoffreLayer", "pg_dump": "build-PostgresqlClientLayer"}
_TARGETS = {**_LAYERS, "console": "build-ConsoleLayer"}
_FUNCTIONS = ("backup_database", "restore")
_PROGRAM = """
import json, sys, time
sys.path[:0] = json.loads(sys.argv[1])
wall, cpu = time.perf_counter(), time.process_time()
import handler
imported = time.perf_counter() - wall, time.process_time() - cpu
services = handler.function().services
services.edge, services.vault, services.ssm, services.secrets
ready = time.perf_counter() - wall, time.process_time() - cpu
print(json.dumps([*imported, *ready]))
"""
_ENVIRONMENT = {
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
    "AWS_EC2_METADATA_DISABLED": "true",
    "COFFRE_CONFIGURATION": "/coffre/safe/configuration",
    "COFFRE_VAULT_BUCKET": "vault",
    "COFFRE_CATALOG_TABLE": "catalog",
    "COFFRE_ALERT_TOPIC_ARN": "arn:aws:sns:eu-west-1:111122223333:alerts",
    "PYTHONDONTWRITEBYTECODE": "1",
}


@dataclass(frozen=True)
class Start:
    """Milliseconds, wall clock and CPU: until the handler is imported, and until its clients are made too."""

    import_wall: float
    import_cpu: float
    ready_wall: float
    ready_cpu: float


def build(layer: str, architecture: str, directory: Path) -> Path:
    """Build a layer as SAM does, in a scratch copy, and return its directory."""
    source, scratch, output = CHECKOUT / "layers" / layer, directory / "scratch", directory / layer
    shutil.copytree(source, scratch, ignore=shutil.ignore_patterns("__pycache__"))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        ["make", "--silent", "--makefile", str(source / architecture / "Makefile"), _TARGETS[layer]],
        cwd=scratch,
        env={**os.environ, "PATH": path, "ARTIFACTS_DIR": str(output)},
        check=True,
    )
    shutil.rmtree(scratch)
    return output


def zipped_size(directory: Path, archive: Path) -> int:
    """Return the bytes of a layer as it is uploaded."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as output:
        for file in directory.rglob("*"):
            output.write(file, file.relative_to(directory))
    return archive.stat().st_size


def start(function: str, layer: Path) -> Start:
    """Start a fresh process once."""
    path = json.dumps([str(CHECKOUT / "functions" / function), str(layer / "python")])
    command = [str(Path(sys.executable).resolve()), "-S", "-c", _PROGRAM, path]
    result = subprocess.run(command, env=_ENVIRONMENT, stdout=subprocess.PIPE, check=True)
    return Start(*(seconds * 1000 for seconds in json.loads(result.stdout)))


def median(starts: list[Start]) -> Start:
    """Return the middle of each figure."""
    return Start(*(statistics.median(getattr(one, name) for one in starts) for name in Start.__dataclass_fields__))


def print_starts(compiled: Path, source_only: Path, runs: int) -> None:
    """Start every contender in turn, `runs` times round, and print medians."""
    contenders = [
        (f"{function}, {what}", function, layer)
        for function in _FUNCTIONS
        for what, layer in (("layer as built", compiled), ("without byte code", source_only))
    ]
    starts: dict[str, list[Start]] = {name: [] for name, _, _ in contenders}
    for _, function, layer in contenders:
        start(function, layer)  # fills the page cache
    for _ in range(runs):
        for name, function, layer in contenders:
            starts[name].append(start(function, layer))
    print(f"medians of {runs} fresh processes, taken in turn, in ms\n")
    print("| cold start | import, wall | import, CPU | with clients, wall | with clients, CPU |")
    print("|---|---:|---:|---:|---:|")
    for name, found in starts.items():
        m = median(found)
        print(f"| {name} | {m.import_wall:.0f} | {m.import_cpu:.0f} | {m.ready_wall:.0f} | {m.ready_cpu:.0f} |")


def main() -> None:
    """Build, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="coffre-bench-") as temporary:
        directory = Path(temporary)
        sizes = []
        for architecture in ("x86_64", "arm64"):
            for layer in _LAYERS:
                built = build(layer, architecture, directory / architecture / layer)
                zipped = zipped_size(built, directory / f"{layer}-{architecture}.zip")
                sizes.append((layer, architecture, tree_size(built), zipped))
        compiled, source_only = directory / "x86_64" / "coffre" / "coffre", directory / "source-only"
        shutil.copytree(compiled, source_only, ignore=shutil.ignore_patterns("__pycache__"))
        print_starts(compiled, source_only, arguments.runs)
    print("\n| layer | architecture | unzipped MB | zipped MB |\n|---|---|---:|---:|")
    for layer, architecture, unzipped, zipped in sizes:
        print(f"| {layer} | {architecture} | {unzipped / 1e6:.1f} | {zipped / 1e6:.1f} |")


if __name__ == "__main__":
    main()
