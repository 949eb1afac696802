"""`coffre recover --safety`: what a destination holds is backed up before it is replaced."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.contract.weed import OWNER, Weed
from tests.integration.bucket_backups import Object, keep_backup
from tests.integration.conftest import Coffre, run_sql
from tests.integration.vault_copies import Command, command_in, copy_vault, files_of, write_identity

from coffre.operations.restore_database.consent import old_name
from coffre.stores.directory import DirectoryStore
from coffre.stores.s3_client import make_client
from coffre.vault.codec import public_key
from coffre.vault.vault import Vault
from coffre_cli.commands.restore.without_stack import restore_database_here

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

RESTORE = "coffre_cli.commands.recover.steps.restore_database_here"
_numbers = itertools.count(1)


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture(scope="module")
def client(weed: Weed) -> Iterator[S3Client]:
    client = make_client(region="us-east-1", endpoint_url=weed.endpoint_url, credentials=OWNER)
    yield client
    client.close()


@pytest.fixture
def run(
    tmp_path: Path, postgresql_home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Command:
    monkeypatch.setenv("COFFRE_POSTGRES_HOME", str(postgresql_home))
    return command_in(tmp_path / "here", monkeypatch, capfd)


def journal(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "here" / "coffre-recovery" / "recovery.json").read_text())
    return found


def safety_backup(folder: Path) -> str:
    """The id of the backup that the journal's SAFETY step took."""
    [note] = next(step["notes"] for step in journal(folder)["steps"] if step["kind"] == "safety")
    return str(note.partition(" is the backup ")[2].partition(":")[0])


def test_a_database_in_use_is_backed_up_and_then_replaced_also_when_the_process_dies(
    coffre: Coffre,
    shop: str,
    new_database: str,
    run: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    coffre.configure(shop)
    coffre.backup()
    copy, key = copy_vault(coffre, tmp_path / "copy"), write_identity(coffre, tmp_path / "key.txt")
    run_sql(shop, "CREATE TABLE precious (id int)", "INSERT INTO precious VALUES (7)")
    monkeypatch.setenv("USED", shop)
    command = ("recover", "--from", copy, "--identity", key, "--to", "shop=env:USED", "--safety", "directory:before")

    missing = run(*command, "--yes")
    (tmp_path / "here" / "before").mkdir()
    planned = run(*command, "--dry-run")
    assert files_of(tmp_path / "here" / "before") == {}

    def unnoted(*arguments: Any, **how: Any) -> Any:
        ended = restore_database_here(*arguments, **how)
        if how.get("restore_id"):
            raise Killed  # it is in its place, and that is not noted
        return ended

    monkeypatch.setattr(RESTORE, unnoted)
    with pytest.raises(Killed):
        run(*command, "--yes")
    monkeypatch.setattr(RESTORE, restore_database_here)
    done = run("recover", "--resume")

    assert (missing.status, "Mount the disk, or make the directory" in missing.err) == (1, True)
    assert planned.status == 0, planned.err
    assert "holds is backed up to directory:before" in planned.out
    assert "about 1,051 rows" in planned.out
    assert done.status == 0, done.out + done.err
    assert run_sql(shop, "SELECT count(*), to_regclass('precious') FROM orders") == [(1000, None)]
    # What it held: in the backup, and under another name
    step = next(step for step in journal(tmp_path)["steps"] if step["kind"] == "database")
    name = shop.rpartition("/")[2]
    kept = shop.replace(name, old_name(name, step["restore_id"]))
    assert run_sql(kept, "SELECT id FROM precious") == [(7,)]
    monkeypatch.setenv("NEW", new_database)
    vault = ("--vault", "directory:before", "--identity", key)
    back = run(*vault, "restore", "database", safety_backup(tmp_path), "--to", "env:NEW")
    assert back.status == 0, back.out + back.err
    assert run_sql(new_database, "SELECT id FROM precious") == [(7,)]
    run_sql(shop.replace(name, "postgres"), f'DROP DATABASE "{old_name(name, step["restore_id"])}"')


def test_objects_are_backed_up_and_then_overwritten_and_a_directory_is_put_away(
    coffre: Coffre, run: Command, client: S3Client, weed: Weed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, key = tmp_path / "copy", write_identity(coffre, tmp_path / "key.txt")
    copy.mkdir()
    (tmp_path / "here" / "before").mkdir()
    keep_backup(
        Vault(DirectoryStore(copy)),
        {"photos/a.txt": Object(b"a of the backup")},
        tmp_path,
        recipients=[public_key(coffre.identity)],
        target="files",
    )
    bucket = f"recover-safety-{next(_numbers)}"
    client.create_bucket(Bucket=bucket)
    client.put_object(Bucket=bucket, Key="a.txt", Body=b"a in use")
    client.put_object(Bucket=bucket, Key="other.txt", Body=b"other")
    secret = {"access_key_id": OWNER.access_key_id, "secret_access_key": OWNER.secret_access_key}
    monkeypatch.setenv("STORE", json.dumps({**secret, "endpoint": weed.endpoint_url, "region": "us-east-1"}))
    source = ("recover", "--from", copy, "--identity", key, "--safety", "directory:before", "--yes")
    (tmp_path / "here" / "back").mkdir()
    (tmp_path / "here" / "back" / "mine.txt").write_text("mine")

    done = run(*source, "--to", f"files=s3://{bucket}", "--store", "files=env:STORE")
    backup = safety_backup(tmp_path)
    aside = run(*source, "--to", "files=directory:back", "--work", "other")

    assert done.status == 0, done.out + done.err
    assert client.get_object(Bucket=bucket, Key="a.txt")["Body"].read() == b"a of the backup"
    assert client.get_object(Bucket=bucket, Key="other.txt")["Body"].read() == b"other"
    exported = run("--vault", "directory:before", "--identity", key, "export", backup, "--to", "held")
    assert exported.status == 0, exported.err
    assert files_of(tmp_path / "here" / "held") == {"a.txt": b"a in use", "other.txt": b"other"}
    assert aside.status == 0, aside.out + aside.err
    assert files_of(tmp_path / "here" / "back") == {"a.txt": b"a of the backup"}
    [away] = (tmp_path / "here").glob("back.before-*")
    assert files_of(away) == {"mine.txt": b"mine"}


def test_a_destination_is_not_replaced_without_its_backup(
    coffre: Coffre, shop: str, run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    coffre.configure(shop)
    coffre.backup()
    copy, key = copy_vault(coffre, tmp_path / "copy"), write_identity(coffre, tmp_path / "key.txt")
    run_sql(shop, "CREATE TABLE precious (id int)", "INSERT INTO precious VALUES (7)")
    monkeypatch.setenv("USED", shop)
    (tmp_path / "broken" / "bin").mkdir(parents=True)  # no pg_dump
    monkeypatch.setenv("COFFRE_POSTGRES_HOME", str(tmp_path / "broken"))
    (tmp_path / "here" / "before").mkdir()
    command = ("recover", "--from", copy, "--identity", key, "--to", "shop=env:USED", "--safety", "directory:before")

    rehearsed = run(*command, "--rehearse")
    done = run(*command, "--yes")

    assert (rehearsed.status, "scratch places of its own" in " ".join(rehearsed.err.split())) == (2, True)
    assert done.status == 1
    assert "[TOOLS_MISSING]" in done.out
    states = {step["name"]: step["state"] for step in journal(tmp_path)["steps"]}
    assert states == {"back up the destination of shop": "failed", "restore shop": "waiting"}
    assert run_sql(shop, "SELECT id FROM precious") == [(7,)]
