"""Names in databases without an encoding (SQL_ASCII), where any byte may stand, as text that survives everywhere.

Bytes that are UTF-8 are the characters they are. Any other byte N is the private character U+EF00 + N (U+EF80 to
U+EFFF): a surrogate could not be written into JSON, nor into the catalog. Where the database itself has such a private
character, its three bytes are written in this way too: every sequence of bytes has a text of its own and comes back.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Buffer
from functools import cache
from typing import Final

import psycopg2.extensions

ENCODING: Final = "SQL_ASCII"
CODEC: Final = "coffre_sql_ascii"
_PRIVATE: Final = 0xEF00
_FROM_SURROGATE: Final = {0xDC00 + byte: _PRIVATE + byte for byte in range(0x80, 0x100)}
_TO_SURROGATE: Final = {private: surrogate for surrogate, private in _FROM_SURROGATE.items()}
_OWN_PRIVATE: Final = re.compile("[\uef80-\uefff]")


def text_of(data: bytes) -> str:
    """Return bytes as text; every sequence of bytes has one."""
    text = data.decode("utf-8", "surrogateescape")
    return _OWN_PRIVATE.sub(_as_bytes, text).translate(_FROM_SURROGATE)


def bytes_of(text: str) -> bytes:
    """Return the bytes of a text that `text_of` made, or of any other."""
    return text.translate(_TO_SURROGATE).encode("utf-8", "surrogateescape")


def archived(text: str) -> str:
    """Return a text of `text_of` as archives have it: UTF-8 with surrogates for other bytes."""
    return bytes_of(text).decode("utf-8", "surrogateescape")


def has_other_bytes(text: str) -> bool:
    """Whether a text stands for bytes that are no UTF-8: no database with an encoding can have it."""
    return _OWN_PRIVATE.search(text) is not None


@cache
def register() -> None:
    """Let `psycopg2` read and write the names of databases without an encoding in this way; its own is 7-bit ASCII."""
    codecs.register(lambda name: _INFO if name == CODEC else None)
    for name in (ENCODING, ENCODING.replace("_", "")):
        psycopg2.extensions.encodings[name] = CODEC


def _as_bytes(character: re.Match[str]) -> str:
    return "".join(chr(_PRIVATE + byte) for byte in character[0].encode())


def _decode(data: Buffer, errors: str = "strict", /) -> tuple[str, int]:
    found = bytes(data)
    # Texts of errors are asked for with `replace`: they are for people.
    return (found.decode("utf-8", "replace") if errors == "replace" else text_of(found)), len(found)


def _encode(text: str, errors: str = "strict", /) -> tuple[bytes, int]:  # noqa: ARG001 - the signature of codecs
    return bytes_of(text), len(text)


_INFO: Final = codecs.CodecInfo(name=CODEC, encode=_encode, decode=_decode)
