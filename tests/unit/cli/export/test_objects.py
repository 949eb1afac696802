"""`coffre export` of a backup of buckets: archives and directories, whole or not there."""

from __future__ import annotations

import io
import resource
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyrage
import pytest
from tests.integration.bucket_backups import Object, keep_backup
from tests.unit.cli.conftest import BUCKET, Account, Coffre

from coffre.model.backup import Backup
from coffre.stores.s3 import S3Store
from coffre.stores.s3_client import make_client
from coffre.vault.codec import new_identity, public_key
from coffre.vault.vault import Vault

IDENTITY = new_identity()
FILES = {
    "photos/2026/cat.jpg": Object(b"meow" * 100_000),
    "photos/2026/../../up": Object(b"hostile"),
    "photos/readme": Object(b"read me"),
}


@pytest.fixture
def uploads(account: Account, tmp_path: Path) -> Backup:
    vault = Vault(S3Store(BUCKET, client=make_client()))
    (tmp_path / "scratch").mkdir()
    backup = keep_backup(vault, FILES, tmp_path / "scratch", recipients=[public_key(IDENTITY)])
    account.catalog.create_backup(backup)
    (tmp_path / "key.txt").write_text(IDENTITY)
    return backup


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


KEY = ("--identity", "../key.txt")


def test_files_go_below_a_new_directory(coffre: Coffre, uploads: Backup, here: Path) -> None:
    said = coffre("export", uploads.id, "--to", "out", *KEY)

    assert (said.status, said.out) == (0, "")
    assert (here / "out/2026/cat.jpg").read_bytes() == b"meow" * 100_000
    assert sorted(path.name for path in here.iterdir()) == ["out"]
    assert "3 objects, 400.0 kB." in said.err
    assert "1 object could not keep the name" in said.err


def test_an_empty_directory_will_do_and_another_is_refused(coffre: Coffre, uploads: Backup, here: Path) -> None:
    (here / "empty").mkdir()
    (here / "full").mkdir()
    (here / "full/file").write_text("mine")
    (here / "link").symlink_to(here / "empty")

    assert coffre("export", uploads.id, "--to", "empty", "--prefix", "2026/cat", *KEY).status == 0
    for taken in ("full", "link"):
        said = coffre("export", uploads.id, "--to", taken, *KEY)
        assert (said.status, "OUTPUT_EXISTS" in said.err) == (1, True)

    assert [path.name for path in (here / "empty").rglob("*")] == ["2026", "cat.jpg"]
    assert (here / "full/file").read_text() == "mine"


def test_an_empty_directory_stays_what_it_is(
    coffre: Coffre, uploads: Backup, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can be a volume, in a place where nothing else can be made; and the one where this command runs."""
    volume = here / "volume"
    volume.mkdir(0o750)
    monkeypatch.chdir(volume)
    before = volume.stat()
    with files_of_at_most(100):
        assert "OUTPUT_FULL" in coffre("export", uploads.id, "--to", ".", "--identity", "../../key.txt").err
    assert list(volume.iterdir()) == []

    assert coffre("export", uploads.id, "--to", ".", "--identity", "../../key.txt").status == 0

    assert (volume / "readme").read_bytes() == b"read me"
    assert ((after := volume.stat()).st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    assert [path.name for path in here.iterdir()] == ["volume"]


def test_an_archive_is_named_after_target_and_time(coffre: Coffre, uploads: Backup, here: Path) -> None:
    said = coffre("export", uploads.id, *KEY)

    [archive] = here.iterdir()
    assert archive.name == f"uploads-{uploads.created_at:%Y%m%dT%H%M%SZ}.tar.zst"
    assert said.err.endswith(f"Unpack it:\n  zstd -dc {archive.name} | tar -x\n")
    opened = subprocess.run(["zstd", "-dc", archive], check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(opened)) as tar:
        assert {"2026/cat.jpg", "readme", "coffre-names.jsonl"} < set(tar.getnames())


def test_an_archive_for_somebody_else_is_encrypted(coffre: Coffre, uploads: Backup, here: Path) -> None:
    other = pyrage.x25519.Identity.generate()

    said = coffre(
        *("export", uploads.id, "--format", "tar.gz", "--recipient", str(other.to_public())),
        *("--output", "for-them.age", "--prefix", "readme", *KEY),
    )

    assert said.status == 0, said.err
    opened = pyrage.decrypt((here / "for-them.age").read_bytes(), [other])
    with tarfile.open(fileobj=io.BytesIO(opened), mode="r:gz") as tar:
        assert tar.getnames() == ["readme"]


@contextmanager
def files_of_at_most(size_bytes: int) -> Iterator[None]:
    """Let the disk seem full: every file ends there."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("where", [("--to", "out"), ("--output", "out")])
def test_a_full_disk_is_one_clear_error_and_nothing_is_left(
    coffre: Coffre, uploads: Backup, here: Path, where: tuple[str, str]
) -> None:
    with files_of_at_most(100):
        said = coffre("export", uploads.id, *where, *KEY)

    assert said.status == 1
    assert "out has no space for the export. [OUTPUT_FULL]" in said.err
    assert list(here.iterdir()) == []


def test_a_wrong_key_is_told_before_anything_is_written(coffre: Coffre, uploads: Backup, here: Path) -> None:
    (here.parent / "key.txt").write_text(new_identity())

    said = coffre("export", uploads.id, "--to", "out", *KEY)

    assert (said.status, "WRONG_IDENTITY" in said.err, list(here.iterdir())) == (1, True, [])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--to", "out", "--format", "tar.gz"), "--to writes files into a directory: leave --format out"),
        (("--to", "out", "--output", "x"), "leave --output out"),
        (("--table", "orders"), "--table is for backups of databases, and this is one of buckets"),
        (("--format", "plain"), "--format is for backups of databases, and this is one of buckets"),
        (("--prefix", "a", "--table", "orders"), "--prefix is for buckets, --table for databases"),
    ],
)
def test_what_does_not_fit_is_refused(
    coffre: Coffre, uploads: Backup, here: Path, arguments: tuple[str, ...], words: str
) -> None:
    said = coffre("export", uploads.id, *arguments, *KEY)

    assert (said.status, list(here.iterdir())) == (2, [])
    assert words in " ".join(said.err.split())


def test_options_for_objects_are_refused_for_a_database(coffre: Coffre, account: Account, here: Path) -> None:
    backup = account.backup()

    for option in (("--to", "out"), ("--format", "tar.gz"), ("--prefix", "a")):
        said = coffre("export", backup.id, *option)
        assert (said.status, list(here.iterdir())) == (2, [])
        assert "is for backups of buckets, and this is one of a database" in " ".join(said.err.split())
