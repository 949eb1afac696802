"""Connections to a store, kept open: GET and PUT at a third of the time of a general client.

A backup of small objects is bound by what the interpreter does for each answer: urllib3 looks whether a connection is
still open, `http.client` reads headers as those of a mail, and each hands the interpreter's lock around.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from io import BufferedReader
from typing import Final, Protocol, cast
from urllib.parse import SplitResult

from urllib3.exceptions import ProtocolError, SSLError

from coffre.stores.body import Body, Flow, pieces_of, size_of
from coffre.stores.s3_exchange import Answer, Connection, GoneError, Head, framing_of

_BUFFER_BYTES: Final = 64 * 1024
_NOTHING: Final = Flow(0, tuple)


class Transport(Protocol):
    """What sends requests to a store; `Connections` says how."""

    def get(self, host: str, target: str, headers: Mapping[str, str], limits: tuple[int, int]) -> Answer:
        """Send a request and return its answer."""
        ...

    def pieces(self, host: str, target: str, headers: Mapping[str, str], size: int) -> Iterator[memoryview]:
        """Send a request and yield the body of its answer."""
        ...

    def put(self, host: str, target: str, headers: Mapping[str, str], body: Body | Flow, limit: int) -> Answer:
        """Send an object and return the answer."""
        ...

    def close(self) -> None:
        """Close every connection that is not in use."""
        ...


@dataclass
class Connections:
    """Sends requests to hosts of one store. Safe to use from several threads.

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
    _idle: dict[str, deque[Connection]] = field(default_factory=dict)
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
        return self._whole(host, _request("GET", host, target, headers), _NOTHING, limits)

    def pieces(self, host: str, target: str, headers: Mapping[str, str], size: int) -> Iterator[memoryview]:
        """Send a request and yield the body of a success, which has this size; raises what `get` raises.

        A piece lasts until the next one. A refusal, or another size, is a `ProtocolError`.
        """
        connection, head, _ = self._asked(host, _request("GET", host, target, headers), _NOTHING)
        with _closed_on_error(connection):
            refuse_other_sizes(head, size)
            yield from connection.pieces(size)
        self._leave(host, connection, head.stays)

    def put(self, host: str, target: str, headers: Mapping[str, str], body: Body | Flow, limit: int) -> Answer:
        """Send an object and return the answer, cut at `limit` bytes; raises what `get` raises."""
        flow = body if isinstance(body, Flow) else Flow(size_of(body), partial(pieces_of, body))
        request = _request("PUT", host, target, {**headers, **framing_of(flow.size)})
        return self._whole(host, request, flow, (limit, limit))

    def close(self) -> None:
        """Close every connection that is not in use."""
        with self._lock:
            for idle in self._idle.values():
                while idle:
                    idle.pop().close()

    def _whole(self, host: str, request: bytes, body: Flow, limits: tuple[int, int]) -> Answer:
        connection, head, is_sent = self._asked(host, request, body)
        with _closed_on_error(connection):
            answer, is_whole = connection.body(head, limits)
        self._leave(host, connection, is_sent and is_whole and head.stays)
        return Answer(head.status, head.headers, answer)

    def _asked(self, host: str, request: bytes, body: Flow) -> tuple[Connection, Head, bool]:
        """Send a request by a connection that is open, or a new one; see `Connection.ask`."""
        with self._lock:
            idle = self._idle.setdefault(host, deque())
            kept = idle.pop() if idle else None
        for connection in (kept, None):
            used = connection or self._open(host)
            try:
                with _closed_on_error(used):
                    return used, *used.ask(request, body.size, body.read())
            except GoneError:
                if connection is None:
                    raise  # of one that was kept, nothing is lost by asking once more
        raise AssertionError

    def _leave(self, host: str, connection: Connection, is_reusable: bool) -> None:  # noqa: FBT001 - private
        if is_reusable:
            self._idle[host].append(connection)
        else:
            connection.close()

    def _open(self, host: str) -> Connection:
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
        return Connection(wire, cast("BufferedReader", wire.makefile("rb", buffering=_BUFFER_BYTES)))


def refuse_other_sizes(head: Head, size: int) -> None:
    """Refuse an answer that is no success with a body of this size; raises `ProtocolError`."""
    if head.status != 200 or head.is_chunked or head.length != size:
        raise ProtocolError(f"The store answered {head.status} with {head.length} bytes; {size} were expected")


def _request(method: str, host: str, target: str, headers: Mapping[str, str]) -> bytes:
    """Return a request's line and headers."""
    request = f"{method} {target} HTTP/1.1\r\nhost: {host}\r\n"
    request += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    if request.count("\n") != len(headers) + 2 or request.count("\r") != len(headers) + 2:
        raise ProtocolError("A header of the request would have a line break")  # an etag is the store's own text
    return f"{request}\r\n".encode()


@contextmanager
def _closed_on_error(connection: Connection) -> Iterator[None]:
    """Close a connection on which anything goes wrong; what the network does is a `ProtocolError`."""
    try:
        yield
    except BaseException as error:
        connection.close()
        if isinstance(error, OSError | ValueError):
            raise ProtocolError(f"{type(error).__name__}: {error}") from error
        raise
