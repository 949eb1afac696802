"""`coffre ls`, `coffre cat` and `coffre diff` on backups of buckets, and what needs no database of the others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.integration.bucket_backups import Object, keep_backup
from tests.unit.cli.conftest import BUCKET, Account, Coffre

from coffre.model.backup import Backup
from coffre.stores.directory import DirectoryStore
from coffre.stores.s3 import S3Store
from coffre.stores.s3_client import make_client
from coffre.stores.store import put_small
from coffre.vault.codec import new_identity, public_key
from coffre.vault.vault import Vault

IDENTITY = new_identity()
FILES = {
    "photos/2026/cat.jpg": Object(b"meow", content_type="image/jpeg", tags={"kind": "cat"}),
    "photos/2026/old/dog.jpg": Object(b"woof"),
    "photos/bell\x1b[2J": Object(b"ding"),
    "photos/readme": Object(b"read me"),
    "photos/secret": Object(b"1234567", unread="STORE_DENIED: s3:GetObject was denied."),
}


def keep(account: Account, scratch: Path, objects: dict[str, Object]) -> Backup:
    vault = Vault(S3Store(BUCKET, client=make_client()))
    backup = keep_backup(vault, objects, scratch, recipients=[public_key(IDENTITY)])
    account.catalog.create_backup(backup)
    return backup


@pytest.fixture
def uploads(account: Account, tmp_path: Path) -> Backup:
    return keep(account, tmp_path, FILES)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key.txt"
    path.write_text(IDENTITY)
    return path


def test_a_folder_is_listed_like_one_of_a_bucket(coffre: Coffre, uploads: Backup) -> None:
    said = coffre("ls", uploads.id)

    assert (said.status, said.err) == (0, "")
    assert said.out == (
        "                                   PRE 2026/\n"
        "2026-11-17 03:00:00                  4 bell\\x1b[2J\n"
        "2026-11-17 03:00:00                  7 readme\n"
        "2026-11-17 03:00:00                  7 secret   (not in the backup: it could not be read)\n"
    )
    below = coffre("ls", uploads.id, "2026/c")
    assert below.out == "2026-11-17 03:00:00                  4 cat.jpg\n"


def test_scripts_get_every_object_with_its_attributes(coffre: Coffre, uploads: Backup) -> None:
    listed = coffre("ls", uploads.id, "2026/", "--recursive", "--json").json()

    assert [item["key"] for item in listed] == ["2026/cat.jpg", "2026/old/dog.jpg"]
    assert (listed[0]["bucket"], listed[0]["size"], listed[0]["tags"]) == ("photos", 4, {"kind": "cat"})
    assert coffre("ls", uploads.id, "--json").json()[0] == {"bucket": "photos", "folder": "2026/"}


def test_what_is_not_there_is_an_error(coffre: Coffre, uploads: Backup, key: Path) -> None:
    for arguments, code in (
        (("ls", uploads.id, "no/such"), "PREFIX_UNMATCHED"),
        (("ls", uploads.id, "--bucket", "videos"), "BUCKET_UNKNOWN"),
        (("cat", uploads.id, "no/such", "--identity", key), "NOT_IN_BACKUP"),
    ):
        said = coffre(*arguments)
        assert (said.status, said.out) == (1, "")
        assert code in said.err


@pytest.mark.parametrize("what", [(), ("2026/cat.jpg", "--roles")])
def test_one_thing_is_named(coffre: Coffre, uploads: Backup, what: tuple[str, ...]) -> None:
    said = coffre("cat", uploads.id, *what)

    assert (said.status, said.out) == (2, "")
    assert "Name an object or a table, or give --roles." in said.err


def test_buckets_have_no_roles(coffre: Coffre, uploads: Backup, key: Path) -> None:
    said = coffre("cat", uploads.id, "--roles", "--identity", key)

    assert (said.status, said.out) == (2, "")
    assert "Roles are in backups of databases." in said.err


def test_one_object_goes_to_stdout(coffre: Coffre, uploads: Backup, key: Path, tmp_path: Path) -> None:
    kept = os.dup(1)
    with (tmp_path / "out").open("wb") as file:
        os.dup2(file.fileno(), 1)
        try:
            said = coffre("cat", uploads.id, "2026/cat.jpg", "--identity", key)
        finally:
            os.dup2(kept, 1)
            os.close(kept)

    assert (said.status, said.err) == (0, "")
    assert (tmp_path / "out").read_bytes() == b"meow"


def test_bytes_that_were_never_read_are_told(coffre: Coffre, uploads: Backup, key: Path) -> None:
    said = coffre("cat", uploads.id, "secret", "--identity", key)

    assert (said.status, said.out) == (1, "")
    assert "OBJECT_UNREAD" in said.err
    assert "STORE_DENIED" in said.err


def test_differences_are_told_like_diff_does(coffre: Coffre, account: Account, uploads: Backup, tmp_path: Path) -> None:
    changed = dict(FILES)
    del changed["photos/readme"]
    changed["photos/2026/cat.jpg"] = Object(b"meow meow", content_type="image/webp")
    changed["photos/new"] = Object(b"n")
    later = keep(account, tmp_path, changed)

    said = coffre("diff", uploads.id, later.id)
    assert (said.status, said.err) == (1, "1 added, 1 changed, 1 removed\n")
    assert said.out == (
        "~ photos/2026/cat.jpg  (4 B -> 9 B, content_type, tags)\n+ photos/new  (1 B)\n- photos/readme  (7 B)\n"
    )
    assert coffre("diff", later.id, later.id).status == 0
    assert coffre("diff", uploads.id, later.id, "--prefix", "2026/old/").err == "No differences.\n"
    assert coffre("diff", uploads.id, later.id, "--json").json()[2] == {
        "name": "photos/readme",
        "change": "removed",
        "size_before": 7,
    }


def test_trouble_is_not_a_difference(coffre: Coffre, account: Account, uploads: Backup) -> None:
    database = account.backup()

    assert coffre("diff", uploads.id, "01K9X000000000000000000000").status == 2
    other = coffre("diff", uploads.id, database.id)
    assert other.status == 2
    assert "BACKUP_KIND" in other.err


def test_tables_are_listed_from_the_manifest_alone(coffre: Coffre, account: Account) -> None:
    backup = account.backup()

    said = coffre("ls", backup.id).out.split("\n")
    assert [line.split() for line in said] == [
        ["TABLE", "ROWS", "SIZE"],
        ['public."Odd', 'Name"', "3", "12", "B"],
        ["public.orders", "1,000", "5.0", "MB"],
        [],
    ]
    assert coffre("ls", backup.id, "public.o", "--json").json() == [
        {"table": "public.orders", "rows": 1000, "size": 5000000}
    ]
    assert coffre("ls", backup.id, "nothing").status == 1


def test_what_the_vault_has_lost_is_read_from_a_copy_and_it_is_said(
    coffre: Coffre,
    account: Account,
    uploads: Backup,
    key: Path,
    tmp_path: Path,
) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    account.configure_copies(disk={"type": "directory", "path": str(copy)})
    mine, there = Vault(S3Store(BUCKET, client=make_client())).store, DirectoryStore(copy)
    for info in list(mine.list("v1/")):
        put_small(there, info.key, mine.get(info.key))
    [pack] = [info.key for info in mine.list("v1/packs/")]
    mine.delete(pack)

    alone = coffre("cat", uploads.id, "2026/cat.jpg", "--identity", str(key), "--from", "vault")
    out = str(tmp_path / "out")
    helped = coffre("export", uploads.id, "--prefix", "2026/", "--to", out, "--identity", str(key))
    for info in list(mine.list("v1/")):
        mine.delete(info.key)
    listed = coffre("ls", uploads.id, "--from", "disk")

    assert (alone.status, "[PACK_MISSING]" in alone.err) == (1, True)
    assert helped.status == 0, helped.err
    assert [path.read_bytes() for path in (tmp_path / "out").rglob("*.jpg")] == [b"meow", b"woof"]
    assert "The vault cannot give everything, the others are asked: " in helped.err
    assert (listed.status, "readme" in listed.out) == (0, True)


def test_a_copy_is_not_named_together_with_a_vault_alone(coffre: Coffre, tmp_path: Path) -> None:
    said = coffre("--vault", str(tmp_path), "ls", "latest", "--from", "disk")

    assert said.status != 0
