"""Objects as a tar archive and as files: under their own names where that is safe, whole, and never elsewhere."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from tests.integration.bucket_backups import THEN, Object
from tests.unit.operations.browse.test_contents import kept

from coffre.model.errors import CoffreError
from coffre.model.storage import ObjectChoice
from coffre.operations.export import buckets as export_storage
from coffre.operations.export.buckets import Exported, ObjectExporter
from coffre.operations.export.compress import gzip_file, zstd_file
from coffre.policy.file_names import FOLDER, LIST
from coffre.vault.codec import FrameDecoder

LARGE = hashlib.shake_256(b"large").digest(5 * 1024 * 1024 + 3)
PLAIN = {"photos/large": LARGE, "photos/a/b.txt": b"b", "photos/ü/é.txt": b"accents", "photos/empty": b""}
HOSTILE = {
    **{f"photos/{key}": key.encode() for key in ("..", "../up", "/etc/passwd", "a//b", "a\\..\\b", "bell\x07", "nul")},
    **{f"photos/{key}": key.encode() for key in ("Case", "case", "CASE/x", "x" * 300, f"{FOLDER}/x", LIST, "f", "f/g")},
    "photos/marker/": b"",
    "photos/full/": b"not a marker",
}
ALL = {**PLAIN, **HOSTILE}


def exporter(objects: dict[str, bytes], **choice: str) -> ObjectExporter:
    facts = {"content_type": "text/x-test", "metadata": {"owner": "ada"}, "tags": {"a=b": "c", "t": "ü\n"}}
    _, vault, manifest = kept({name: Object(body, **facts) for name, body in objects.items()})
    return ObjectExporter(
        vault, manifest, FrameDecoder(), ObjectChoice.model_validate(choice), lambda *_: None, Exported()
    )


def renamed(lines: bytes) -> dict[str, str]:
    """Keys by the names of their files."""
    found = [json.loads(line) for line in lines.splitlines()]
    return {line["file"]: line["key"] for line in found}


def files_in(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_files_have_their_own_names_where_that_is_safe(tmp_path: Path) -> None:
    export, root = exporter(ALL), tmp_path / "out"
    root.mkdir()

    export.directory(root)

    files = files_in(root)
    names = renamed(files.pop(LIST))
    assert {f"photos/{names.get(path, path)}": body for path, body in files.items()} == {
        name: body for name, body in ALL.items() if name != "photos/marker/"
    }
    assert (root / "marker").is_dir()
    assert {"large", "a/b.txt", "ü/é.txt", "empty", "f"} <= set(files)
    assert all(path.startswith(f"{FOLDER}/") for path in names)
    folded = [path.casefold() for path in files]
    assert len(set(folded)) == len(files)
    assert (export.exported.objects, export.exported.renamed) == (len(ALL), len(names))
    assert (root / "large").stat().st_mtime == THEN.timestamp()
    assert list(tmp_path.iterdir()) == [root]


@pytest.mark.parametrize(("compress", "program"), [(gzip_file, "gzip"), (zstd_file, "zstd")])
def test_an_archive_unpacks_with_the_usual_programs(tmp_path: Path, compress: object, program: str) -> None:
    export = exporter(ALL)
    assert callable(compress)
    archive = tmp_path / "archive"
    archive.write_bytes(b"".join(compress(export.tar())))
    out = tmp_path / "out"
    out.mkdir()

    opened = subprocess.run([program, "-dc", archive], check=True, capture_output=True).stdout
    said = subprocess.run(["tar", "-xf", "-", "-C", out], check=True, input=opened, capture_output=True)

    assert said.stderr == b""
    files = files_in(out)
    names = renamed(files.pop(LIST))
    assert {f"photos/{names.get(path, path)}": body for path, body in files.items()} == {
        name: body for name, body in ALL.items() if name != "photos/marker/"
    }
    assert (out / "marker").is_dir()
    assert len(opened) % tarfile.BLOCKSIZE == 0


def test_an_archive_says_what_is_known_of_each_object() -> None:
    with tarfile.open(fileobj=io.BytesIO(b"".join(exporter(PLAIN).tar()))) as opened:
        names, member = opened.getnames(), opened.getmember("ü/é.txt")

    assert member.mtime == THEN.timestamp()
    assert member.pax_headers["SCHILY.xattr.user.mime_type"] == "text/x-test"
    assert member.pax_headers["SCHILY.xattr.user.s3.meta.owner"] == "ada"
    assert member.pax_headers["SCHILY.xattr.user.s3.tag.t"] == "ü\n"
    assert LIST not in names


def test_several_buckets_are_folders_and_one_is_not(tmp_path: Path) -> None:
    objects = {"one/a": b"1", "two/a": b"2", "two/b/c": b"3"}

    exporter(objects).directory(tmp_path)
    assert files_in(tmp_path) == objects

    below = tmp_path / "below"
    below.mkdir()
    exporter(objects, bucket="two", prefix="b").directory(below)
    assert files_in(below) == {"b/c": b"3"}


def test_what_the_file_system_does_not_take_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create = export_storage._create

    def only_short(path: Path) -> int:
        if path.name.startswith("b."):
            raise OSError(36, "File name too long")
        return create(path)

    monkeypatch.setattr(export_storage, "_create", only_short)

    exporter(PLAIN).directory(tmp_path)

    files = files_in(tmp_path)
    [(path, key)] = renamed(files[LIST]).items()
    assert (key, files[path]) == ("a/b.txt", b"b")


def test_nothing_that_is_there_is_followed_or_overwritten(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    root.mkdir()
    (outside / "passwd").write_text("root")
    (root / "large").symlink_to(outside / "passwd")

    exporter({"photos/large": b"evil"}).directory(root)

    assert files_in(outside) == {"passwd": b"root"}
    assert renamed((root / LIST).read_bytes()).popitem()[1] == "large"


def test_what_was_never_read_is_told_and_the_rest_exported(tmp_path: Path) -> None:
    _, vault, manifest = kept({"photos/a": Object(b"a"), "photos/u": Object(b"u", unread="KMS_UNUSABLE: no key")})
    exported = Exported()

    ObjectExporter(vault, manifest, FrameDecoder(), ObjectChoice(), lambda *_: None, exported).directory(tmp_path)

    assert files_in(tmp_path) == {"a": b"a"}
    assert exported.unread == ["photos/u: KMS_UNUSABLE: no key"]


def test_a_damaged_object_stops_it(tmp_path: Path) -> None:
    store, vault, manifest = kept({"photos/large": Object(LARGE)})
    entry = next(iter(vault.entries(manifest)))
    store.objects[entry.frames[1].pack] = os.urandom(len(store.objects[entry.frames[1].pack]))

    with pytest.raises(CoffreError) as caught:
        ObjectExporter(vault, manifest, FrameDecoder(), ObjectChoice(), lambda *_: None, Exported()).directory(tmp_path)

    assert caught.value.code == "FRAME_DAMAGED"
