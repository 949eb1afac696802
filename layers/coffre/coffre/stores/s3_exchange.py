"""One connection to a store: HTTP/1.1 as far as GET and PUT need it.

`http.client` reads headers as those of a mail, and each layer above it hands the interpreter's lock around.
"""

from __future__ import annotations

import re
import select
import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BufferedReader
from typing import Final, Self

from urllib3.exceptions import ProtocolError

# A body of this size is sent when the store has agreed to take it: what it refuses does not cross the network first.
_ASKED_FIRST_BYTES: Final = 1024 * 1024
# Stores that do not know the question never answer it. botocore waits as long.
_AGREES_WITHIN_SECONDS: Final = 1.0

# Each has the whole of the time that a store has to take bytes: even a slow link sends a block within it.
BLOCK_BYTES: Final = 256 * 1024
_LINE_BYTES: Final = 64 * 1024
_HEADERS: Final = 200
_CHUNK_LINE_BYTES: Final = 1024
_CHUNK_LINE: Final = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n")


class TooMuchError(Exception):
    """The answer has more bytes than it may have."""


class GoneError(ProtocolError):
    """The connection ended before one byte of an answer came: it was kept for too long."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a store answered: `headers` by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def framing_of(size: int) -> dict[str, str]:
    """Return the headers that say how a body of this size is sent."""
    asks = {"expect": "100-continue"} if size >= _ASKED_FIRST_BYTES else {}
    return {"content-length": f"{size}", **asks}


@dataclass(frozen=True)
class Connection:
    """One connection; whatever goes wrong on it ends it."""

    wire: socket.socket
    reader: BufferedReader

    def ask(self, sent: bytes, size: int, pieces: Iterable[bytes | memoryview]) -> tuple[Head, bool]:
        """Send a request; return the head of the answer, and whether all of the request was sent.

        Parameters
        ----------
        sent
            The request's line and headers, with those of `framing_of`.
        pieces
            The body, `size` bytes in all.
        """
        try:
            self.wire.sendall(sent)
            if refused := self._refusal() if size >= _ASKED_FIRST_BYTES else None:
                return refused, False
            for piece in pieces:
                whole = memoryview(piece)
                for start in range(0, len(whole), BLOCK_BYTES):
                    self.wire.sendall(whole[start : start + BLOCK_BYTES])
            line = self.reader.readline(_LINE_BYTES)
        except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
            raise GoneError(f"{error}") from error
        if not line:
            raise GoneError("The connection was closed without an answer")
        head = Head.read(self.reader, line)
        while head.status < 200:
            head = Head.read(self.reader, self.reader.readline(_LINE_BYTES))
        return head, True

    def pieces(self, size: int) -> Iterator[memoryview]:
        """Yield a body of this size in pieces, each of which lasts until the next."""
        block = memoryview(bytearray(min(BLOCK_BYTES, size)))
        left = size
        while left:
            count = self.reader.readinto(block[: min(left, len(block))])
            if not count:
                raise ProtocolError(f"{size - left} bytes came; {size} were promised")
            left -= count
            yield block[:count]

    def _refusal(self) -> Head | None:
        """Wait for the store to agree to a body; return the answer of one that does not want it."""
        is_read_ahead = isinstance(self.wire, ssl.SSLSocket) and self.wire.pending()
        poll = select.poll()
        poll.register(self.wire, select.POLLIN)
        if not is_read_ahead and not poll.poll(_AGREES_WITHIN_SECONDS * 1000):
            return None
        line = self.reader.readline(_LINE_BYTES)
        if not line:
            raise GoneError("The connection was closed without an answer")
        head = Head.read(self.reader, line)
        if 200 <= head.status < 300:
            raise ProtocolError(f"The store answered {head.status} before it had the body")
        return head if head.status >= 300 else None

    def close(self) -> None:
        """Hang up."""
        self.reader.close()
        self.wire.close()

    def body(self, head: Head, limits: tuple[int, int]) -> tuple[bytes, bool]:
        """Return the body of an answer, and whether that was all of it."""
        is_success = head.status < 300
        limit = limits[0] if is_success else limits[1]
        if head.status in {204, 304}:
            return b"", True
        if head.is_chunked:
            body = _chunks(self.reader, limit + 1)
        else:
            promised = head.length
            if promised is not None and promised > limit and is_success:
                raise TooMuchError
            # Of a length that is known it reads into one piece of memory.
            wanted = limit + 1 if promised is None else min(promised, limit + 1)
            body = self.reader.read(wanted)
            if promised is not None and len(body) < wanted:
                raise ProtocolError(f"{len(body)} bytes came; {promised} were promised")
        if len(body) > limit and is_success:
            raise TooMuchError
        return body[:limit] if len(body) > limit else body, len(body) <= limit


@dataclass(frozen=True, slots=True)
class Head:
    """Status and headers of an answer, and what they say of its body."""

    status: int
    headers: dict[str, str]
    version: bytes

    @classmethod
    def read(cls, reader: BufferedReader, line: bytes) -> Self:
        """Read what stands before the body, `line` being its first.

        Raises
        ------
        ProtocolError
            It is no HTTP/1.
        """
        version, _, rest = line.partition(b" ")
        if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit():
            raise ProtocolError(f"The answer begins with {line[:60]!r}")
        headers: dict[str, str] = {}
        for _ in range(_HEADERS):
            text = reader.readline(_LINE_BYTES)
            if text in (b"\r\n", b"\n"):
                return cls(int(rest[:3]), headers, version)
            name, colon, value = text.decode("latin-1").partition(":")
            if not colon or name != name.strip() or not text.endswith(b"\n"):
                break
            name, value = name.lower(), value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        raise ProtocolError("The headers of the answer do not end, or one of them is none")

    @property
    def is_chunked(self) -> bool:
        """Whether the body comes in chunks."""
        coding = self.headers.get("transfer-encoding")
        if coding is not None and coding.lower() != "chunked":
            raise ProtocolError(f"The answer comes as {coding[:40]!r}, which was not asked for")
        return coding is not None

    @property
    def length(self) -> int | None:
        """The number of bytes that follow; None: until the connection ends."""
        text = self.headers.get("content-length")
        if text is not None and not text.isdigit():
            raise ProtocolError(f"The answer has {text[:40]!r} bytes")
        return int(text) if text is not None else None

    @property
    def stays(self) -> bool:
        """Whether the connection stays open."""
        is_framed = self.is_chunked or "content-length" in self.headers or self.status in {204, 304}
        return self.version == b"HTTP/1.1" and is_framed and "close" not in self.headers.get("connection", "").lower()


def _chunks(reader: BufferedReader, limit: int) -> bytes:
    """Return a body in chunks (RFC 9112, 7.1), or its first `limit` bytes."""
    pieces, total = [], 0
    while total < limit:
        line = reader.readline(_CHUNK_LINE_BYTES)
        found = _CHUNK_LINE.match(line)
        if found is None:
            raise ProtocolError(f"A chunk of the answer begins with {line[:40]!r}")
        size = int(found[1], 16)
        if not size:
            _skip_trailers(reader)
            break
        wanted = min(size, limit - total)
        piece = reader.read(wanted)
        if len(piece) < wanted:
            raise ProtocolError(f"{len(piece)} bytes of a chunk came; {size} were promised")
        pieces.append(piece)
        total += wanted
        if total < limit and reader.readline(_CHUNK_LINE_BYTES) != b"\r\n":
            raise ProtocolError("A chunk of the answer does not end where it should")
    return b"".join(pieces)


def _skip_trailers(reader: BufferedReader) -> None:
    for _ in range(_HEADERS):
        if reader.readline(_LINE_BYTES) == b"\r\n":
            return
    raise ProtocolError("What follows the last chunk of the answer does not end")
