"""The bytes of an object as botocore reads them: to count them, to sign them, to send them, to send them again."""

from __future__ import annotations

import hashlib
import io

from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from coffre.stores.s3_put import BodyFile, SignerWithDigest

BODIES = st.one_of(st.binary(max_size=50), st.lists(st.binary(max_size=600_000), max_size=4))


def joined(body: bytes | list[bytes]) -> bytes:
    return body if isinstance(body, bytes) else b"".join(body)


@given(BODIES, st.integers(1, 1_000_000))
def test_blocks_are_all_of_it_in_order(body: bytes | list[bytes], size: int) -> None:
    file = BodyFile(body)

    blocks = []
    while block := file.read(size):
        blocks.append(bytes(block))

    assert b"".join(blocks) == joined(body)
    assert file.tell() == len(joined(body))


@given(BODIES, st.integers(0, 2_000_000))
def test_it_can_be_read_again_from_anywhere(body: bytes | list[bytes], start: int) -> None:
    file, whole = BodyFile(body), joined(body)
    file.read(100)

    assert file.seek(0, io.SEEK_END) == len(whole)
    assert file.seek(min(start, len(whole))) == file.tell()
    assert file.read() == whole[start:]
    assert file.read() == b""


def test_blocks_are_large_and_no_copies() -> None:
    body = bytes(1_000_000)

    block = BodyFile(body).read(16_384)

    assert len(block) == 262_144
    assert memoryview(block).obj is body


def signed_as(request: AWSRequest) -> str:
    return SignerWithDigest(Credentials("id", "secret"), "s3", "eu-west-3").payload(request)


def test_a_digest_that_is_sent_is_the_one_that_is_signed() -> None:
    request = AWSRequest("PUT", "http://store/b/k", data=b"body")
    assert signed_as(request) == hashlib.sha256(b"body").hexdigest()

    request.headers["x-amz-checksum-sha256"] = "LCa0a2j/xo/5m0U8HTBBNBNCLXBkg7+g+YpeiGJm564="
    assert signed_as(request) == hashlib.sha256(b"foo").hexdigest()
