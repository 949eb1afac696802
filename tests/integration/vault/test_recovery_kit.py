"""A stranger restores from a recovery kit: its README's own commands, in a root with nothing of Coffre in it."""

from __future__ import annotations

import json
import random
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest
from tests.integration.capture_scene import Scene
from tests.integration.conftest import BUCKET, Coffre, beside
from tests.integration.contents import rows, run
from tests.integration.vault.clean_room import CleanRoom
from tests.memory_store import MemoryStore

from coffre.vault.codec import new_identity, public_key
from coffre_cli import app
from coffre_local.sample import fingerprint, load, sequences

PASSPHRASE: Final = "five random words here"
# What must not be found in the room: Coffre, and what it is made of.
PACKAGES: Final = ("coffre", "coffre_cli", "pyrage", "backports.zstd", "boto3", "botocore", "psycopg2", "pydantic")
# Stands in for the AWS CLI, which only fetches the bytes.
AWS: Final = f"""#!/usr/bin/python3
import shutil, sys
assert sys.argv[1:] == ["s3", "sync", "s3://{BUCKET}", "vault", "--region", "eu-west-1"], sys.argv
shutil.copytree("/bytes", "vault")
"""


@pytest.fixture(scope="module")
def room(postgresql_home: Path, tmp_path_factory: pytest.TempPathFactory) -> CleanRoom:
    """What the README asks for, and a program `aws`."""
    programs = {name: shutil.which(name) for name in ("age", "zstd")}
    missing = [name for name, path in programs.items() if path is None]
    if missing:
        pytest.fail(f"Install what the kit's README asks for (.ci/run does): apt-get install {' '.join(missing)}")
    found = [Path(path) for path in programs.values() if path] + [postgresql_home / "bin" / "psql"]
    room = CleanRoom.build(tmp_path_factory.mktemp("clean") / "room", [*found, postgresql_home / "bin" / "pg_restore"])
    (room.root / "usr/bin/aws").write_text(AWS)
    (room.root / "usr/bin/aws").chmod(0o755)
    return room


@pytest.fixture
def restored(empty_database: str) -> Iterator[str]:
    """The URL of the database that the README's command creates."""
    url = beside(empty_database, "restored")
    yield url
    run(beside(empty_database, "postgres"), "DROP DATABASE IF EXISTS restored WITH (FORCE)")


@pytest.fixture
def photos(coffre: Coffre, tmp_path: Path) -> MemoryStore:
    """A bucket, two backups of which are in the vault."""
    store = MemoryStore()
    store.put("photos", "2026/ada.png", random.Random(2).randbytes(3_000_000), content_type="image/png")
    store.put("photos", "../../etc/passwd", b"a name that is no file's")
    (tmp_path / "buckets").mkdir()
    scene = Scene(tmp_path / "buckets", store, recipients=(public_key(coffre.identity),))
    scene.backup()
    store.put("photos", "2026/new.txt", b"later")
    scene.backup()
    vault = tmp_path / "buckets" / "vault"
    for file in (path for path in vault.rglob("*") if path.is_file()):
        coffre.put_object(str(file.relative_to(vault)), file.read_bytes())
    return store


def write_kit(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    """Run `coffre --vault s3://... keys recovery-kit`."""
    command = ["coffre", "--vault", f"s3://{BUCKET}", *map(str, arguments)]
    monkeypatch.setattr("sys.argv", command)
    monkeypatch.setenv("KIT", PASSPHRASE)
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert not ended.value.code


def test_a_stranger_restores_a_database_and_files_with_the_readmes_commands(
    coffre: Coffre,
    photos: MemoryStore,
    room: CleanRoom,
    empty_database: str,
    restored: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    # Given backups of a database and of a bucket, and a kit with the private key
    load(empty_database, scale=0.02, large_objects=True)
    coffre.configure(empty_database)
    assert coffre.backup()["status"] == "COMPLETED"
    identity = tmp_path / "identity.txt"
    identity.write_text(coffre.identity)
    kit = room.root / "kit"
    options = ["--include-identity", "--passphrase", "env:KIT"]
    write_kit(monkeypatch, "--identity", identity, "keys", "recovery-kit", kit, *options)
    for key, body in coffre.objects().items():
        file = room.root / "bytes" / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)

    # Nothing of Coffre, and no package at all, can be imported there
    look = f"import importlib.util as u; print([n for n in {PACKAGES} if u.find_spec(n.split('.')[0])])"
    assert room.run(f'cd /kit && python3 -c "{look}"', {}).shown.strip() == "[]"
    assert room.run(f"ls {Path(__file__).parent} || ls {sys.prefix}", {}).status != 0

    # When each command of the README is run, as it is there
    readme = (kit / "README.md").read_text()
    (block,) = re.findall(r"^```sh\n(.*?)^```$", readme, re.DOTALL | re.MULTILINE)
    commands = block.splitlines()
    assert len(commands) + readme.count("apt-get install") <= 5
    url = urlsplit(empty_database)
    server = {"PGHOST": str(url.hostname), "PGPORT": str(url.port), "PGUSER": str(url.username)}
    ended = [room.run(f"cd /kit && {command}", server, typed=PASSPHRASE) for command in commands]

    # Then all of it is there again
    assert [(one.status, one.shown) for one in ended if one.status] == []
    assert fingerprint(restored) == fingerprint(empty_database)
    assert sequences(restored) == sequences(empty_database)
    owners = "SELECT relname, relowner::regrole::text FROM pg_class WHERE relkind = 'r' AND relowner > 16384 ORDER BY 1"
    assert rows(restored, owners) == rows(empty_database, owners)
    folder = kit / "restored-files"
    index = [json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines()]
    assert {one["name"]: (folder / one["file"]).read_bytes() for one in index} == photos.bodies()
    assert (folder / "objects/photos/2026/ada.png").exists()

    # And the private key is nowhere but in its file
    assert coffre.identity not in "".join(one.shown for one in ended)
    assert list((room.root / "tmp").rglob("*")) == []


def test_the_wrong_passphrase_and_the_wrong_key_are_named(
    coffre: Coffre, photos: MemoryStore, room: CleanRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit = room.root / "other-kit"
    write_kit(monkeypatch, "keys", "recovery-kit", kit, "--identity-at", "in the safe")
    for key, body in coffre.objects().items():
        file = kit / "vault" / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)
    command = "cd /other-kit && python3 restore.py vault files --directory out --identity identity.txt"

    ended = room.run(command, {})
    assert ended.status == 1
    assert "STOP: the private key cannot be read: identity.txt" in ended.shown

    (kit / "identity.txt").write_text(new_identity())
    ended = room.run(command, {})
    assert ended.status == 1
    assert f"it is not the private key of {public_key(coffre.identity)}" in ended.shown
