"""Looking around in backups: folders, single objects, and how two backups differ."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.integration.bucket_backups import Object, keep_backup

from coffre.model.errors import CoffreError
from coffre.model.manifest import Manifest
from coffre.model.storage import ObjectChoice
from coffre.operations.browse.contents import Folder, bytes_of, find_object, folder_view, objects_below
from coffre.operations.browse.diff import Change, Difference, differences
from coffre.operations.stored_backup.open_backup import open_manifest
from coffre.stores.body import Body, pieces_of
from coffre.stores.store import Store
from coffre.vault.codec import FrameDecoder
from coffre.vault.vault import Vault


class Memory:
    """A store in memory that notes what is read."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.read: list[str] = []

    def put(self, key: str, body: Body, **_: Any) -> None:
        self.objects[key] = b"".join(pieces_of(body))

    def get(self, key: str, **_: Any) -> bytes:
        self.read.append(key)
        return self.objects[key]

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        return self.objects[key][offset : offset + length]

    def delete(self, key: str) -> None:
        del self.objects[key]


def kept(objects: dict[str, Object], entries_in_a_file: int = 3, **how: Any) -> tuple[Memory, Vault, Manifest]:
    store = Memory()
    vault = Vault(cast("Store", store))
    with tempfile.TemporaryDirectory() as scratch:
        backup = keep_backup(vault, objects, Path(scratch), entries_in_a_file=entries_in_a_file, **how)
    manifest = open_manifest(vault, backup)
    store.read.clear()
    return store, vault, manifest


KEYS = st.text(st.sampled_from("ab/0\U0010ffff-"), min_size=1, max_size=6)


def naive_view(keys: set[str], prefix: str) -> list[str]:
    below = [key for key in keys if key.startswith(prefix)]
    first = {(key[len(prefix) :].partition("/")[0], "/" in key[len(prefix) :]) for key in below}
    return sorted(prefix + name + ("/" if is_folder else "") for name, is_folder in first)


@settings(max_examples=60)
@given(st.sets(KEYS, max_size=14), st.integers(1, 4), st.sampled_from(["", "a", "a/", "b/a"]))
def test_a_folder_view_has_each_object_and_each_folder_once(keys: set[str], in_a_file: int, prefix: str) -> None:
    objects = {f"photos/{key}": Object(key.encode()) for key in keys}
    _, vault, manifest = kept(objects, in_a_file, sources={"photos": {}})

    if prefix and not naive_view(keys, prefix):
        with pytest.raises(CoffreError):
            list(folder_view(vault, manifest, ObjectChoice(prefix=prefix)))
        return
    view = [item.name.partition("/")[2] for item in folder_view(vault, manifest, ObjectChoice(prefix=prefix))]

    assert view == naive_view(keys, prefix)
    found = [entry.name.partition("/")[2] for entry in objects_below(vault, manifest, ObjectChoice(prefix=prefix))]
    assert found == sorted(key for key in keys if key.startswith(prefix))


def test_a_folder_that_fills_files_is_not_read_to_its_end() -> None:
    objects = {f"photos/a/{n:03d}": Object(b"") for n in range(60)} | {
        "photos/a0": Object(b""),
        "photos/b": Object(b""),
    }
    store, vault, manifest = kept(objects)

    view = [item.name for item in folder_view(vault, manifest, ObjectChoice())]

    assert view == ["photos/a/", "photos/a0", "photos/b"]
    assert len(store.read) <= 4
    assert len(manifest.entries) == 21


def test_one_object_is_found_in_one_file() -> None:
    objects = {f"photos/{n:03d}": Object(b"%d" % n) for n in range(60)}
    store, vault, manifest = kept(objects)

    entry = find_object(vault, manifest, ObjectChoice(keys=("041",)))

    assert b"".join(bytes_of(vault, FrameDecoder(), entry)) == b"41"
    assert len(store.read) == 1


