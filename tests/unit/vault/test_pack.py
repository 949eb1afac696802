"""Packs: bounded, never written twice under one key, and nothing after an error."""

import hashlib
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coffre.model.errors import EncryptionError, StoreError
from coffre.model.manifest import Frame
from coffre.stores.body import Body
from coffre.stores.directory import DirectoryStore
from coffre.vault import pack
from coffre.vault.codec import FrameDecoder, FrameEncoder
from coffre.vault.pack import PackWriter, budget_for

LIMIT = 4096


@pytest.fixture(scope="module", autouse=True)
def small_packs() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pack, "PACK_SIZE_BYTES", LIMIT)
        yield


class RefusingStore(DirectoryStore):
    """Takes some objects, and none after that."""

    def __init__(self, path: Path, *, takes: int) -> None:
        super().__init__(path)
        self._left = takes
        self.asked: list[str] = []

    def put(self, key: str, body: Body, *, sha256: str, if_absent: bool = False) -> None:
        self.asked.append(key)
        if not self._left:
            raise StoreError("The store is full.", code="DISK_FULL")
        self._left -= 1
        super().put(key, body, sha256=sha256, if_absent=if_absent)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def keys(store: DirectoryStore) -> list[str]:
    return [info.key for info in store.list()]


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 3 * LIMIT), max_size=12), st.integers(0, 2**32))
def test_every_frame_is_where_it_was_said_and_packs_are_bounded(
    store: DirectoryStore, decoder: FrameDecoder, encoder: FrameEncoder, sizes: list[int], seed: int
) -> None:
    randomness = random.Random(seed)
    plaintexts = [randomness.randbytes(size) for size in sizes]  # not compressible

    with PackWriter(store, "v1/packs/b/000001", encoder) as writer:
        frames = [writer.append(plaintext, digest(plaintext)) for plaintext in plaintexts]

    for frame, plaintext in zip(frames, plaintexts, strict=True):
        stored = store.get_range(frame.pack, frame.offset, frame.length)
        assert decoder.decode(stored, frame) == plaintext
    held = {reference.key: reference for reference in writer.packs}
    assert list(held) == sorted(held)
    assert set(held) == {frame.pack for frame in frames}
    for reference in writer.packs:
        inside = [frame for frame in frames if frame.pack == reference.key]
        assert reference.length == sum(frame.length for frame in inside) == store.head(reference.key).size
        assert reference.length <= LIMIT or len(inside) == 1
        assert reference.sha256 == digest(store.get(reference.key))
        assert tiles(inside) == reference.length


def tiles(frames: list[Frame]) -> int:
    """Return the end of frames that follow one another without a gap."""
    end = 0
    for frame in frames:
        assert frame.offset == end
        end += frame.length
    return end


def test_no_frames_make_no_pack(store: DirectoryStore, encoder: FrameEncoder) -> None:
    with PackWriter(store, "v1/packs/b/000001", encoder) as writer:
        pass

    assert writer.packs == []
    assert keys(store) == []


def test_a_repeated_part_never_writes_the_same_key_again(store: DirectoryStore, encoder: FrameEncoder) -> None:
    found: set[str] = set()
    for _ in range(5):
        with PackWriter(store, "v1/packs/b/000007", encoder) as writer:
            for _ in range(3):
                writer.append(b"x" * 100, digest(b"x" * 100))
        found |= {reference.key for reference in writer.packs}

    assert len(found) == 5
    assert keys(store) == sorted(found)
    assert all(key.startswith("v1/packs/b/000007-") for key in found)


@pytest.mark.parametrize("takes", [0, 1, 2])
def test_an_upload_that_fails_in_the_background_surfaces_and_nothing_after_it_is_stored(
    tmp_path: Path, takes: int
) -> None:
    store = RefusingStore(tmp_path, takes=takes)
    appended: list[Frame] = []

    def write() -> None:
        with PackWriter(store, "p", FrameEncoder([])) as writer:
            appended.extend(writer.append(_noise(n, LIMIT), digest(_noise(n, LIMIT))) for n in range(20))

    with pytest.raises(StoreError) as caught:
        write()

    assert caught.value.code == "DISK_FULL"
    assert len(keys(store)) == takes
    assert len(store.asked) == takes + 1
    assert len(appended) < 20  # it surfaced at the next pack, not at the end


class MeetingStore(DirectoryStore):
    """Takes an object only together with others."""

    def __init__(self, path: Path, others: threading.Barrier) -> None:
        super().__init__(path)
        self._others = others

    def put(self, key: str, body: Body, *, sha256: str, if_absent: bool = False) -> None:
        self._others.wait(timeout=60)
        super().put(key, body, sha256=sha256, if_absent=if_absent)


def test_several_packs_can_be_on_their_way_at_once(tmp_path: Path) -> None:
    store = MeetingStore(tmp_path, threading.Barrier(3))

    with PackWriter(store, "p", FrameEncoder([]), budget_for(4), uploads=3) as writer:
        frames = [writer.append(_noise(n, LIMIT), digest(_noise(n, LIMIT))) for n in range(9)]

    assert {frame.pack for frame in frames} == {pack.key for pack in writer.packs} == set(keys(store))
    assert len(keys(store)) == 9


class SlowFirstStore(DirectoryStore):
    """Takes its first object only after three more."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._others = threading.Semaphore(0)

    def put(self, key: str, body: Body, *, sha256: str, if_absent: bool = False) -> None:
        if key.endswith("-0000"):
            for _ in range(3):
                assert self._others.acquire(timeout=60)
        super().put(key, body, sha256=sha256, if_absent=if_absent)
        self._others.release()


def test_a_slow_upload_holds_up_no_other(tmp_path: Path) -> None:
    store = SlowFirstStore(tmp_path)

    with PackWriter(store, "p", FrameEncoder([]), budget_for(3), uploads=2) as writer:
        for number in range(6):
            writer.append(_noise(number, LIMIT), digest(_noise(number, LIMIT)))

    assert len(keys(store)) == 6


def test_leaving_by_an_error_stores_nothing_more(store: DirectoryStore) -> None:
    writer = PackWriter(store, "p", FrameEncoder([]))

    def fail() -> None:
        with writer:
            writer.append(b"x", digest(b"x"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert keys(store) == []
    assert writer.packs == []


def test_bytes_that_lost_their_encryption_on_the_way_are_not_stored(
    store: DirectoryStore, encoder: FrameEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an encoder whose own check is broken
    monkeypatch.setattr(FrameEncoder, "encode", lambda self, plaintext, alike, at_least: bytes(plaintext))

    with pytest.raises(EncryptionError) as caught, PackWriter(store, "p", encoder) as writer:
        writer.append(b"plain", digest(b"plain"))

    assert caught.value.code == "ENCRYPTION_MISSING"
    assert keys(store) == []


def _noise(seed: int, size: int) -> bytes:
    blocks = (hashlib.sha256(f"{seed} {number}".encode()).digest() for number in range(size // 32))
    return b"".join(blocks)
