"""Repositories of a real Git server are backed up by the function, and restored by the command and by git itself."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from unittest.mock import patch

import pytest
from tests.forge import TOKEN, Forge, Repository, forge, git, pointer
from tests.integration.conftest import Coffre, Context
from tests.integration.vault_copies import Said, command_in, copy_vault, write_identity

from coffre.buckets.repositories import local_repository
from coffre.buckets.repositories.local_repository import too_large
from coffre.model.backup import Backup
from coffre.model.errors import StoreError
from coffre.model.manifest import Entry
from coffre.model.storage import ObjectChoice
from coffre.operations.backup_buckets import plan as storage_plan
from coffre.operations.browse.diff import differences
from coffre.operations.drill import repositories as drill
from coffre.operations.restore_repositories import clone
from coffre.operations.restore_repositories.clone import Cloned
from coffre.operations.restore_repositories.stored_repositories import StoredRepository
from coffre.operations.stored_backup.open_backup import open_manifest
from coffre.runtime.backup_storage_function import BackupStorageFunction
from coffre.vault.codec import FrameDecoder, public_key
from coffre.vault.vault import Vault

SECRET: Final = "coffre/repository/forge"
BIG: Final = os.urandom(5 * 1024 * 1024)  # more than a piece


@dataclass
class Scene:
    """The target `code`, its function, and its server."""

    coffre: Coffre
    forge: Forge

    def configure(self, *urls: str, **target: Any) -> None:
        named = [{"url": url, "secret": SECRET} for url in urls]
        document = {
            "encryption": "age",
            "recipients": [public_key(self.coffre.identity)],
            "targets": [{"name": "code", "kind": "repository", "repositories": named, **target}],
        }
        self.coffre.document(json.dumps(document))

    @property
    def function(self) -> BackupStorageFunction:
        function: BackupStorageFunction = self.coffre._function(BackupStorageFunction.make)
        return function

    def backup(self, *, is_here: bool = True, **event: Any) -> Backup:
        function = replace(self.function, is_here=is_here)
        answer = function.handle({"target": "code", **event}, Context(function_name="backup-storage"))
        return self.coffre.catalog.get_backup(answer["id"])

    def entries(self, backup: Backup) -> dict[str, Entry]:
        vault = self.function.services.vault
        return {entry.name: entry for entry in vault.entries(open_manifest(vault, backup))}

    def bundles(self, backup: Backup) -> list[str]:
        return [name.rpartition("/")[2] for name in self.entries(backup) if "/bundles/" in name]


@pytest.fixture
def scene(coffre: Coffre, tmp_path: Path) -> Iterator[Scene]:
    coffre.secret(SECRET, json.dumps({"token": TOKEN}))
    with forge(tmp_path / "server") as server:
        yield Scene(coffre, server)
    everything = "\n".join([*coffre.log_lines, *coffre.alerts_read, json.dumps(coffre.alerts())])
    assert TOKEN not in everything


@pytest.fixture
def command(
    coffre: Coffre, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Said]:
    run = command_in(tmp_path / "here", monkeypatch, capfd)
    key = write_identity(coffre, tmp_path / "key.txt")

    def restore(*arguments: object) -> Said:
        shutil.rmtree(tmp_path / "vault", ignore_errors=True)
        copy_vault(coffre, tmp_path / "vault")
        said = run(
            "--vault", tmp_path / "vault", "--identity", key,
            "restore", "repositories", "latest", "--target", "code", *arguments,
        )  # fmt: skip
        assert TOKEN not in said.out + said.err
        return said

    return restore


def test_a_repository_comes_back_with_every_ref_after_many_changes(
    scene: Scene, command: Callable[..., Said], tmp_path: Path
) -> None:
    web = scene.forge.make("acme/web", files={"large": BIG})
    web.commit({"a": b"1"}, "refs/heads/dev")
    web.commit({"n": b"note"}, "refs/notes/commits")
    git(web.folder, "tag", "-a", "-m", "first", "v1", "main")
    git(web.folder, "update-ref", "refs/pull/7/head", web.refs()["refs/heads/dev"])
    scene.configure(web.url)
    first = scene.backup()

    asked = len(scene.forge.asked)
    unchanged = scene.backup()

    assert len(scene.forge.asked) - asked == 2  # the refs, and nothing else
    assert scene.bundles(first) == ["000001-full.bundle"]
    assert (unchanged.stored_bytes or 0) < 5000  # no pack

    web.commit({"large": BIG, "more": b"2"})
    git(web.folder, "update-ref", "-d", "refs/heads/dev")
    git(web.folder, "tag", "v2", "v1")
    changed = scene.backup()

    assert scene.bundles(changed) == ["000001-full.bundle", "000002-more.bundle"]
    assert (changed.stored_bytes or 0) < 5000  # not the large file again
    vault = scene.function.services.vault
    moved = differences(vault, open_manifest(vault, first), open_manifest(vault, changed), ObjectChoice())
    assert {(one.name.removeprefix(f"{web.name}/"), one.change.value) for one in moved} == {
        ("bundles/000002-more.bundle", "added"),
        ("refs/heads/dev", "removed"),
        ("refs/heads/main", "changed"),
        ("refs/tags/v2", "added"),
    }

    said = command("--output", tmp_path / "restored")

    assert said.status == 0, said.err
    clone = tmp_path / "restored" / web.name
    git(clone, "fsck", "--full", "--strict")
    expected = {name: one for name, one in web.refs().items() if not name.startswith("refs/pull/")}
    assert Repository(clone, "", "").refs() == expected
    assert git(clone, "symbolic-ref", "HEAD") == "refs/heads/main"
    assert git(clone, "cat-file", "-p", "main:more") == "2"
    assert "remote" not in (clone / "config").read_text()


def test_bundles_are_those_of_git(scene: Scene, tmp_path: Path) -> None:
    """Without Coffre: the files of an export, or of the recovery kit, are cloned and fetched by git."""
    web = scene.forge.make("acme/web")
    scene.configure(web.url)
    scene.backup()
    web.commit({"a": b"2"}, "refs/heads/new")
    web.commit({"a": b"3"})
    entries = scene.entries(scene.backup())
    services = scene.function.services
    files = []
    for name in (name for name in entries if "/bundles/" in name):
        files.append(tmp_path / Path(name).name)
        files[-1].write_bytes(b"".join(services.vault.read_entry(entries[name], services.decoder("code"))))

    git(tmp_path, "clone", "--quiet", "--mirror", str(files[0]), "clone.git")
    git(tmp_path / "clone.git", "bundle", "verify", str(files[1]))
    git(tmp_path / "clone.git", "fetch", "--quiet", str(files[1]), "+refs/*:refs/*")

    assert Repository(tmp_path / "clone.git", "", "").refs() == web.refs()


def test_objects_of_lfs_are_stored_once_and_come_back(
    scene: Scene, command: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, lost = b"small", b"lost"
    web = scene.forge.make(
        "acme/web",
        files={
            ".gitattributes": b"*.bin filter=lfs diff=lfs merge=lfs -text\n",
            "a.bin": pointer(BIG),
            "b.bin": pointer(small),
            "c.bin": pointer(lost),
        },
    )
    ids = {content: hashlib.sha256(content).hexdigest() for content in (BIG, small, lost)}
    scene.forge.lfs |= {ids[BIG]: BIG, ids[small]: b"other bytes"}
    scene.configure(web.url)

    first = scene.backup()

    assert {one.partition(":")[0] for one in unread(scene, first)} == {f"lfs/{ids[small]}", f"lfs/{ids[lost]}"}
    assert any("LFS" in one for one in first.exceptions)

    before = scene.forge.make("acme/before", files={})
    kept = dict(scene.forge.lfs)
    monkeypatch.setenv("FORGE_TOKEN", TOKEN)
    in_part = command("--name", web.name, "--to", before.url, "--token-env", "FORGE_TOKEN")
    assert (in_part.status, before.refs()) == (4, web.refs())
    assert f"not in the backup: lfs/{ids[lost]}" in in_part.out
    scene.forge.lfs.clear()
    scene.forge.lfs |= kept

    scene.forge.lfs |= {ids[small]: small, ids[lost]: lost}
    second = scene.backup()

    assert not second.exceptions
    assert (second.stored_bytes or 0) < 5000
    assert scene.forge.count(f"/lfs-objects/{ids[BIG]}") == 1
    said = command("--output", tmp_path / "restored")
    assert said.status == 0, said.err
    folder = tmp_path / "restored" / web.name / "lfs" / "objects"
    for content, oid in ids.items():
        assert (folder / oid[:2] / oid[2:4] / oid).read_bytes() == content

    new = scene.forge.make("acme/new", files={})
    scene.forge.lfs.clear()
    pushed = command("--name", web.name, "--to", new.url, "--token-env", "FORGE_TOKEN")
    again = command("--name", web.name, "--to", new.url, "--token-env", "FORGE_TOKEN")
    assert pushed.status == 0, pushed.err
    assert new.refs() == web.refs()
    assert scene.forge.lfs == {oid: content for content, oid in ids.items()}
    assert again.status == 1
    assert "REMOTE_NOT_EMPTY" in again.err


def unread(scene: Scene, backup: Backup) -> list[str]:
    found = ((name, entry.object) for name, entry in scene.entries(backup).items())
    return [
        f"{name.partition('.git/')[2]}: {facts.unread}" for name, facts in found if facts and facts.unread is not None
    ]


@pytest.mark.parametrize("kind", ["github", "gitlab"])
def test_an_organisation_is_asked_for_its_repositories(scene: Scene, kind: str) -> None:
    for number in range(101):  # two pages
        scene.forge.repositories.append({"full_name": f"acme/x{number}", "path_with_namespace": f"acme/x{number}"})
    scene.forge.make("acme/web")
    scene.forge.make("acme/old", archived=True)
    scene.forge.make("acme/fork", fork=True, forked_from_project={"id": 1})
    scene.forge.make("acme/empty", files={})
    organisation = {
        "forge": kind, "name": "acme", "url": scene.forge.url, "secret": SECRET, "exclude": ["x*"], "archived": False,
    }  # fmt: skip
    scene.configure(organisations=[organisation])

    backup = scene.backup()

    assert {name.partition(".git/")[0].partition("/")[2] for name in scene.entries(backup)} == {"acme/web"}
    assert any("acme/empty.git is empty" in note for note in backup.notes)
    scene.forge.token = "another"
    with pytest.raises(StoreError) as refused:
        scene.backup()
    assert refused.value.code == "TOKEN_REFUSED"


def test_a_repository_that_cannot_be_read_is_kept_as_it_was_and_named(scene: Scene) -> None:
    web, other = scene.forge.make("acme/web"), scene.forge.make("acme/other")
    scene.configure(web.url, other.url)
    first = scene.backup()
    shutil.rmtree(web.folder)
    other.commit({"a": b"1"})

    second = scene.backup()

    assert any("acme/web.git could not be read" in one for one in second.exceptions)
    kept = {name: entry.sha256 for name, entry in scene.entries(first).items() if name.startswith(web.name)}
    assert kept == {name: one.sha256 for name, one in scene.entries(second).items() if name.startswith(web.name)}
    shutil.rmtree(other.folder)
    with pytest.raises(StoreError) as refused:  # nothing of the target can be read: that is no backup
        scene.backup()
    assert refused.value.code == "REPOSITORY_GONE"


def test_a_forced_push_and_a_new_history_are_stored_whole(scene: Scene) -> None:
    web = scene.forge.make("acme/web")
    scene.configure(web.url)
    scene.backup()
    git(web.folder, "update-ref", "-d", "refs/heads/main")
    git(web.folder, "reflog", "expire", "--expire=now", "--all")
    git(web.folder, "prune", "--expire=now")
    web.commit({"b": b"other"}, "refs/heads/main")

    assert scene.bundles(scene.backup()) == ["000002-full.bundle"]


def test_a_function_asks_no_server_of_its_own_machine(scene: Scene) -> None:
    web = scene.forge.make("acme/web")
    scene.configure(web.url)

    with pytest.raises(StoreError) as refused:
        scene.backup(is_here=False)

    assert refused.value.code == "ADDRESS_REFUSED"
    assert scene.forge.asked == []


def test_a_damaged_history_is_not_published(scene: Scene) -> None:
    web, other = scene.forge.make("acme/web"), scene.forge.make("acme/other")
    for number in range(3):
        web.commit({"a": f"{number}".encode()})
    scene.configure(web.url, other.url)
    real = web.refs()["refs/heads/main"]

    def shallow(path: str) -> None:
        (web.folder / "shallow").write_text(f"{real}\n")  # the server sends a history whose beginning is cut off

    scene.forge.answers.append(shallow)
    backup = scene.backup()

    assert any("REPOSITORY_BROKEN" in one or "GIT_FAILED" in one for one in backup.exceptions)
    assert not any(name.startswith(web.name) for name in scene.entries(backup))


@pytest.mark.parametrize("parts", [1, 3], ids=["before the bundle", "behind it"])
def test_a_repository_that_an_invocation_ends_in_is_of_one_look(
    scene: Scene, command: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: int
) -> None:
    contents = [b"%d" % number for number in range(8)]
    scene.forge.lfs |= {hashlib.sha256(content).hexdigest(): content for content in contents}
    attributes = {".gitattributes": b"*.bin filter=lfs diff=lfs merge=lfs -text\n"}
    web = scene.forge.make(
        "acme/web", files={**attributes, "a.bin": pointer(contents[0]), "b.bin": pointer(contents[1])}
    )
    scene.configure(web.url)
    events: list[dict[str, Any]] = []
    functions = SimpleNamespace(invoke=lambda **sent: events.append(json.loads(sent["Payload"])))
    left, make = [900.0], storage_plan._PartBuilder.part

    def part(making: storage_plan._PartBuilder, number: int) -> Any:
        left[0] = 100.0 if number + 1 == parts else left[0]
        return make(making, number)

    monkeypatch.setattr(storage_plan, "_ITEMS", 1)
    monkeypatch.setattr(storage_plan._PartBuilder, "part", part)
    vars(scene.function.services)["functions"] = functions
    first = replace(scene.function, is_here=True).handle(
        {"target": "code"}, Context(lambda: left[0], function_name="backup-storage")
    )
    assert first["outcome"] == "paused"

    # When it is pushed to in between, in a way that sorts before and after
    files = {f"{number}.bin": pointer(content) for number, content in enumerate(contents[2:])}
    for ref in ("refs/heads/a", "refs/heads/main"):
        web.commit({**attributes, **files, "other": ref.encode()}, ref)
    left[0] = 900.0
    [event] = events
    done = scene.backup(**{name: value for name, value in event.items() if name != "target"})

    assert not done.exceptions
    said = command("--output", tmp_path / "restored")
    assert said.status == 0, said.err
    web.commit({**attributes, "new": b""})  # and what is added to it
    assert not scene.backup().exceptions
    shutil.rmtree(tmp_path / "restored")
    said = command("--output", tmp_path / "restored")
    assert said.status == 0, said.err
    assert Repository(tmp_path / "restored" / web.name, "", "").refs() == web.refs()


def test_a_drill_clones_every_repository(scene: Scene) -> None:
    web = scene.forge.make("acme/web")
    scene.configure(web.url)
    scene.backup()
    web.commit({"b": b"2"})
    backup = scene.backup()

    report = scene.coffre.drill(target="code")

    assert (report["outcome"], report["backup_id"]) == ("passed", backup.id)
    assert scene.coffre.catalog.get_backup(backup.id).verified_at is not None


def test_a_backup_is_not_verified_by_a_drill_that_had_no_room_for_a_repository(scene: Scene) -> None:
    scene.configure(scene.forge.make("acme/large").url, scene.forge.make("acme/web").url)
    backup = scene.backup()

    def make_clone(vault: Vault, decoder: FrameDecoder, stored: StoredRepository, folder: Path) -> Cloned:
        if "large" in stored.name:
            raise too_large(stored.name)
        return clone.make_clone(vault, decoder, stored, folder)

    with patch.object(drill, "make_clone", make_clone):
        report = scene.coffre.drill(target="code")
    with patch.object(local_repository, "_RESERVE_BYTES", 2**62):
        without_any_room = scene.coffre.drill(target="code")

    assert (report["outcome"], report["exceptions"], report["restore_seconds"]) == ("passed", 1, None)
    assert without_any_room["failure"]["code"] == "SCRATCH_FULL"
    assert scene.coffre.catalog.get_backup(backup.id).verified_at is None


def test_a_doctor_names_a_refused_token(scene: Scene) -> None:
    scene.forge.make("acme/web")
    scene.configure(f"{scene.forge.url}/acme/web.git")

    answer = scene.function.handle({"target": "code", "doctor": True}, Context(function_name="backup-storage"))

    assert "REPOSITORY_UNREADABLE" in json.dumps(answer)
