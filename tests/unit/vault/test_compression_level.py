"""The configured level is the highest that is used; a lower one takes its place where frames are as small."""

from __future__ import annotations

import random
import threading
from functools import cache

import pytest
from backports import zstd

from coffre.vault.compression_level import Levels, _Choice

FRAME_BYTES = 512 * 1024
HEX = random.Random(1).randbytes(FRAME_BYTES // 2).hex().encode()
# What only a search for long repetitions finds.
NOISE = random.Random(2)
WORDS = [NOISE.randbytes(3).hex() for _ in range(4000)]
SENTENCES = [" ".join(NOISE.choices(WORDS, k=12)) for _ in range(3000)]
REPETITIVE = "\n".join(NOISE.choices(SENTENCES, k=FRAME_BYTES // 84)).encode()
SHORT = 128 * 1024


@cache
def alone(plaintext: bytes, level: int) -> int:
    return len(zstd.compress(plaintext, level=level))


@pytest.mark.parametrize("level", [1, 2, 3, 6, 19])
@pytest.mark.parametrize(
    "plaintext", [b"", b"x", HEX[:SHORT], REPETITIVE[:SHORT]], ids=["empty", "small", "hex", "repetitive"]
)
def test_a_frame_is_a_zstd_frame_with_a_checksum_of_its_own(level: int, plaintext: bytes) -> None:
    levels = Levels(level)

    frames = [levels.compress(plaintext, "t") for _ in range(3)]

    for frame in frames:
        assert zstd.decompress(frame) == plaintext
        assert frame[4] & 0b100  # Content_Checksum_flag
        assert zstd.get_frame_info(frame).decompressed_size == len(plaintext)


@pytest.mark.parametrize("level", [3, 9, 19])
def test_digits_of_noise_are_not_searched_for_repetitions(level: int) -> None:
    levels = Levels(level)

    frames = [levels.compress(HEX, "pictures") for _ in range(5)]

    assert {len(frame) for frame in frames} == {len(zstd.compress(HEX, options={100: 1, 201: 1}))}


def test_the_configured_level_stays_where_it_makes_smaller_frames() -> None:
    levels = Levels(9)

    frames = [levels.compress(REPETITIVE, "words") for _ in range(40)]

    assert alone(REPETITIVE, 9) < 0.9 * alone(REPETITIVE, 2)
    assert all(len(frame) <= alone(REPETITIVE, 9) + 4 for frame in frames)


def test_a_table_that_changes_its_kind_is_noticed_after_some_frames() -> None:
    levels = Levels(9)
    levels.compress(HEX, "t")

    sizes = [len(levels.compress(REPETITIVE, "t")) for _ in range(64)]

    assert sizes[0] > sizes[-1]
    assert sizes[-1] <= alone(REPETITIVE, 9) + 4


class CountingLevels(Levels):
    """Counts trials."""

    trials = 0

    def _try(self, plaintext: bytes | bytearray | memoryview, alike: str, before: _Choice | None) -> bytes:
        self.trials += 1
        return super()._try(plaintext, alike, before)


def test_the_longer_a_choice_holds_the_fewer_frames_are_tried() -> None:
    levels = CountingLevels(3)
    small = HEX[:SHORT]

    trials = []
    for frames in (1, 3, 1, 31, 1, 63, 1, 127, 1, 255, 1, 255, 1):
        for _ in range(frames):
            levels.compress(small, "t")
        trials.append(levels.trials)

    assert trials == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7]


class WeighingLevels(Levels):
    """Adds up what is compressed."""

    size = 0

    def _compress(self, plaintext: bytes | bytearray | memoryview, level: int) -> bytes:
        self.size += len(plaintext)
        return super()._compress(plaintext, level)


def test_small_tables_are_not_compressed_at_every_level() -> None:
    levels = WeighingLevels(3)
    frame = HEX * 4

    for number in range(20):
        levels.compress(frame, f"table {number}")

    assert levels.size < 1.5 * 20 * len(frame)


def test_a_choice_that_changes_is_looked_at_again_soon() -> None:
    levels = CountingLevels(9)
    for _ in range(4 + 33):
        levels.compress(HEX, "t")

    for _ in range(64 + 32):
        levels.compress(REPETITIVE[:SHORT], "t")

    assert levels.trials == 5


def test_each_table_has_a_choice_of_its_own() -> None:
    levels = Levels(9)
    levels.compress(HEX, "pictures")

    assert len(levels.compress(REPETITIVE, "words")) <= alone(REPETITIVE, 9) + 4


def test_threads_do_not_disturb_one_another() -> None:
    levels = Levels(3)
    wrong: list[int] = []

    def work(number: int) -> None:
        for n in range(20):
            plaintext = random.Random(1000 * number + n).randbytes(100_000).hex().encode()
            if zstd.decompress(levels.compress(plaintext, "t")) != plaintext:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


@pytest.mark.parametrize("level", [3, 19])
def test_what_is_compressed_already_is_told_from_the_data(level: int) -> None:
    """What has nothing in common with others, objects of a bucket, is not judged by them."""
    noise, levels = random.Random(3).randbytes(FRAME_BYTES), Levels(level)

    frames = {name: levels.compress(body, None) for name, body in (("noise", noise), ("text", REPETITIVE))}

    assert len(frames["noise"]) == alone(noise, 1) + 4  # the checksum
    assert len(frames["text"]) == alone(REPETITIVE, level) + 4
    assert zstd.decompress(frames["noise"]) == noise
    assert levels._choices == {}
