"""Compression of whole streams, for data without zstd frames of the vault."""

from __future__ import annotations

import zlib
from collections.abc import Generator, Iterable
from typing import Final

from backports import zstd

GZIP_WINDOW_BITS: Final = 16 + zlib.MAX_WBITS
_GZIP_LEVEL: Final = 6


def zstd_file(chunks: Iterable[bytes]) -> Generator[bytes]:
    """Yield one zstd frame, with a checksum."""
    compressor = zstd.ZstdCompressor(options={zstd.CompressionParameter.checksum_flag: 1})
    for chunk in chunks:
        if data := compressor.compress(chunk):
            yield data
    yield compressor.flush()


def gzip_file(chunks: Iterable[bytes]) -> Generator[bytes]:
    """Yield one gzip file."""
    compressor = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, GZIP_WINDOW_BITS)
    for chunk in chunks:
        if data := compressor.compress(chunk):
            yield data
    yield compressor.flush()
