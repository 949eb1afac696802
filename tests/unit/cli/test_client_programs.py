"""PostgreSQL's client programs on a laptop: the first usable ones, and a clear word when there are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from coffre.model.errors import SettingsError
from coffre_cli import client_programs
from coffre_cli.client_programs import find_client_programs


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without any PostgreSQL."""
    monkeypatch.delenv("COFFRE_POSTGRES_HOME", raising=False)
    monkeypatch.setattr(client_programs, "_CHECKOUT", tmp_path / "checkout")
    monkeypatch.setattr(client_programs, "_DEBIAN", tmp_path / "debian")
    monkeypatch.setenv("PATH", str(tmp_path / "path" / "bin"))


def installed(home: Path, version: str) -> Path:
    """Make programs that say what version they are."""
    (home / "bin").mkdir(parents=True)
    program = home / "bin" / "pg_restore"
    program.write_text(f"#!/bin/sh\necho 'pg_restore (PostgreSQL) {version}'\n")
    program.chmod(0o755)
    return home


def refusal(home: Path | None = None) -> SettingsError:
    with pytest.raises(SettingsError) as refused:
        find_client_programs().program("pg_restore")
    assert refused.value.code == "TOOLS_MISSING"
    assert "COFFRE_POSTGRES_HOME" in (refused.value.hint or "")
    assert home is None or str(home) in refused.value.message
    return refused.value


def test_without_any_it_is_only_said_when_one_is_needed() -> None:
    find_client_programs()

    assert "was not found" in refusal().message


def test_the_newest_of_the_checkout_comes_before_the_systems_and_the_path(tmp_path: Path) -> None:
    on_path = installed(tmp_path / "path", "17.2")
    assert find_client_programs().home == on_path
    system = installed(tmp_path / "debian" / "17", "17.6")
    installed(tmp_path / "debian" / "9", "9.6.24")
    assert find_client_programs().home == system
    checkout = installed(tmp_path / "checkout" / ".tools" / "postgresql-18", "18.6")
    installed(tmp_path / "checkout" / ".tools" / "postgresql-14", "14.20")
    found = find_client_programs()
    assert found.home == checkout
    assert found.program("pg_restore") == str(checkout / "bin" / "pg_restore")


def test_what_is_too_old_or_does_not_run_is_passed_over_and_named_when_there_is_nothing_else(tmp_path: Path) -> None:
    old = installed(tmp_path / "debian" / "15", "15.4 (Debian 15.4-1)")
    assert "too old" in refusal(old).message
    broken = installed(tmp_path / "debian" / "18", "18.6")
    (broken / "bin" / "pg_restore").write_text("#!/bin/sh\nexit 1\n")
    assert "does not run" in refusal(broken).message
    usable = installed(tmp_path / "path", "18beta1")
    assert find_client_programs().home == usable


def test_the_variable_is_taken_at_its_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(tmp_path / "path", "18.6")
    named = installed(tmp_path / "named", "18.1")
    monkeypatch.setenv("COFFRE_POSTGRES_HOME", str(named))
    assert find_client_programs().home == named

    monkeypatch.setenv("COFFRE_POSTGRES_HOME", str(tmp_path / "nowhere"))
    refusal(tmp_path / "nowhere")
