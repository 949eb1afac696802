"""docs/format/buckets.md is true: the script reads real backups without Coffre, and it names all that is stored."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from tests.integration.capture_scene import IDENTITY, RECIPIENT, Scene
from tests.memory_store import MemoryStore, refusal

from coffre.buckets.reader import PIECE_BYTES
from coffre.model.manifest import BucketSummary, Entry, Manifest, ObjectFacts, StorageContent
from coffre.stores.s3_errors import Call
from coffre.vault import entry_files
from coffre.vault.entry_files import Cut, lists_as_packs
from coffre.vault.layout import writer_of

ROOT: Final = Path(__file__).parents[3]
DOCUMENT: Final = (ROOT / "docs" / "format" / "buckets.md").read_text()
SCRIPT: Final = ROOT / "cli" / "coffre_cli" / "commands" / "keys" / "kit" / "restore.py"


def fenced(language: str) -> str:
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    return str(block)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    store = MemoryStore()
    for number in range(40):
        store.put("photos", f"{number:02}/../x\n", b"small " * number, content_type="text/plain")
    store.put("photos", "empty", b"")
    for key in (
        "../../etc/passwd",
        "/",
        "a",
        "a/b",
        "A",
        "folder/",
        "c:d",
        "x" * 300,
        "..",
        "été/\u202eodd",
        "été/plain",
    ):
        store.put("photos", key, key.encode())
    store.put("photos", "film", random.Random(1).randbytes(PIECE_BYTES + 5))
    store.put("photos", "frozen", b"1")

    def refuse(operation: str, call: Call, number: int) -> None:
        if operation == "get" and call.key == "frozen":
            raise refusal(403, "InvalidObjectState")

    store.before = refuse
    return Scene(tmp_path, store)


def restored(scene: Scene, manifest: Manifest) -> tuple[subprocess.CompletedProcess[str], Path]:
    identity, out = scene.root / "identity", scene.root / "out"
    identity.write_text(IDENTITY + "\n")
    places = ["--identity", str(identity), "--directory", str(out)]
    command = [sys.executable, "-I", "-S", str(SCRIPT), str(scene.root / "vault"), "files", manifest.backup_id, *places]
    return subprocess.run(command, capture_output=True, text=True, check=False), out


@pytest.mark.parametrize("recipients", [(RECIPIENT,), ()], ids=["age", "none"])
def test_the_script_reads_every_object(
    scene: Scene, recipients: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entry_files, "Cut", partial(Cut, least=4, one_in=4))
    scene.recipients = recipients
    first = scene.backup()
    scene.store.put("photos", "00/../x\n", b"newer")  # type: ignore[union-attr]
    manifest = scene.backup()
    assert {writer_of(file.key) for file in manifest.entries} == {first.backup_id, manifest.backup_id}
    # Given no more than the document says: the backup's folder, and the packs that its manifest names
    shutil.rmtree(scene.root / f"vault/v1/backups/files/{first.backup_id}")
    named = {pack.key for pack in manifest.packs}
    for info in [info for info in scene.vault.store.list("v1/packs/") if info.key not in named]:
        scene.vault.store.delete(info.key)

    ended, out = restored(scene, manifest)

    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.startswith("not in the backup: 'photos/frozen': OBJECT_ARCHIVED")
    index = [json.loads(line) for line in (out / "index.jsonl").read_text().splitlines()]
    bodies = scene.store.bodies()  # type: ignore[union-attr]
    del bodies["photos/frozen"]
    assert {found["name"]: (out / found["file"]).read_bytes() for found in index} == bodies
    assert [found["content_type"] for found in index if found["name"] == "photos/01/../x\n"] == ["text/plain"]
    assert {path.name for path in out.iterdir()} == {"index.jsonl", "objects", "renamed"}
    own = {found["name"] for found in index if found["file"] == f"objects/{found['name']}"}
    assert own == {f"photos/{key}" for key in ("A", "a", "empty", "film", "été/plain")}


def test_it_stops_at_a_frame_that_unpacks_to_more_than_it_should(scene: Scene) -> None:
    scene.recipients = ()
    manifest = scene.backup()
    bomb = subprocess.run(["zstd", "-19", "-c"], input=bytes(50_000_000), capture_output=True, check=True).stdout
    for pack in [pack for pack in manifest.packs if pack.key not in lists_as_packs(manifest.entries)]:
        # As long as before: what is left is a skippable zstd frame.
        rest = max(pack.length - len(bomb) - 8, 0)
        padding = b"\x50\x2a\x4d\x18" + rest.to_bytes(4, "little") + bytes(rest)
        (scene.root / "vault" / pack.key).write_bytes(bomb + padding)

    ended, _ = restored(scene, manifest)

    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("STOP: ")


@pytest.mark.parametrize("body", [b"", b"[]", b'{"format": 1}', b"\xff", b'{"format": 2}', b"[" * 100_000])
def test_a_manifest_that_is_none_is_one_sentence(scene: Scene, body: bytes) -> None:
    manifest = scene.backup()
    (scene.root / f"vault/v1/backups/files/{manifest.backup_id}/manifest.json").write_bytes(body)

    ended, out = restored(scene, manifest)

    assert (ended.returncode, ended.stdout) == (1, "")
    assert len(ended.stderr.splitlines()) == 1
    assert ended.stderr.startswith("STOP: ")
    assert not out.exists()


def test_it_stops_at_bytes_that_are_not_what_was_recorded(scene: Scene) -> None:
    manifest = scene.backup()
    pack = scene.root / "vault" / manifest.packs[0].key
    pack.write_bytes(pack.read_bytes()[:-1] + b"?")

    ended, _ = restored(scene, manifest)

    assert ended.returncode != 0


def test_the_examples_are_written_as_the_code_writes_them() -> None:
    lines = fenced("jsonl").splitlines()
    entries = [Entry.model_validate_json(line) for line in lines]

    assert [entry.model_dump_json(exclude_defaults=True) for entry in entries] == lines
    assert sorted(entry.name for entry in entries) == [entry.name for entry in entries]
    content: dict[str, Any] = json.loads(fenced("json"))
    assert StorageContent.model_validate(content).model_dump(mode="json") == content
    assert list(content) == list(StorageContent.model_fields)
    assert list(content["buckets"][0]) == list(BucketSummary.model_fields)


def test_every_field_is_in_the_document() -> None:
    for shape in (StorageContent, BucketSummary, ObjectFacts):
        for name in shape.model_fields:
            assert f"`{name}`" in DOCUMENT, name
    shown = {name for line in fenced("jsonl").splitlines() for name in json.loads(line)["object"]}
    assert shown == set(ObjectFacts.model_fields)
