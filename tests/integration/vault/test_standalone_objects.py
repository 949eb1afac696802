"""`coffre --vault`, for backups of buckets: out of a directory into files, and into buckets of a store that is left."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.contract.weed import OWNER, Weed
from tests.integration.bucket_backups import Object
from tests.integration.storage_scene import IDENTITY, Scene
from tests.integration.vault_copies import Command, command_in, files_of

from coffre.stores.s3_client import make_client


@pytest.fixture
def scene(weed: Weed, tmp_path: Path) -> Iterator[Scene]:
    with closing(make_client(region="us-east-1", endpoint_url=weed.endpoint_url, credentials=OWNER)) as client:
        yield Scene(tmp_path, client)


@pytest.fixture
def command(
    scene: Scene, weed: Weed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Command:
    """The command with the vault on this disk, its key, and the address of a store in a variable."""
    key = tmp_path / "key.txt"
    key.write_text(IDENTITY)
    store = {"endpoint": weed.endpoint_url, "access_key_id": OWNER.access_key_id}
    monkeypatch.setenv("STORE", json.dumps({**store, "secret_access_key": OWNER.secret_access_key}))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "COFFRE_STACK"):
        monkeypatch.delenv(name, raising=False)
    run = command_in(tmp_path / "here", monkeypatch, capfd)
    return lambda *arguments: run("--vault", tmp_path / "vault", "--identity", key, *arguments)


def test_objects_are_looked_at_taken_out_and_written_into_a_bucket(scene: Scene, command: Command) -> None:
    # Given a backup of a bucket, and an empty bucket somewhere else
    objects = {"photos/a/cat.txt": Object(b"cat"), "photos/a/dog.txt": Object(b"dog"), "photos/owl.txt": Object(b"owl")}
    backup = scene.backup(objects)
    before = files_of(scene.root / "vault")
    bucket = scene.new_bucket()
    into = ("--store", "env:STORE", "--to", bucket)

    listed = command("ls", "latest")
    one = command("cat", backup.id, "a/cat.txt")
    exported = command("export", "latest", "--to", "files")
    planned = command("restore", "objects", "latest", *into, "--dry-run")
    restored = command("restore", "objects", "latest", *into)

    assert [said.status for said in (listed, one, exported, planned, restored)] == [0, 0, 0, 0, 0]
    assert "PRE a/" in listed.out
    assert one.out == "cat"
    assert sorted(files_of(Path("files")).values()) == [b"cat", b"dog", b"owl"]
    assert "Nothing was changed" in planned.out
    assert "3 objects" in restored.out
    assert scene.contents(bucket) == {"a/cat.txt": b"cat", "a/dog.txt": b"dog", "owl.txt": b"owl"}
    # And the vault is only read
    assert files_of(scene.root / "vault") == before


def test_what_overwrites_asks_and_what_fails_is_told_without_another_try(scene: Scene, command: Command) -> None:
    scene.backup({"photos/cat.txt": Object(b"cat"), "photos/dog.txt": Object(b"dog" * 1_000_000)})
    before = files_of(scene.root / "vault")
    bucket = scene.new_bucket()
    into = ("--store", "env:STORE", "--to", bucket)
    scene.put(bucket, "cat.txt", b"tiger")

    refused = command("restore", "objects", "latest", *into, "--mode", "overwrite")
    retried = command("restore", "objects", "latest", "--retry", "01K9X000000000000000000000")
    over = ("--mode", "overwrite", "--yes", "--key", "cat.txt", "--key", "nosuch")
    unsafe = command("restore", "objects", "latest", *into, *over)
    assert scene.contents(bucket) == {"cat.txt": b"tiger"}
    chosen = command("restore", "objects", "latest", *into, *over, "--no-safety")

    assert (refused.status, "--yes" in refused.err) == (2, True)
    assert (retried.status, "needs a stack" in retried.err) == (2, True)
    assert (unsafe.status, "[SAFETY_IMPOSSIBLE]" in unsafe.err) == (1, True)
    assert chosen.status == 4
    assert scene.contents(bucket) == {"cat.txt": b"cat"}
    assert "--retry" not in chosen.out
    assert files_of(scene.root / "vault") == before


def test_a_list_of_keys_too_long_for_an_event_is_kept_beside_the_vault(scene: Scene, command: Command) -> None:
    objects = {f"photos/{number:04}.txt": Object(str(number).encode()) for number in range(700)}
    scene.backup(objects)
    bucket = scene.new_bucket()
    before = files_of(scene.root / "vault")
    Path("keys.txt").write_text("\n".join(f"{number:04}.txt" for number in range(700)))

    said = command("restore", "objects", "latest", "--store", "env:STORE", "--to", bucket, "--keys-from", "keys.txt")

    assert (said.status, len(scene.contents(bucket))) == (0, 700)
    assert files_of(scene.root / "vault") == before


def test_a_vault_in_another_store_is_reached_by_its_address(
    scene: Scene, weed: Weed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    # Given a vault in a store that is not AWS, below a prefix, and the usual variables with its key
    scene.backup({"photos/cat.txt": Object(b"cat")})
    bucket = scene.new_bucket()
    for name, body in files_of(scene.root / "vault").items():
        scene.put(bucket, f"safe/{name}", body)
    key = tmp_path / "key.txt"
    key.write_text(IDENTITY)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", OWNER.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", OWNER.secret_access_key)
    run = command_in(tmp_path / "here", monkeypatch, capfd)
    vault = ("--vault", f"s3://{bucket}/safe", "--endpoint-url", weed.endpoint_url, "--identity", key)

    one = run(*vault, "cat", "latest", "cat.txt")
    read = run(*vault, "verify", "latest")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    refused = run(*vault, "list")

    assert (one.status, one.out) == (0, "cat")
    assert (read.status, ": verified" in read.out) == (0, True)
    assert (refused.status, "[STORE_CREDENTIALS]" in refused.err) == (1, True)
