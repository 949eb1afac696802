"""Whatever bytes come: a reader returns, or raises one error of Coffre's, in bounded memory."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fuzz.readers import READERS, Reader

from coffre.model.names import visible

MIB = 2**20
HOSTILE: tuple[Any, ...] = (
    *(None, True, 0, -1, 2**31, 2**63, 10**40, 0.5, 1e308, [], {}, [[]], {"a": {"b": None}}),
    *("", " ", "\0", "a\nb", "\x1b[2J", "../../etc/passwd", "$(id)", "'; DROP TABLE x; --", "\u202e"),
    *("é" * 300, "9" * 5000, "2026-13-45T99:99:99Z", "01M80CQHV1E87Z6EGTND1V2QFV"),
)
# What JSON can say and its readers may not survive: deep nesting, numbers without end, halves of characters, NaN.
SHORT = ("9" * 4400, "1e999999", "NaN", '"\\ud800"', "-0", '"\\u0000"')
RAW = (*SHORT, "[" * 100_000, '{"a":' * 100_000, "9" * 10_000)
PLACE = "@@here@@"


def paths_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return every path into a JSON value, the value itself first."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, one in items for found in paths_of(one, (*path, key)))]


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


def changed_json(draw: st.DrawFn, seed: bytes) -> bytes:
    value = json.loads(seed)
    path = draw(st.sampled_from(paths_of(value)))
    if draw(st.booleans()):
        raw = draw(st.sampled_from(SHORT))
        return json.dumps(replaced(value, path, PLACE)).replace(f'"{PLACE}"', raw).encode()
    return json.dumps(replaced(value, path, draw(st.sampled_from(HOSTILE)))).encode()


def changed_bytes(draw: st.DrawFn, seed: bytes) -> bytes:
    at = draw(st.integers(0, len(seed)))
    end = draw(st.integers(at, min(len(seed), at + 40)))
    return seed[:at] + draw(st.binary(max_size=12)) + seed[end:] if draw(st.booleans()) else seed[:at]


@st.composite
def hostile(draw: st.DrawFn, reader: Reader) -> bytes:
    """Inputs near to what a reader takes, and some that are nothing."""
    if not reader.corpus or draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200))
    seed = draw(st.sampled_from(reader.corpus))
    try:
        json.loads(seed)
    except (ValueError, RecursionError):
        return changed_bytes(draw, seed)
    return changed_json(draw, seed) if draw(st.integers(0, 3)) else changed_bytes(draw, seed)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_a_reader_takes_its_seeds(reader: Reader) -> None:
    assert [reader.run(seed) for seed in reader.seeds] == [None] * len(reader.seeds)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_what_once_broke_a_reader_does_so_no_more(reader: Reader) -> None:
    for data in reader.corpus:
        reader.run(data)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_hostile_input_is_read_or_refused_with_one_error(reader: Reader) -> None:
    @settings(max_examples=300, derandomize=True)  # `make fuzz` looks further
    @given(hostile(reader))
    def check(data: bytes) -> None:
        error = reader.run(data)
        if error is not None:
            for text in (error.message, error.detail or "", error.hint or ""):
                assert all(visible(line) == line for line in text.split("\n")), text

    check()


@pytest.mark.parametrize("raw", RAW, ids=lambda raw: raw[:12])
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_json_without_end_is_refused(reader: Reader, raw: str) -> None:
    reader.run(raw.encode())
    reader.run(b'{"version": ' + raw.encode() + b"}")


# --- memory ---

# How each begins, and what then fills a GiB.
BOMBS = {"entries": (b"", b"\0"), "names": (b'{"name": "', b"a"), "frame": (b"", b"\0")}


def bomb(beginning: bytes, filling: bytes) -> bytes:
    """Return a frame that states its size, made without a GiB of memory."""
    compressor, piece = zstd.ZstdCompressor(), filling * MIB
    compressor.set_pledged_input_size(len(beginning) + 1024 * MIB)
    pieces = [compressor.compress(beginning), *(compressor.compress(piece) for _ in range(1024))]
    return b"".join((*pieces, compressor.flush()))


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_in_the_memory_that_is_stated(name: str) -> None:
    (reader,) = [one for one in READERS if one.name == name]
    data = bomb(*BOMBS[name])
    tracemalloc.start()
    try:
        error = reader.run(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert error is not None
    assert peak < 160 * MIB, f"{peak / MIB:.0f} MiB"
