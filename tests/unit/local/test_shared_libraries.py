"""Packages that PostgreSQL's programs need: apt does not wait for another apt, so one process at a time calls it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from coffre_local import shared_libraries
from coffre_local.errors import ToolError
from coffre_local.shared_libraries import require_shared_libraries


def test_of_two_that_need_the_same_packages_one_installs_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given two majors that are made at the same time: both have seen that packages are missing
    missing, looked, calls = {"libxml2.so.2", "libxslt.so.1"}, set[Path](), list[list[str]]()
    both = threading.Barrier(2)

    def look(home: Path) -> set[str]:
        found = set(missing)
        if home not in looked:
            looked.add(home)
            both.wait(60)
        return found

    def install(packages: list[str]) -> None:
        calls.append(packages)
        missing.clear()

    monkeypatch.setattr(shared_libraries, "missing_libraries", look)
    monkeypatch.setattr(shared_libraries, "may_install", lambda: True)
    monkeypatch.setattr(shared_libraries, "install", install)
    steps: list[str] = []

    with ThreadPoolExecutor(2) as pool:
        homes = [tmp_path / "postgresql-17", tmp_path / "postgresql-18"]
        list(pool.map(lambda home: require_shared_libraries(home, on_step=steps.append), homes))

    assert calls == [["libxml2", "libxslt1.1"]]
    assert steps == ["Installing the system packages libxml2 libxslt1.1"]


def test_what_may_not_be_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_libraries, "missing_libraries", lambda home: {"libxml2.so.2", "libodd.so.1"})
    monkeypatch.setattr(shared_libraries, "may_install", lambda: True)
    monkeypatch.setattr(shared_libraries, "install", lambda packages: pytest.fail("not all of it can be installed"))

    with pytest.raises(ToolError) as caught:
        require_shared_libraries(tmp_path / "postgresql-18", on_step=print)

    assert "libodd.so.1, libxml2.so.2" in caught.value.message
    assert "libodd.so.1 libxml2" in (caught.value.hint or "")
