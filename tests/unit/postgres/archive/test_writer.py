"""Archives that are written: read again they are the same, and their data is framed as `pg_restore` wants it."""

from __future__ import annotations

import io
import zlib

import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from coffre.model.errors import IntegrityError
from coffre.postgres.archive.reader import Archive, Compression, Section, TocEntry, read_archive
from coffre.postgres.archive.writer import (
    END_OF_ROWS,
    LargeObject,
    compressed,
    custom_header,
    large_objects_block,
    read_large_objects,
    rows_block,
    with_end_of_rows,
)

# Any bytes but zero, as names and statements are in whatever encoding the source has.
texts = st.binary(max_size=30).map(lambda data: data.replace(b"\0", b"").decode("utf-8", "surrogateescape"))
numbers = st.integers(0, 2**31 - 1)
entries = st.builds(
    TocEntry,
    dump_id=numbers,
    catalog_oid=st.integers(0, 2**32 - 1),
    oid=st.integers(0, 2**32 - 1),
    description=texts,
    tag=texts,
    schema=st.none() | texts,
    owner=texts,
    section=st.sampled_from(Section),
    definition=texts,
    drop=texts,
    copy=texts,
    tablespace=st.none() | texts,
    table_access_method=st.none() | texts,
    relation_kind=st.none() | st.sampled_from("rpm"),
    has_data=st.booleans(),
    dependencies=st.lists(numbers, max_size=3).map(tuple),
)
archives = st.builds(
    Archive,
    version=st.just((1, 16, 0)),
    compression=st.sampled_from(Compression),
    created=st.tuples(*([numbers] * 7)),
    database=texts,
    server_version=texts,
    client_version=texts,
    entries=st.lists(entries, max_size=4).map(tuple),
)
pieces = st.lists(st.binary(max_size=300_000), max_size=4)
objects = st.lists(st.tuples(st.integers(1, 2**32 - 1), st.lists(st.binary(min_size=1, max_size=50), max_size=3)))


@given(archives)
def test_what_is_written_is_read(archive: Archive) -> None:
    file = io.BytesIO(b"".join(custom_header(archive)) + b"rest")

    assert read_archive(file) == archive
    assert file.read() == b"rest"


def chunks_of(block: bytes) -> list[bytes]:
    """Return the chunks of a block of rows, whose kind and dump id come first."""
    file = io.BytesIO(block)
    assert file.read(6) == b"\x01\x00\x07\x00\x00\x00"
    chunks = []
    while length := int.from_bytes(file.read(5)[1:], "little"):
        chunks.append(file.read(length))
    assert file.read() == b""
    return chunks


@given(pieces, st.booleans())
def test_a_chunk_is_one_whole_frame_and_together_they_are_the_rows(parts: list[bytes], at_hand: bool) -> None:
    given_chunks = ((part, zstd.compress(part) if at_hand else None) for part in parts)

    block = b"".join(rows_block(7, compressed(with_end_of_rows(given_chunks), Compression.ZSTD, zlib.MAX_WBITS)))

    assert b"".join(_one_frame(chunk) for chunk in chunks_of(block)) == b"".join(parts) + END_OF_ROWS


def _one_frame(chunk: bytes) -> bytes:
    decompressor = zstd.ZstdDecompressor()
    data = decompressor.decompress(chunk)
    assert decompressor.eof
    assert decompressor.unused_data == b""
    return data


@given(pieces)
def test_other_compressions_have_the_rows_too(parts: list[bytes]) -> None:
    def block(compression: Compression) -> bytes:
        chunks = with_end_of_rows((part, None) for part in parts)
        return b"".join(chunks_of(b"".join(rows_block(7, compressed(chunks, compression, zlib.MAX_WBITS)))))

    expected = b"".join(parts) + END_OF_ROWS
    assert block(Compression.NONE) == expected
    assert zlib.decompress(block(Compression.GZIP)) == expected


def test_small_pieces_share_a_frame() -> None:
    chunks = list(with_end_of_rows((b"x" * 100, None) for _ in range(2000)))

    assert len(chunks) == 2
    assert b"".join(bytes(data) for data, _ in chunks) == b"x" * 200_000 + END_OF_ROWS


@given(objects)
def test_large_objects_that_are_written_are_read(wanted: list[tuple[int, list[bytes]]]) -> None:
    block = large_objects_block(9, (LargeObject(oid, iter(chunks)) for oid, chunks in wanted), Compression.NONE)

    found = [
        (dump_id, item.oid, b"".join(item.chunks))
        for dump_id, items in read_large_objects(io.BytesIO(b"".join(block)))
        for item in items
    ]

    assert found == [(9, oid, b"".join(chunks)) for oid, chunks in wanted]


def read_all(block: bytes) -> list[tuple[int, bytes]]:
    blocks = read_large_objects(io.BytesIO(block))
    return [(item.oid, b"".join(item.chunks)) for _, items in blocks for item in items]


def test_large_objects_that_are_cut_off_are_one_error() -> None:
    block = b"".join(large_objects_block(9, [LargeObject(5, iter([b"data"]))], Compression.NONE))

    assert read_all(block) == [(5, b"data")]
    for wrong in (b"\x01", *(block[:length] for length in range(1, len(block)))):
        with pytest.raises(IntegrityError):
            read_all(wrong)
