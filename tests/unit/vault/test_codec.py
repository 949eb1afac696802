"""Frames: what goes in comes out, to those who hold a key and to nobody else; damage is always noticed."""

import hashlib
import traceback

import pyrage
import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from coffre.model.errors import EncryptionError, IntegrityError
from coffre.model.manifest import Frame
from coffre.vault.codec import AGE_MAGIC, FrameDecoder, FrameEncoder, new_identity, parse_identities, public_key

ALICE, BOB, EVE = (new_identity() for _ in range(3))
ENCRYPTING = FrameEncoder([public_key(ALICE)])
PLAIN = FrameEncoder([])


def frame_of(plaintext: bytes, stored: bytes) -> Frame:
    return Frame(
        pack="v1/packs/x",
        offset=0,
        length=len(stored),
        size=len(plaintext),
        sha256=hashlib.sha256(plaintext).hexdigest(),
    )


@given(st.binary(max_size=5000) | st.integers(0, 200_000).map(lambda size: b"ab" * size), st.booleans())
def test_a_frame_gives_back_its_plaintext(plaintext: bytes, encrypted: bool) -> None:
    stored = (ENCRYPTING if encrypted else PLAIN).encode(plaintext)

    assert FrameDecoder([ALICE]).decode(stored, frame_of(plaintext, stored)) == plaintext
    assert stored.startswith(AGE_MAGIC) == encrypted


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_views_and_buffers_are_taken_as_they_are(kind: type) -> None:
    stored = ENCRYPTING.encode(kind(b"plaintext"))

    assert FrameDecoder([ALICE]).decode(stored, frame_of(b"plaintext", stored)) == b"plaintext"


def test_the_age_and_zstd_libraries_alone_open_a_frame() -> None:
    stored = ENCRYPTING.encode(b"plaintext")

    assert zstd.decompress(pyrage.decrypt(stored, [pyrage.x25519.Identity.from_str(ALICE)])) == b"plaintext"
    assert zstd.decompress(PLAIN.encode(b"plaintext")) == b"plaintext"


def test_each_of_several_recipients_opens_a_frame_with_a_key_of_its_own() -> None:
    stored = FrameEncoder([public_key(ALICE), public_key(BOB)]).encode(b"plaintext")
    frame = frame_of(b"plaintext", stored)

    for identities in ([ALICE], [BOB], [EVE, BOB]):
        assert FrameDecoder(identities).decode(stored, frame) == b"plaintext"
    with pytest.raises(EncryptionError) as caught:
        FrameDecoder([EVE]).decode(stored, frame)
    assert caught.value.code == "WRONG_IDENTITY"
    assert "v1/packs/x" in (caught.value.detail or "")


def test_no_identity_at_all_is_said_as_such() -> None:
    stored = ENCRYPTING.encode(b"plaintext")

    with pytest.raises(EncryptionError) as caught:
        FrameDecoder().decode(stored, frame_of(b"plaintext", stored))

    assert caught.value.code == "IDENTITY_MISSING"


@pytest.mark.parametrize("encoder", [ENCRYPTING, PLAIN], ids=["age", "none"])
def test_every_flipped_bit_anywhere_is_noticed(encoder: FrameEncoder) -> None:
    plaintext = b"an entry, which compresses, compresses, compresses " * 3
    stored = encoder.encode(plaintext)
    frame = frame_of(plaintext, stored)
    decoder = FrameDecoder([ALICE])

    answers = {
        answer(decoder, stored, frame, position, bit) for position in range(len(stored)) for bit in (0x01, 0x20, 0x80)
    }

    # Then it is noticed; in the stanza of our own key it looks like another's key
    assert answers == ({"FRAME_DAMAGED", "WRONG_IDENTITY"} if encoder.encrypts else {"FRAME_DAMAGED"})


def answer(decoder: FrameDecoder, stored: bytes, frame: Frame, position: int, bit: int) -> str:
    """What reading a frame with one flipped bit ends in."""
    damaged = bytearray(stored)
    damaged[position] ^= bit
    try:
        plaintext = decoder.decode(bytes(damaged), frame)
    except (IntegrityError, EncryptionError) as error:
        return error.code
    return "the plaintext" if hashlib.sha256(plaintext).hexdigest() == frame.sha256 else "other bytes"


