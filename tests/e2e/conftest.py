"""A checkout of its own for the local stack, so that whoever uses `coffre local` in this one is not disturbed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from coffre_local.aws import isolated
from coffre_local.toolchain import CHECKOUT

COPIED = ("cli", "layers", "functions", "statemachine", "events", "requirements", "template.yaml")
# Tools and builds are shared: they are made once for one state of their sources, by whoever comes first.
SHARED = (".tools", ".aws-sam")
# Long enough for a machine that does several other things: a test that works never waits for it.
COMMAND_SECONDS = 600
PATIENCE_SECONDS = 120


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let a test wait for the build of another one, and for its own: five minutes are for tests without a stack."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(900))


@dataclass(frozen=True)
class Said:
    """How a command ended and what it said; `stack` is the first line on stderr, which says which stack answered."""

    status: int
    out: str
    err: str
    stack: str = ""

    def json(self) -> Any:
        """What a script reads."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Checkout:
    """A copy of this checkout, whose command knows its own local stack alone."""

    root: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the command and do not wait for it."""
        path = f"{self.root / 'cli'}{os.pathsep}{self.root / 'layers' / 'coffre'}"
        # The copy keeps its bytecode, whatever the shell says: compiling Coffre takes longer than most commands.
        own = {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "", **self.environment}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("COFFRE_")}
        return subprocess.Popen(
            [sys.executable, "-m", "coffre_cli", *arguments],
            cwd=self.root,
            env=isolated(own, inherited),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def coffre(self, *arguments: str) -> Said:
        """Run the command."""
        return ended(self.start(*arguments))


def ended(command: subprocess.Popen[str]) -> Said:
    """Wait for a command that was started."""
    with command:
        try:
            out, err = command.communicate(timeout=COMMAND_SECONDS)
        except subprocess.TimeoutExpired:
            command.kill()
            raise
    first, newline, rest = err.partition("\n")
    is_about_stack = newline and first.startswith(("The local stack ", "Stack ", "Your AWS account "))
    return Said(command.returncode, out, rest, first) if is_about_stack else Said(command.returncode, out, err)


@contextmanager
def copied(root: Path, environment: Mapping[str, str] | None = None) -> Iterator[Checkout]:
    """Give a copy of this checkout."""
    for name in COPIED:
        source = CHECKOUT / name
        if source.is_dir():
            # With its byte code, which is as good for the copy: compiling all of it takes longer than most commands.
            shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("*.pyc.*"))
        else:
            shutil.copyfile(source, root / name)
    for name in SHARED:
        (CHECKOUT / name).mkdir(exist_ok=True)
        (root / name).symlink_to(CHECKOUT / name)
    yield Checkout(root, environment or {})


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    with copied(tmp_path_factory.mktemp("checkout")) as made:
        yield made


def until[T](look: Callable[[], T | None], what: str) -> T:
    """Look until there is something to see."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (seen := look()) is None:
        assert time.monotonic() < deadline, f"not seen within {PATIENCE_SECONDS} seconds: {what}"
        time.sleep(0.2)
    return seen
