"""A vault that functions made, copied to a directory, and the command that has nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import botocore.session
import pytest

from coffre_cli import app, screen

if TYPE_CHECKING:
    from tests.integration.conftest import Coffre


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it said."""

    status: int
    out: str
    err: str


type Command = Callable[..., Said]


def copy_vault(coffre: Coffre, folder: Path) -> Path:
    """Copy everything in the vault, as `aws s3 sync` does."""
    for key, body in coffre.objects().items():
        place = folder / key
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(body)
    return folder


def write_identity(coffre: Coffre, path: Path) -> Path:
    """Write the private key as `age-keygen` writes it."""
    path.write_text(f"# created: long ago\n{coffre.identity}\n")
    return path


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def command_in(folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Return the command `coffre`, run in this folder."""
    folder.mkdir(exist_ok=True)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(screen.console, "_width", 200)
    monkeypatch.setattr(screen.error_console, "_width", 200)

    def run(*arguments: object) -> Said:
        monkeypatch.setattr("sys.argv", ["coffre", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            app.main()
        said = capfd.readouterr()
        assert "Traceback" not in said.err
        code = ended.value.code
        assert isinstance(code, int | None)
        return Said(code or 0, said.out, said.err)

    return run


def without_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take AWS away: no credentials, no configuration, and whoever makes a client fails."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("there is no AWS any more")

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_REGION", "COFFRE_STACK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(botocore.session.Session, "create_client", refuse)


@dataclass(frozen=True)
class Lost:
    """What is left: the command with the copy and the key, and the ids of the backups, newest first."""

    command: Command
    ids: list[str]

    def __call__(self, *arguments: object) -> Said:
        return self.command(*arguments)


type Lose = Callable[..., Lost]


def losing(
    coffre: Coffre, shop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Lose:
    """Return what backs up, copies the vault, and takes AWS away."""

    def lose(*, times: int = 1) -> Lost:
        coffre.configure(shop)
        for _ in range(times):
            coffre.backup()
        ids = [backup.id for backup in coffre.backups()]
        vault = copy_vault(coffre, tmp_path / "vault")
        key = write_identity(coffre, tmp_path / "key.txt")
        without_aws(monkeypatch)
        run = command_in(tmp_path / "here", monkeypatch, capfd)
        return Lost(lambda *arguments: run("--vault", vault, "--identity", key, *arguments), ids)

    return lose