def test_several_buckets_are_the_first_folders() -> None:
    _, vault, manifest = kept({"one/a": Object(b""), "two/b/c": Object(b"")}, sources={"three": {}})

    assert list(folder_view(vault, manifest, ObjectChoice())) == [Folder("one/"), Folder("three/"), Folder("two/")]
    assert list(folder_view(vault, manifest, ObjectChoice(bucket="two"))) == [Folder("two/b/")]
    with pytest.raises(CoffreError) as caught:
        list(objects_below(vault, manifest, ObjectChoice(prefix="b")))
    assert caught.value.code == "BUCKET_AMBIGUOUS"


@pytest.mark.parametrize(("key", "code"), [("no", "NOT_IN_BACKUP"), ("unread", "OBJECT_UNREAD")])
def test_what_has_no_bytes_is_told(key: str, code: str) -> None:
    _, vault, manifest = kept({"photos/unread": Object(b"xx", unread="KMS_UNUSABLE: The KMS key ...")})

    with pytest.raises(CoffreError) as caught:
        find_object(vault, manifest, ObjectChoice(keys=(key,)))

    assert caught.value.code == code
    assert caught.value.hint


def test_large_and_shared_and_empty_objects_read_back() -> None:
    large = hashlib.shake_256(b"large").digest(19 * 1024 * 1024)
    objects = {
        "photos/large": Object(large),
        "photos/one": Object(b"1"),
        "photos/two": Object(b"22"),
        "photos/0": Object(),
    }
    _, vault, manifest = kept(objects)

    for name, found in objects.items():
        entry = find_object(vault, manifest, ObjectChoice(keys=(name.partition("/")[2],)))
        assert b"".join(bytes_of(vault, FrameDecoder(), entry)) == found.body


def test_nothing_more_than_checked_pieces_come_out_of_a_damaged_object() -> None:
    large = hashlib.shake_256(b"large").digest(6 * 1024 * 1024)
    store, vault, manifest = kept({"photos/large": Object(large)})
    entry = find_object(vault, manifest, ObjectChoice(keys=("large",)))
    last = entry.frames[-1]
    body = bytearray(store.objects[last.pack])
    body[last.offset + last.length - 1] ^= 1
    store.objects[last.pack] = bytes(body)
    out: list[bytes] = []

    with pytest.raises(CoffreError) as caught:
        out.extend(bytes_of(vault, FrameDecoder(), entry))

    assert caught.value.code == "FRAME_DAMAGED"
    assert large.startswith(b"".join(out))


@settings(max_examples=60)
@given(st.dictionaries(KEYS, st.sampled_from("xy")), st.dictionaries(KEYS, st.sampled_from("xy")), st.integers(1, 3))
def test_differences_are_those_of_the_two_sets(before: dict[str, str], after: dict[str, str], in_a_file: int) -> None:
    sides = [{f"b/{key}": Object(body.encode()) for key, body in side.items()} for side in (before, after)]
    store, vault, first = kept(sides[0], in_a_file, sources={"b": {}})
    other, _, second = kept(sides[1], in_a_file, sources={"b": {}})
    store.objects |= other.objects

    found = {one.name.partition("/")[2]: one.change for one in differences(vault, first, second, ObjectChoice())}

    expected = dict.fromkeys(after.keys() - before.keys(), Change.ADDED)
    expected |= dict.fromkeys(before.keys() - after.keys(), Change.REMOVED)
    expected |= {key: Change.CHANGED for key in before.keys() & after.keys() if before[key] != after[key]}
    assert found == expected


def test_attributes_differ_too_and_times_do_not() -> None:
    one = {"b/a": Object(b"a", content_type="text/html"), "b/t": Object(b"t", version_id="1"), "b/u": Object(b"u")}
    other = {"b/a": Object(b"a", tags={"x": "y"}), "b/t": Object(b"t", version_id="2"), "b/u": Object(b"u", unread="X")}
    store, vault, first = kept(one)
    there, _, second = kept(other)
    store.objects |= there.objects

    [found] = differences(vault, first, second, ObjectChoice(bucket="b"))

    assert found == Difference("b/a", Change.CHANGED, ("content_type", "tags"), 1, 1)
