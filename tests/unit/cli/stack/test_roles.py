"""`coffre roles`: the scripts as they are in the documents, whether installed or in a checkout."""

from __future__ import annotations

from pathlib import Path

import pytest
from supply_chain.release import ROLES
from tests.unit.cli.conftest import Coffre

from coffre_cli.commands.stack import roles


@pytest.mark.parametrize("script", roles.Script)
def test_a_script_is_printed_as_it_is(coffre: Coffre, script: roles.Script) -> None:
    said = coffre("roles", script.value)

    assert (said.status, said.err) == (0, "")
    assert said.out == (ROLES / f"{script.value}.sql").read_text()


def test_the_installed_command_has_the_scripts_in_its_own_package(
    coffre: Coffre, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "roles").mkdir()
    (tmp_path / "roles/backup.sql").write_text("SELECT 1;\n")
    monkeypatch.setattr(roles, "_PACKAGE", tmp_path)

    assert coffre("roles", "backup").out == "SELECT 1;\n"


def test_another_script_is_wrong_usage(coffre: Coffre) -> None:
    assert coffre("roles", "admin").status == 2
