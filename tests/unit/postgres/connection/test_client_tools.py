"""Client programs: found or said to be missing, started with a clean environment, ended all at once."""

import os
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from coffre.model.errors import CoffreError, DumpError, DumpTransientError, ServerVersionError, SettingsError
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.child_process import StderrTail
from coffre.postgres.connection.client_tools import Children, PostgresTools, output_of

HERE = Connection("db.example.com", 5432, "app", "hunter2", "shop")


@pytest.fixture
def tools(tmp_path: Path) -> PostgresTools:
    (tmp_path / "bin").mkdir()
    return PostgresTools(tmp_path)


def program(tools: PostgresTools, name: str, script: str) -> str:
    """Write a program in sh."""
    path = tools.home / "bin" / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_a_program_that_is_missing_is_named_with_the_layer_to_attach(tools: PostgresTools) -> None:
    with pytest.raises(SettingsError) as caught:
        tools.program("pg_dump")

    assert caught.value.code == "TOOLS_MISSING"
    assert "PostgresqlClientLayer" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("pg_dump (PostgreSQL) 18.6", (18, 6)),
        ("pg_dump (PostgreSQL) 19devel", (19, 0)),
        ("pg_dump (PostgreSQL) 17.2 (Debian 17.2-1.pgdg120+1)", (17, 2)),
    ],
)
def test_the_version_is_read(tools: PostgresTools, said: str, version: tuple[int, int]) -> None:
    program(tools, "pg_dump", f"echo '{said}'")

    assert tools.version() == version


@pytest.mark.parametrize("script", ["exit 127", "echo something else", "echo broken >&2; exit 1"])
def test_a_program_that_does_not_run_is_said_to_be_broken(tools: PostgresTools, script: str) -> None:
    program(tools, "pg_dump", script)

    with pytest.raises(SettingsError) as caught:
        tools.version()

    assert caught.value.code == "TOOLS_BROKEN"


def test_a_newer_server_is_refused_and_an_equal_or_older_one_is_not(tools: PostgresTools) -> None:
    program(tools, "pg_dump", "echo 'pg_dump (PostgreSQL) 18.1'")

    for number in (130000, 180000, 180009):
        tools.refuse_newer_server(HERE, number)
    with pytest.raises(ServerVersionError) as caught:
        tools.refuse_newer_server(HERE, 190000)
    assert "PostgreSQL 19" in caught.value.message
    assert "(18)" in caught.value.message


def test_a_child_gets_nothing_of_our_environment(tools: PostgresTools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2-of-aws")
    monkeypatch.setenv("PGOPTIONS", "-c x=y")
    show = program(tools, "show", "/usr/bin/env")

    with output_of(Children(), [show], tools.environment(HERE), HERE) as stdout:
        lines = dict(line.split("=", 1) for line in stdout.read().decode().splitlines())

    assert lines["PGPASSWORD"] == "hunter2"
    assert lines["PGAPPNAME"] == "coffre"
    assert not {name for name in lines if name.startswith("AWS")}
    assert "PGOPTIONS" not in lines
    assert not Path(lines["PGPASSFILE"]).exists()


def test_what_a_program_writes_counts_only_with_exit_status_0(tools: PostgresTools) -> None:
    good = program(tools, "good", "echo rows; echo a warning >&2")
    bad = program(tools, "bad", "echo rows; echo 'ERROR: it broke' >&2; exit 3")

    with output_of(Children(), [good], tools.environment(), HERE) as stdout:
        assert stdout.read() == b"rows\n"
    with pytest.raises(DumpError) as caught, output_of(Children(), [bad], tools.environment(), HERE) as stdout:
        assert stdout.read() == b"rows\n"
    assert caught.value.code == "TOOL_FAILED"
    assert caught.value.detail == "ERROR: it broke"
    assert "hunter2" not in str(caught.value)


def test_all_children_are_ended_at_once_and_none_starts_any_more(tools: PostgresTools) -> None:
    sleeper = program(tools, "sleeper", "exec sleep 600")
    children = Children()
    running = [children.start([sleeper], tools.environment()) for _ in range(3)]

    children.end_all()

    assert all(child.wait(timeout=60) < 0 for child in running)
    with pytest.raises(CoffreError) as caught:
        children.start([sleeper], tools.environment())
    assert caught.value.code == "STOPPED"
    assert isinstance(caught.value, DumpTransientError)
    for child in running:
        children.forget(child)


def test_a_child_that_is_forgotten_is_gone_and_its_pipes_are_closed(tools: PostgresTools) -> None:
    sleeper = program(tools, "sleeper", "exec sleep 600")
    children = Children()
    child = children.start([sleeper], tools.environment(), stdin=subprocess.PIPE)

    children.forget(child)

    assert child.returncode == -9
    assert child.complaint() == ""
    assert all(pipe is not None and pipe.closed for pipe in (child.stdin, child.stdout, child.stderr))
    children.forget(child)


def test_a_pipe_that_is_still_read_keeps_its_number(tools: PostgresTools) -> None:
    """A reader in a thread would take what the next child says to the same number."""
    escaped = program(tools, "escaped", "setsid sh -c 'echo $$; exec sleep 600' & wait")
    children = Children()
    child = children.start([escaped], tools.environment())
    sleeper = int(child.output.readline())

    children.forget(child)

    assert child.stderr is not None
    assert not child.stderr.closed
    os.kill(sleeper, signal.SIGKILL)
    assert child.complaint() == ""
    assert child.stderr.closed


def test_only_the_end_of_a_flood_on_stderr_is_kept() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        tail = StderrTail(pipe)
        with os.fdopen(writing, "wb") as output:
            output.write(b"x" * 1_000_000 + "the end é\n".encode())
        text = tail.text()

    assert text.endswith("the end é")
    assert len(text) <= 16 * 1024
