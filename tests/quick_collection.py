"""Byte code of a fresh checkout, made by all workers together: each would compile all of it, at the same time."""

from __future__ import annotations

import sys
from importlib.machinery import SourceFileLoader
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any, Final

import pytest
from _pytest.assertion import rewrite

from coffre_local.toolchain import CHECKOUT

_SOURCES: Final = ("tests", "layers/coffre/coffre", "layers/console/coffre_console", "cli")
# Pytest gives these no names of its own for others.
_rewrite_test: Any = vars(rewrite)["_rewrite_test"]
_write_pyc: Any = vars(rewrite)["_write_pyc"]


def compile_share(config: pytest.Config) -> None:
    """Compile what has no byte code yet: this worker's share of all files. What it lacks then, an import compiles."""
    worker = getattr(config, "workerinput", None)
    if worker is None or sys.dont_write_bytecode:
        return
    number, count = int(worker["workerid"].removeprefix("gw")), worker["workercount"]
    files = sorted(file for place in _SOURCES for file in (CHECKOUT / place).rglob("*.py"))
    for file in files[number::count]:
        if file.name.startswith("test_") or file.name == "conftest.py":
            _compile_with_assertions(file, config)
        elif not Path(cache_from_source(str(file))).exists():
            SourceFileLoader(file.stem, str(file)).get_code(file.stem)


def _compile_with_assertions(file: Path, config: pytest.Config) -> None:
    byte_code = rewrite.get_cache_dir(file) / (file.stem + rewrite.PYC_TAIL)
    if not byte_code.exists():
        byte_code.parent.mkdir(parents=True, exist_ok=True)
        source, code = _rewrite_test(file, config)
        _write_pyc(config.stash[rewrite.assertstate_key], code, source, byte_code)
