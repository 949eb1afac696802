"""Lines of a segment in the vault: few are compressed thoroughly, many quickly, and all are read back."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from unittest.mock import patch

import pytest
from backports import zstd

from coffre.model.errors import ObjectMissingError
from coffre.model.journal import IntervalEnd, JournalEnd
from coffre.stores.directory import DirectoryStore
from coffre.vault import journal, journal_packs
from coffre.vault.codec import FrameDecoder, FrameEncoder
from coffre.vault.vault import Vault

FRAME_BYTES = 64 * 1024
NOISE = random.Random(1)
LINES = "".join(
    f"[0,745,\"table public.orders: INSERT: id[bigint]:{number} note[text]:'{NOISE.randbytes(6).hex()}'\"]\n"
    for number in range(1000)
).encode()


@pytest.mark.parametrize(("configured", "level_of_few"), [(1, 16), (3, 16), (19, 19)])
def test_a_segment_of_one_frame_is_as_small_as_it_gets_and_a_larger_one_is_quick(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch, configured: int, level_of_few: int
) -> None:
    monkeypatch.setattr(journal_packs, "FRAME_SIZE_BYTES", FRAME_BYTES)
    vault, encoder = Vault(store), FrameEncoder([], level=configured)

    few, many = LINES[: FRAME_BYTES - 1], LINES
    for lines, level in ((few, level_of_few), (many, configured)):
        found = journal_packs.store_lines(vault, "shop", "interval", 1, encoder, [lines])

        parts = [lines[start : start + FRAME_BYTES] for start in range(0, len(lines), FRAME_BYTES)]
        alone = [len(zstd.compress(part, level=level)) for part in parts]
        assert [frame.length - 4 for frame in found.frames] == alone  # they have a checksum
        assert b"".join(vault.read_frame(frame, FrameDecoder())[0] for frame in found.frames) == lines
    assert len(zstd.compress(few, level=16)) < 0.95 * len(zstd.compress(few, level=3))


def test_the_first_of_two_ends_counts_also_where_both_drains_have_seen_none(store: DirectoryStore) -> None:
    vault, at = Vault(store), datetime(2026, 11, 27, tzinfo=UTC)
    first, second = (
        IntervalEnd(reason=reason, stored_lsn=5, ended_at=at) for reason in (JournalEnd.GUARD, JournalEnd.GAP)
    )
    assert journal.end_interval(vault, "shop", "I1", first) == first
    real, unseen = journal.read_end, iter([ObjectMissingError("Not yet.")])

    def read_end(vault: Vault, target: str, interval: str) -> IntervalEnd:
        for error in unseen:
            raise error
        return real(vault, target, interval)

    with patch.object(journal, "read_end", read_end):
        assert journal.end_interval(vault, "shop", "I1", second) == first
