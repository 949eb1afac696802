"""A hash that is continued comes to the same as one that was not."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffre.vault.resumable_hash import ResumableSha256

pytestmark = pytest.mark.usefixtures("copydata")


@given(pieces=st.lists(st.binary(max_size=300), max_size=12))
def test_any_pieces_give_the_hash_of_all(pieces: list[bytes]) -> None:
    own, known = ResumableSha256(), hashlib.sha256()
    for piece in pieces:
        own.update(piece)
        known.update(piece)
        assert own.hexdigest() == known.hexdigest()
    assert own.size == sum(map(len, pieces))


@given(blocks=st.lists(st.integers(0, 5), max_size=8), tail=st.binary(max_size=200))
def test_a_state_continues_at_the_border_of_any_block(blocks: list[int], tail: bytes) -> None:
    own, known = ResumableSha256(), hashlib.sha256()
    for number, count in enumerate(blocks):
        data = bytearray([number]) * (64 * count)
        own.update(memoryview(data))
        known.update(data)
        own = ResumableSha256.of_state(own.state(), own.size)
    own.update(tail)
    known.update(tail)

    assert own.hexdigest() == known.hexdigest()


def test_no_state_holds_bytes_of_what_is_hashed() -> None:
    own = ResumableSha256()
    own.update(b"secret")

    with pytest.raises(ValueError, match="border of a block"):
        own.state()


@pytest.mark.parametrize(
    ("state", "size"), [("", 0), ("00" * 31, 0), ("00" * 32, 63), ("00" * 32, -64), ("zz" * 32, 0)]
)
def test_what_is_no_state_is_refused(state: str, size: int) -> None:
    with pytest.raises(ValueError, match=r"state of a SHA-256|hexadecimal"):
        ResumableSha256.of_state(state, size)
