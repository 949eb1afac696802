"""Tools are made once, made again when their lock file changes, and never used half made."""

import threading
from pathlib import Path

import pytest

from coffre_cli.local import toolchain as module
from coffre_cli.local.errors import ToolError
from coffre_cli.local.toolchain import Toolchain, copy_tree


class CountingToolchain(Toolchain):
    """Makes a virtual environment as an empty directory, and counts."""

    made = 0
    breaks = False

    def _install(self, name: str, home: Path) -> None:
        home.mkdir(parents=True)
        if self.breaks:
            raise ToolError("The index is gone.", code="LOCAL_TOOL_INSTALL")
        self.made += 1
        (home / "content").write_text(name)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with the lock file of one tool."""
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "ministack.txt").write_text("ministack==1\n")
    return tmp_path


def test_a_tool_is_made_once(checkout: Path) -> None:
    tools = CountingToolchain(checkout)

    assert tools.ministack() == tools.ministack() == checkout / ".tools" / "ministack"
    assert tools.made == 1


def test_a_changed_lock_file_makes_the_tool_again(checkout: Path) -> None:
    tools = CountingToolchain(checkout)
    (tools.ministack() / "left over").touch()

    (checkout / "requirements" / "ministack.txt").write_text("ministack==2\n")

    assert not (tools.ministack() / "left over").exists()
    assert tools.made == 2


def test_a_tool_that_was_left_half_made_is_made_again(checkout: Path) -> None:
    tools = CountingToolchain(checkout)
    tools.breaks = True
    with pytest.raises(ToolError, match="index is gone"):
        tools.ministack()

    tools.breaks = False

    assert (tools.ministack() / "content").read_text() == "ministack"


def test_two_at_a_time_make_a_tool_once(checkout: Path) -> None:
    tools = CountingToolchain(checkout)
    threads = [threading.Thread(target=tools.ministack) for _ in range(4)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert tools.made == 1


def test_progress_names_the_tool(checkout: Path) -> None:
    steps: list[str] = []

    CountingToolchain(checkout, on_step=steps.append).ministack()

    assert [step.split(" into ")[0] for step in steps] == ["Installing ministack"]


def test_unknown_tools_and_majors_are_refused_by_name(checkout: Path) -> None:
    with pytest.raises(ToolError, match="no tool named docker"):
        CountingToolchain(checkout).make(["docker"])
    with pytest.raises(ToolError, match="PostgreSQL 12"):
        CountingToolchain(checkout).postgresql(12)


def test_every_tool_of_the_checkout_has_a_lock_file() -> None:
    names = [name for name in module.TOOLS if name != "postgresql-embedded"]

    assert all((module.CHECKOUT / "requirements" / f"{name}.txt").exists() for name in names)


def test_a_copied_tree_can_be_read_and_run_by_everyone(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "bin").mkdir(parents=True, mode=0o700)
    (source / "bin" / "postgres").write_text("program")
    (source / "bin" / "postgres").chmod(0o700)
    (source / "bin" / "notes").write_text("text")
    (source / "bin" / "notes").chmod(0o600)

    copy_tree(source, tmp_path / "copy")

    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "copy").rglob("*")}
    assert modes == {"bin": 0o755, "postgres": 0o755, "notes": 0o644}
    assert (source / "bin" / "postgres").stat().st_mode & 0o777 == 0o700


def test_a_loop_in_c_that_does_not_build_is_an_error_with_what_make_said(checkout: Path) -> None:
    layer = checkout / "layers" / "coffre"
    layer.mkdir(parents=True)
    (layer / "Makefile").write_text("copydata:\n\t@echo no compiler >&2; false\n")

    with pytest.raises(ToolError) as caught:
        Toolchain(checkout).copydata()

    assert "no compiler" in (caught.value.detail or "")
