"""The state file says what is running, to the next command and to nobody else."""

import os
from pathlib import Path

import psutil
import pytest

from coffre_local.aws import LocalAws
from coffre_local.errors import StackError
from coffre_local.processes import ProcessMark
from coffre_local.stack import down, environment, environment_of, running
from coffre_local.state import LocalPostgres, LocalState, forget_state, read_state, state_file, write_state


def full_state(directory: Path) -> LocalState:
    mark = ProcessMark(pid=4_000_000, started=1_700_000_000.25)
    return LocalState(
        status="up",
        stack="coffre",
        directory=directory,
        aws=LocalAws(port=4566, mark=mark, directory=directory / "aws", region="eu-west-1"),
        postgres=LocalPostgres(port=5432, mark=mark, directory=directory / "postgres", password="secret"),
        databases=("casa", "shop"),
        outputs={"VaultBucket": "coffre-vault"},
        parameters={"Recipient": "age1"},
        code="abc",
    )


def test_a_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    state = full_state(tmp_path / "local")

    write_state(state, tmp_path)

    assert read_state(tmp_path) == state


def test_without_a_file_there_is_no_state(tmp_path: Path) -> None:
    assert read_state(tmp_path) is None
    assert down(checkout=tmp_path) is False


def test_only_the_owner_reads_the_state_and_no_partial_file_stays(tmp_path: Path) -> None:
    write_state(full_state(tmp_path), tmp_path)

    assert state_file(tmp_path).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in state_file(tmp_path).parent.iterdir()] == ["local.json"]


def test_a_password_is_not_shown(tmp_path: Path) -> None:
    assert "secret" not in repr(full_state(tmp_path))


def test_a_damaged_state_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    write_state(full_state(tmp_path), tmp_path)
    state_file(tmp_path).write_text("{")

    with pytest.raises(StackError, match=r"local\.json"):
        read_state(tmp_path)


def test_a_stack_whose_processes_are_gone_is_not_up(tmp_path: Path) -> None:
    write_state(full_state(tmp_path), tmp_path)

    with pytest.raises(StackError, match="coffre local up"):
        running(tmp_path)
    with pytest.raises(StackError, match="not up"):
        environment(tmp_path)


def test_down_clears_what_a_dead_stack_left(tmp_path: Path) -> None:
    directory = tmp_path / "local"
    (directory / "aws").mkdir(parents=True)
    write_state(full_state(directory), tmp_path)

    assert down(checkout=tmp_path) is True

    assert not directory.exists()
    assert read_state(tmp_path) is None


def test_the_environment_leads_to_the_emulator_and_names_the_stack(tmp_path: Path) -> None:
    variables = environment_of(full_state(tmp_path))

    assert variables["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4566"
    assert variables["AWS_REGION"] == variables["AWS_DEFAULT_REGION"] == "eu-west-1"
    assert variables["COFFRE_STACK"] == "coffre"


def test_a_forgotten_state_may_be_forgotten_again(tmp_path: Path) -> None:
    write_state(full_state(tmp_path), tmp_path)

    forget_state(tmp_path)
    forget_state(tmp_path)

    assert read_state(tmp_path) is None


def test_a_process_is_not_taken_for_another_with_its_pid() -> None:
    mine = ProcessMark.of(os.getpid())

    assert mine.process() == psutil.Process()
    assert ProcessMark(mine.pid, mine.started - 3600).process() is None
