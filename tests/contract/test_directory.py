"""What only a directory can get wrong: links, full disks, half-written files, names in the way."""

import errno
import os
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.contract.objects import keys_of, put

from coffre.model.errors import ObjectMissingError, StoreError, StoreTransientError
from coffre.stores.directory import DirectoryStore

INCOMING = ".coffre-incoming"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    directory = tmp_path / "vault"
    directory.mkdir()
    return directory


@pytest.fixture
def store(root: Path) -> DirectoryStore:
    return DirectoryStore(root)


def files_below(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_dir())


def test_an_object_is_a_plain_file_of_its_own_bytes(store: DirectoryStore, root: Path) -> None:
    put(store, "v1/packs/01/0001", b"frames")
    assert (root / "v1/packs/01/0001").read_bytes() == b"frames"
    assert files_below(root) == ["v1/packs/01/0001"]


def test_a_directory_that_is_not_there_is_an_error_and_not_made(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "not-mounted")
    for call in (
        lambda: put(store, "a"),
        lambda: store.get("a"),
        lambda: store.get_range("a", 0, 1),
        lambda: store.head("a"),
        lambda: store.delete("a"),
        lambda: keys_of(store),
    ):
        with pytest.raises(StoreError) as refused:
            call()
        assert refused.value.code == "BUCKET_MISSING"
    assert list(tmp_path.iterdir()) == []


# --- links and other things that are no files ------------------------------------------------------------------------


def test_a_link_to_a_directory_outside_is_not_followed(store: DirectoryStore, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a").write_bytes(b"not ours")
    (root / "link").symlink_to(outside)
    with pytest.raises(ObjectMissingError):
        store.get("link/a")
    with pytest.raises(ObjectMissingError):
        store.head("link/a")
    with pytest.raises(StoreError) as refused:
        put(store, "link/b")
    assert refused.value.code == "KEY_CONFLICT"
    store.delete("link/a")
    assert keys_of(store) == []
    assert keys_of(store, "link/") == []
    assert files_below(outside) == ["a"]
    assert (outside / "a").read_bytes() == b"not ours"


def test_a_link_to_a_file_outside_is_not_followed(store: DirectoryStore, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"not ours")
    (root / "a").symlink_to(outside)
    with pytest.raises(ObjectMissingError):
        store.get("a")
    assert keys_of(store) == []
    with pytest.raises(StoreError) as refused:
        put(store, "a", if_absent=True)
    assert refused.value.code == "OBJECT_EXISTS"
    put(store, "a", b"ours")
    assert store.get("a") == b"ours"
    assert outside.read_bytes() == b"not ours"


def test_a_link_in_place_of_the_incoming_directory_is_not_followed(
    store: DirectoryStore, root: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (root / INCOMING).symlink_to(tmp_path / "outside")
    with pytest.raises(StoreError) as refused:
        put(store, "a")
    assert refused.value.code == "KEY_CONFLICT"
    assert files_below(tmp_path / "outside") == []


def test_the_directory_itself_may_be_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").symlink_to(root)
    put(DirectoryStore(tmp_path / "disk"), "dir/a")
    assert files_below(root) == ["dir/a"]


def test_pipes_and_sockets_are_no_objects(store: DirectoryStore, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(root / "pipe")
    monkeypatch.chdir(root)  # the path of a socket has to be short
    with closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind("socket")
        for key in ("pipe", "socket"):
            with pytest.raises(ObjectMissingError):
                store.get(key)
            store.delete(key)
        assert keys_of(store) == []
        assert (root / "pipe").is_fifo()


# --- names in the way ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("if_absent", [False, True])
@pytest.mark.parametrize(("first", "second"), [("a", "a/b"), ("a/b", "a"), ("a/b/c", "a"), ("a", "a/b/c")])
def test_a_key_and_one_below_it_do_not_go_together(
    store: DirectoryStore, first: str, second: str, if_absent: bool
) -> None:
    put(store, first)
    with pytest.raises(StoreError) as refused:
        put(store, second, if_absent=if_absent)
    assert refused.value.code == "KEY_CONFLICT"
    assert keys_of(store) == [first]


def test_when_the_last_object_of_a_directory_is_gone_its_name_is_free(store: DirectoryStore, root: Path) -> None:
    put(store, "a/b/c")
    put(store, "a/d")
    store.delete("a/b/c")
    assert not (root / "a/b").exists()
    store.delete("a/d")
    put(store, "a")
    assert keys_of(store) == ["a"]


def test_writers_and_deleters_of_one_directory_do_not_disturb_each_other(store: DirectoryStore) -> None:
    def write_and_delete(number: int) -> None:
        for turn in range(60):
            put(store, f"v1/packs/{number}", b"x", if_absent=turn % 2 == 0)
            store.delete(f"v1/packs/{number}")
        put(store, f"v1/packs/{number}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write_and_delete, range(4)))
    assert keys_of(store) == [f"v1/packs/{number}" for number in range(4)]


@pytest.mark.parametrize("key", [INCOMING, f"{INCOMING}/a"])
def test_the_incoming_directory_is_out_of_reach(store: DirectoryStore, root: Path, key: str) -> None:
    (root / INCOMING).mkdir()
    (root / INCOMING / "a").write_bytes(b"half")
    for call in (lambda: put(store, key), lambda: store.get(key), lambda: store.delete(key)):
        with pytest.raises(StoreError) as refused:
            call()
        assert refused.value.code == "KEY_INVALID"
    for prefix in ("", ".", INCOMING, f"{INCOMING}/", f"{INCOMING}/a"):
        assert keys_of(store, prefix) == []


def test_names_that_are_no_text_are_not_listed(store: DirectoryStore, root: Path) -> None:
    put(store, "dir/a")
    Path(os.fsdecode(os.fsencode(root / "dir") + b"/\xff")).write_bytes(b"")
    Path(os.fsdecode(os.fsencode(root) + b"/\xfe")).mkdir()
    assert keys_of(store) == ["dir/a"]


# --- faults ----------------------------------------------------------------------------------------------------------


def fail_with(number: int, *, after_calls: int = 0) -> Callable[..., int]:
    remaining = [after_calls]

    def fail(descriptor: int, *data: bytes) -> int:
        if remaining[0] == 0:
            raise OSError(number, os.strerror(number))
        remaining[0] -= 1
        return os.pwrite(descriptor, memoryview(data[0])[:1000], 0)

    return fail


@pytest.mark.parametrize("call", ["write", "fsync", "mkdir", "replace"])
@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, "DISK_FULL"),
        (errno.EDQUOT, "DISK_FULL"),
        (errno.EROFS, "STORE_DENIED"),
        (errno.EACCES, "STORE_DENIED"),
        (errno.EIO, "STORE_UNAVAILABLE"),
        (errno.ENAMETOOLONG, "KEY_INVALID"),
    ],
    ids=errno.errorcode.get,
)
def test_a_disk_that_fails_stores_nothing_and_leaves_nothing(
    store: DirectoryStore, root: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, code: str
) -> None:
    put(store, "dir/a", b"old")

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as fault:
        fault.setattr(os, call, fail)
        with pytest.raises((StoreError, StoreTransientError)) as refused:
            put(store, "new/a" if call == "mkdir" else "dir/a", b"new")
    assert refused.value.code == code
    assert str(root) in refused.value.message
    assert files_below(root) == ["dir/a"]
    assert store.get("dir/a") == b"old"


def test_a_disk_that_is_full_in_the_middle_leaves_nothing(
    store: DirectoryStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as fault:
        fault.setattr(os, "write", fail_with(errno.ENOSPC, after_calls=3))
        with pytest.raises(StoreError) as refused:
            put(store, "dir/a", b"x" * 100_000)
    assert refused.value.code == "DISK_FULL"
    assert files_below(root) == []
    put(store, "dir/a")
    assert keys_of(store) == ["dir/a"]


def test_a_disk_that_takes_little_at_a_time_gets_it_all(store: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    body, write = os.urandom(10_000), os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:777]))
    put(store, "a", body)
    assert store.get("a") == body


