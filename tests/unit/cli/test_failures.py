"""How the command ends: full disks, closed pipes, Ctrl-C and defects are one clear line, never a traceback."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from botocore.parsers import ResponseParserError
from tests.unit.cli.conftest import Account, Coffre

from coffre_cli import app
from coffre_cli.deployed import DeployedStack

ROOT = Path(__file__).resolve().parents[3]
COMMAND = [sys.executable, "-m", "coffre_cli"]


def run_into(output: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, by a shell that redirects its output."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'cli'}:{ROOT / 'layers/coffre'}"}
    line = f'"$@" {output}'
    return subprocess.run(
        ["bash", "-c", line, "-", *COMMAND, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("restore", "tables", "--help")])
def test_output_onto_a_full_disk_is_one_clear_error(arguments: tuple[str, ...]) -> None:
    ended = run_into("> /dev/full", *arguments)

    assert ended.returncode == 1
    assert ended.stderr.startswith("Error: The output could not be written: No space left on device. [OUTPUT_FAILED]\n")
    assert ended.stderr.count("Error: ") == 1
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr


@pytest.mark.parametrize("output", ["| true", "| head -n 1", ">&-"])
def test_a_reader_that_has_enough_is_no_error(output: str) -> None:
    ended = run_into(output, "--help")

    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_defect_is_one_clear_error_with_a_file_that_can_be_reported(
    coffre: Coffre, account: Account, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("COFFRE_DEBUG")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr(DeployedStack, "known_target", lambda stack, name: 1 // 0)

    said = coffre("list", "shop")

    [file] = tmp_path.glob("coffre-defect-*.txt")
    assert said.status == 1
    assert said.err.startswith("Error: This should not happen: coffre has a defect. [DEFECT]\n  ZeroDivisionError: ")
    assert str(file) in said.err.replace("\n", "")
    assert "ZeroDivisionError" in file.read_text()
    assert file.stat().st_mode & 0o077 == 0


def test_a_defect_on_a_full_disk_is_still_one_error(
    coffre: Coffre, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COFFRE_DEBUG")
    monkeypatch.setattr(DeployedStack, "known_target", lambda stack, name: 1 // 0)

    def full(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.mkstemp", full)

    assert "with what COFFRE_DEBUG=1 shows" in coffre("list", "shop").err


def test_an_answer_that_cannot_be_read_is_no_defect(
    coffre: Coffre, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(stack: DeployedStack, name: str) -> str:
        raise ResponseParserError("Unable to parse response, invalid XML received.")

    monkeypatch.setattr(DeployedStack, "known_target", answer)

    said = coffre("list", "shop")

    assert said.status == 1
    assert "something that cannot be read. [ANSWER_UNREADABLE]" in said.err
    assert "invalid XML received" in said.err


def test_a_file_that_cannot_be_used_is_named(coffre: Coffre, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(stack: DeployedStack, name: str) -> str:
        raise PermissionError(13, "Permission denied", "/etc/shadow")

    monkeypatch.setattr(DeployedStack, "known_target", refuse)

    said = coffre("list", "shop")

    assert said.status == 1
    assert said.err.startswith("Error: /etc/shadow cannot be used: Permission denied. [FILE_FAILED]\n")


def test_ctrl_c_while_a_function_answers_says_that_it_continues(
    coffre: Coffre, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    def press(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(DeployedStack, "_invoke", press)

    for arguments in (("verify",), ("rotate", "--dry-run"), ("invoke", "verify", "--event", "-")):
        said = coffre(*arguments, stdin="{}")
        assert said.status == 130, arguments
        assert "Interrupted. The function " in said.err
        assert "continues in the stack until it is done." in said.err


def test_ctrl_c_before_the_command_has_begun_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    def press() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(app, "main", press)

    with pytest.raises(SystemExit) as ended:
        runpy.run_module("coffre_cli", run_name="__main__")

    assert ended.value.code == 130
