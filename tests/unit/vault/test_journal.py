"""Lines of a segment in the vault: the first frame is compressed thoroughly, and all of them are read back."""

from __future__ import annotations

import random

import pytest
from backports import zstd

from coffre.stores.directory import DirectoryStore
from coffre.vault import journal
from coffre.vault.codec import FrameDecoder, FrameEncoder
from coffre.vault.vault import Vault

FRAME_BYTES = 64 * 1024
NOISE = random.Random(1)
LINES = "".join(
    f"[0,745,\"table public.orders: INSERT: id[bigint]:{number} note[text]:'{NOISE.randbytes(6).hex()}'\"]\n"
    for number in range(1000)
).encode()


@pytest.mark.parametrize(("configured", "first_level"), [(1, 16), (3, 16), (19, 19)])
def test_the_first_frame_is_as_small_as_it_gets_and_the_others_are_quick(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch, configured: int, first_level: int
) -> None:
    monkeypatch.setattr(journal, "FRAME_SIZE_BYTES", FRAME_BYTES)
    vault = Vault(store)

    found = journal.store_lines(vault, "shop", "interval", 1, FrameEncoder([], level=configured), [LINES])

    parts = (LINES[:FRAME_BYTES], LINES[FRAME_BYTES:])
    levels = (first_level, configured)
    alone = [len(zstd.compress(part, level=level)) for part, level in zip(parts, levels, strict=True)]
    assert [frame.length - 4 for frame in found.frames] == alone  # they have a checksum
    assert b"".join(vault.read_frame(frame, FrameDecoder())[0] for frame in found.frames) == LINES
    assert alone[0] < 0.95 * len(zstd.compress(parts[0], level=3))