@pytest.mark.parametrize("encoder", [ENCRYPTING, PLAIN], ids=["age", "none"])
def test_every_truncation_is_noticed(encoder: FrameEncoder) -> None:
    plaintext = b"some plaintext" * 10
    stored = encoder.encode(plaintext)
    frame = frame_of(plaintext, stored)

    for length in range(len(stored)):
        with pytest.raises((IntegrityError, EncryptionError)):
            FrameDecoder([ALICE]).decode(stored[:length], frame)


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_a_frame_that_is_another_ones_is_noticed(one: bytes, other: bytes) -> None:
    stored = ENCRYPTING.encode(one)

    if one == other:
        return
    with pytest.raises(IntegrityError) as caught:
        FrameDecoder([ALICE]).decode(stored, frame_of(other, stored))
    assert caught.value.code == "FRAME_DAMAGED"


def test_a_frame_that_unpacks_to_more_than_was_recorded_is_not_unpacked() -> None:
    # Given a kilobyte that would become a gigabyte
    compressor = zstd.ZstdCompressor()
    bomb = b"".join([*(compressor.compress(bytes(1 << 20)) for _ in range(256)), compressor.flush()])
    assert len(bomb) < 100_000

    for decoder in (FrameDecoder(), FrameDecoder([ALICE])):
        with pytest.raises(IntegrityError) as caught:
            decoder.decode(bomb, frame_of(b"ten bytes.", bomb))
        assert "not 10 bytes" in (caught.value.detail or "")


def test_an_empty_frame_is_a_frame() -> None:
    for encoder in (ENCRYPTING, PLAIN):
        stored = encoder.encode(b"")
        assert FrameDecoder([ALICE]).decode(stored, frame_of(b"", stored)) == b""


@settings(max_examples=30)
@given(st.binary(max_size=2000))
def test_bytes_that_are_not_encrypted_never_pass_the_check(data: bytes) -> None:
    for unsafe in (data, PLAIN.encode(data), AGE_MAGIC + data, AGE_MAGIC + b"-> X25519 x\n"):
        with pytest.raises(EncryptionError) as caught:
            ENCRYPTING.check_encrypted(unsafe)
        assert caught.value.code == "ENCRYPTION_MISSING"


def test_bytes_that_lack_a_recipient_or_have_one_too_many_do_not_pass_the_check() -> None:
    both = FrameEncoder([public_key(ALICE), public_key(BOB)])

    both.check_encrypted(both.encode(b"x"))
    for encoder, stored in ((both, ENCRYPTING.encode(b"x")), (ENCRYPTING, both.encode(b"x"))):
        with pytest.raises(EncryptionError):
            encoder.check_encrypted(stored)


def test_a_library_that_does_not_encrypt_is_caught_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyrage, "encrypt", lambda data, recipients: data)

    with pytest.raises(EncryptionError) as caught:
        ENCRYPTING.encode(b"plaintext")

    assert caught.value.code == "ENCRYPTION_MISSING"


def test_malformed_keys_are_refused_and_private_ones_never_repeated() -> None:
    with pytest.raises(EncryptionError) as caught:
        FrameEncoder(["age1nonsense"])
    assert caught.value.code == "RECIPIENT_INVALID"
    assert "age1nonsense" in caught.value.message

    damaged = ALICE[:-1] + ("Q" if ALICE[-1] != "Q" else "P")
    for call in (lambda: FrameDecoder([damaged]), lambda: public_key(damaged), lambda: parse_identities(damaged)):
        with pytest.raises(EncryptionError) as refused:
            call()
        assert refused.value.code == "IDENTITY_INVALID"
        assert damaged[20:40] not in "".join(traceback.format_exception(refused.value))


def test_an_identity_file_may_have_comments_blank_lines_and_several_keys() -> None:
    text = f"# created: today\n# public key: {public_key(ALICE)}\n{ALICE}\n\n  {BOB}  \r\n"

    assert parse_identities(text) == (ALICE, BOB)
    assert parse_identities("# nothing\n") == ()