def test_a_disk_that_gives_little_at_a_time_gives_it_all(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    body, pread = os.urandom(10_000), os.pread
    put(store, "a", body)
    monkeypatch.setattr(os, "pread", lambda descriptor, length, offset: pread(descriptor, min(length, 777), offset))
    assert store.get("a") == body
    assert store.get_range("a", 100, 9_000) == body[100:9_100]


def test_a_file_system_without_links_takes_new_objects_and_replaces_none(
    store: DirectoryStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", fail)
    put(store, "dir/a", b"first", if_absent=True)
    with pytest.raises(StoreError) as refused:
        put(store, "dir/a", b"second", if_absent=True)
    assert refused.value.code == "OBJECT_EXISTS"
    assert store.get("dir/a") == b"first"
    assert files_below(root) == ["dir/a"]


def test_a_link_whose_answer_was_lost_is_not_taken_for_another_writers(
    store: DirectoryStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def link_and_be_asked_again(*names: Any, **places: Any) -> None:
        link(*names, **places)
        link(*names, **places)

    monkeypatch.setattr(os, "link", link_and_be_asked_again)
    put(store, "dir/a", b"mine", if_absent=True)
    assert store.get("dir/a") == b"mine"
    assert files_below(root) == ["dir/a"]


def test_what_a_dead_process_left_is_removed_after_a_day(store: DirectoryStore, root: Path) -> None:
    (root / INCOMING).mkdir()
    for name, age_seconds in (("old", 25 * 3600), ("fresh", 23 * 3600)):
        (root / INCOMING / name).write_bytes(b"half")
        os.utime(root / INCOMING / name, (time.time() - age_seconds,) * 2)
    put(store, "a")
    assert files_below(root) == [f"{INCOMING}/fresh", "a"]


def test_no_descriptor_stays_open(store: DirectoryStore, root: Path) -> None:
    before = psutil.Process().num_fds()
    for number in range(5):
        put(store, f"dir/{number}/a")
    next(store.list())
    for key in ("dir/0/a", "dir/none", "dir/0/a/b"):
        for read in (store.get, store.head, store.delete):
            try:
                read(key)
            except ObjectMissingError:
                continue
    assert psutil.Process().num_fds() == before
