"""Connections to a store, kept open: HTTP/1.1 as far as GET needs it, at a third of the time of a general client.

A backup of small objects is bound by what the interpreter does for each answer: urllib3 looks whether a connection is
still open, `http.client` reads headers as those of a mail, and each hands the interpreter's lock around.
"""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BufferedReader
from typing import Final, Protocol, Self, cast
from urllib.parse import SplitResult

from urllib3.exceptions import ProtocolError, SSLError

_BUFFER_BYTES: Final = 64 * 1024
_LINE_BYTES: Final = 64 * 1024
_HEADERS: Final = 200
_CHUNK_LINE_BYTES: Final = 1024
_CHUNK_LINE: Final = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n")


class TooMuchError(Exception):
    """The answer has more bytes than it may have."""


class _GoneError(ProtocolError):
    """The connection ended before one byte of an answer came: it was kept for too long."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a store answered: `headers` by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport(Protocol):
    """What sends requests to a store; `Connections` says how."""

    def get(self, host: str, target: str, headers: Mapping[str, str], limits: tuple[int, int]) -> Answer:
        """Send a request and return its answer."""
        ...

    def close(self) -> None:
        """Close every connection that is not in use."""
        ...


@dataclass
class Connections:
    """Sends GET requests to hosts of one store. Safe to use from several threads.

    Parameters
    ----------
    base
        Scheme and port.
    ca_bundle
        File with the certificates that are trusted; the system's when None.
    connect_seconds, read_seconds
        Longest wait for a connection, and for the next bytes on one.
    """

    base: SplitResult
    ca_bundle: str | None
    connect_seconds: float
    read_seconds: float
    _idle: dict[str, deque[_Connection]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._tls = ssl.create_default_context(cafile=self.ca_bundle) if self.base.scheme == "https" else None

    def get(self, host: str, target: str, headers: Mapping[str, str], limits: tuple[int, int]) -> Answer:
        """Send a request and return its answer.

        Parameters
        ----------
        host
            Name and port, as the header `Host` has it.
        target
            Path and query, encoded.
        limits
            The most bytes of the body of a success, and of a refusal, which is cut there.

        Raises
        ------
        TooMuchError
            A success has more.
        SSLError
            Of urllib3: the certificate is not to be trusted.
        ProtocolError
            Of urllib3: no connection could be made, or it broke, or what came is no HTTP.
        """
        request = f"GET {target} HTTP/1.1\r\nhost: {host}\r\n"
        request += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        if request.count("\n") != len(headers) + 2 or request.count("\r") != len(headers) + 2:
            raise ProtocolError("A header of the request would have a line break")  # an etag is the store's own text
        sent = f"{request}\r\n".encode()
        with self._lock:
            idle = self._idle.setdefault(host, deque())
            kept = idle.pop() if idle else None
        if kept is not None:
            try:
                return self._exchange(kept, idle, sent, limits)
            except _GoneError:
                pass  # nothing is lost by asking once more
        return self._exchange(self._open(host), idle, sent, limits)

    def close(self) -> None:
        """Close every connection that is not in use."""
        with self._lock:
            for idle in self._idle.values():
                while idle:
                    idle.pop().close()

    def _exchange(
        self, connection: _Connection, idle: deque[_Connection], sent: bytes, limits: tuple[int, int]
    ) -> Answer:
        try:
            answer, is_reusable = connection.exchange(sent, limits)
        except BaseException as error:
            connection.close()
            if isinstance(error, OSError | ValueError):
                raise ProtocolError(f"{type(error).__name__}: {error}") from error
            raise
        if is_reusable:
            idle.append(connection)
        else:
            connection.close()
        return answer

    def _open(self, host: str) -> _Connection:
        name, _, port = host.rpartition(":") if self.base.port else (host, "", "")
        place = (name.strip("[]"), int(port or (443 if self._tls else 80)))
        try:
            plain = socket.create_connection(place, self.connect_seconds)
        except OSError as error:
            raise ProtocolError(f"Could not connect to {host}: {error}") from error
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            wire = self._tls.wrap_socket(plain, server_hostname=place[0]) if self._tls else plain
        except OSError as error:
            plain.close()
            kind = SSLError if isinstance(error, ssl.SSLCertVerificationError) else ProtocolError
            raise kind(f"{error}") from error
        wire.settimeout(self.read_seconds)
        return _Connection(wire, cast("BufferedReader", wire.makefile("rb", buffering=_BUFFER_BYTES)))


@dataclass(frozen=True)
class _Connection:
    """One connection; whatever goes wrong on it ends it."""

    wire: socket.socket
    reader: BufferedReader

    def exchange(self, sent: bytes, limits: tuple[int, int]) -> tuple[Answer, bool]:
        """Return the answer, and whether another request can follow."""
        try:
            self.wire.sendall(sent)
            line = self.reader.readline(_LINE_BYTES)
        except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
            raise _GoneError(f"{error}") from error
        if not line:
            raise _GoneError("The connection was closed without an answer")
        head = Head.read(self.reader, line)
        while head.status < 200:
            head = Head.read(self.reader, self.reader.readline(_LINE_BYTES))
        body, is_whole = self._body(head, limits)
        return Answer(head.status, head.headers, body), is_whole and head.stays

    def close(self) -> None:
        self.reader.close()
        self.wire.close()

    def _body(self, head: Head, limits: tuple[int, int]) -> tuple[bytes, bool]:
        """Return the body, and whether that was all of it."""
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
