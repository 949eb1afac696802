"""Reading ahead: in order, each frame once, a bounded number of them, and nothing damaged passes."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator

import pytest
from backports import zstd

from coffre.model.errors import IntegrityError
from coffre.model.manifest import Entry, EntryKind, Frame
from coffre.stores.directory import DirectoryStore
from coffre.vault.codec import FrameDecoder, FrameEncoder
from coffre.vault.entries import EntryWriter
from coffre.vault.read_ahead import plaintext_ahead, read_ahead
from coffre.vault.vault import Vault

FRAMES_AHEAD = 8
LARGE = bytes(range(256)) * 1024


class Counting(Vault):
    """Counts the frames that were fetched."""

    fetched = 0
    _lock = threading.Lock()

    def read_frame(self, frame: Frame, decoder: FrameDecoder, *, hashed: bool = True) -> tuple[bytes, bytes]:
        with self._lock:
            self.fetched += 1
        return super().read_frame(frame, decoder, hashed=hashed)


@pytest.fixture
def vault(store: DirectoryStore) -> Counting:
    return Counting(store)


def stored(vault: Vault, encoder: FrameEncoder, plaintexts: list[list[bytes]]) -> list[Entry]:
    with vault.pack_writer("b", 1, encoder) as packs:
        writer = EntryWriter(packs)
        for number, pieces in enumerate(plaintexts):
            writer.add(f"t{number:03d}", EntryKind.TABLE, iter(pieces))
        return writer.close()


@pytest.mark.parametrize(
    "start", [0, 1, len(LARGE) - 1, len(LARGE), len(LARGE) + 7, 2 * len(LARGE), 2 * len(LARGE) + 2]
)
def test_an_entry_can_be_read_from_any_byte_of_it(
    vault: Counting, encoder: FrameEncoder, decoder: FrameDecoder, start: int
) -> None:
    pieces = [LARGE, LARGE[::-1], b"end"]
    (entry,) = stored(vault, encoder, [pieces])

    found = b"".join(plaintext_ahead(vault, decoder, entry, start=start))

    assert found == b"".join(pieces)[start:]
    assert vault.fetched == 3 - min(start // len(LARGE), 2)


def test_pieces_come_in_order_with_the_zstd_frame_that_the_vault_has(
    vault: Counting, encoder: FrameEncoder, decoder: FrameDecoder
) -> None:
    plaintexts = [[LARGE, LARGE[::-1], b"end"], [], [b"small"], [b"also"], [LARGE + b"x"], [b"last"]]
    entries = stored(vault, encoder, plaintexts)

    found = list(read_ahead(vault, decoder, entries))

    assert [entry.name for entry, _ in found] == ["t000"] * 3 + ["t001", "t002", "t003", "t004", "t005"]
    assert [bytes(piece.plaintext) for _, piece in found] == [
        *plaintexts[0], b"", b"small", b"also", LARGE + b"x", b"last",
    ]  # fmt: skip
    assert [piece.compressed is not None for _, piece in found] == [True] * 3 + [False] * 3 + [True, False]
    assert all(zstd.decompress(piece.compressed) == piece.plaintext for _, piece in found if piece.compressed)


def test_a_frame_that_neighbours_share_is_fetched_once(
    vault: Counting, encoder: FrameEncoder, decoder: FrameDecoder
) -> None:
    entries = stored(vault, encoder, [[b"%d" % n] for n in range(100)])

    assert b"".join(piece.plaintext for _, piece in read_ahead(vault, decoder, entries)) == b"".join(
        b"%d" % n for n in range(100)
    )
    assert vault.fetched == 1


def test_only_so_many_frames_are_held_and_closing_stops_the_rest(
    vault: Counting, encoder: FrameEncoder, decoder: FrameDecoder
) -> None:
    entries = stored(vault, encoder, [[LARGE + b"%d" % n] for n in range(60)])
    reading = read_ahead(vault, decoder, entries)

    for taken in range(1, 21):
        next(reading)
        assert vault.fetched <= taken + FRAMES_AHEAD
    reading.close()

    assert vault.fetched <= 20 + FRAMES_AHEAD


@pytest.mark.parametrize("damaged", [0, 1, 2, 3])
def test_nothing_passes_that_is_not_what_was_recorded(
    vault: Counting, encoder: FrameEncoder, decoder: FrameDecoder, damaged: int
) -> None:
    entries = stored(vault, encoder, [[LARGE, LARGE[::-1]], [b"small"], [LARGE + b"x"], []])
    wrong = hashlib.sha256(b"other").hexdigest()
    entries[damaged] = entries[damaged].model_copy(update={"sha256": wrong})

    def read() -> Iterator[str]:
        for entry, _ in read_ahead(vault, decoder, entries):
            yield entry.name

    with pytest.raises(IntegrityError) as caught:
        list(read())

    assert caught.value.code == "ENTRY_DAMAGED"
    assert f"t{damaged:03d}" in caught.value.message
