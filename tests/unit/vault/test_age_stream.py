"""A stream in one age file: whole, in constant memory, and every error is its own."""

from __future__ import annotations

from collections.abc import Iterator

import pyrage
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffre.model.errors import EncryptionError, IntegrityError
from coffre.vault.age_stream import encrypt_stream
from coffre.vault.codec import new_identity, public_key

ONE, OTHER = new_identity(), new_identity()


def opened(data: bytes, identity: str) -> bytes:
    return pyrage.decrypt(data, [pyrage.x25519.Identity.from_str(identity)])


@given(st.lists(st.binary(max_size=200_000), max_size=5))
def test_every_recipient_opens_it(chunks: list[bytes]) -> None:
    written: list[bytes] = []

    encrypt_stream(iter(chunks), written.append, [public_key(ONE), public_key(OTHER)])

    assert opened(b"".join(written), ONE) == opened(b"".join(written), OTHER) == b"".join(chunks)


def test_it_is_written_as_it_is_read() -> None:
    written, ahead = 0, 0

    def write(data: bytes) -> None:
        nonlocal written
        written += len(data)

    def chunks() -> Iterator[bytes]:
        nonlocal ahead
        for number in range(100):
            ahead = max(ahead, number * 100_000 - written)
            yield b"x" * 100_000

    encrypt_stream(chunks(), write, [public_key(ONE)])

    assert written > 10_000_000
    assert ahead < 500_000


def test_what_the_source_raises_is_raised() -> None:
    error = IntegrityError("A stored frame is damaged.")

    def chunks() -> Iterator[bytes]:
        yield b"x" * 100_000
        raise error

    with pytest.raises(IntegrityError) as caught:
        encrypt_stream(chunks(), lambda data: None, [public_key(ONE)])

    assert caught.value is error


@pytest.mark.parametrize(("size", "call"), [(0, 1), (10, 1), (1_000_000, 1), (1_000_000, 2), (1_000_000, 17)])
def test_a_write_that_fails_is_never_taken_for_done(size: int, call: int) -> None:
    calls = 0

    def write(data: bytes) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        encrypt_stream(iter([b"x" * size]), write, [public_key(ONE)])


def test_a_header_for_others_is_never_written(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a library that forgets the second recipient
    real, written = pyrage.encrypt_io, list[bytes]()
    monkeypatch.setattr(pyrage, "encrypt_io", lambda reader, writer, keys: real(reader, writer, keys[:1]))

    with pytest.raises(EncryptionError) as caught:
        encrypt_stream(iter([b"secret"]), written.append, [public_key(ONE), public_key(OTHER)])

    assert caught.value.code == "ENCRYPTION_MISSING"
    assert written == []
