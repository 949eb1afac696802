"""A small HTTP server between client and store that does what networks and busy stores do."""

import http.client
import itertools
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


@dataclass(frozen=True)
class FlipByte:
    """One bit of the request's body changes on the way to the store."""

    position: int = 0


@dataclass(frozen=True)
class Cut:
    """The connection ends when so many bytes of the answer's body have passed. Then something else may happen."""

    after_bytes: int
    reset: bool = False
    then: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class LoseAnswer:
    """The store does what it is asked for, but its answer gets lost."""


@dataclass(frozen=True)
class Silence:
    """Nothing comes back."""


@dataclass(frozen=True)
class Answer:
    """This answer comes back, and the store knows nothing of it."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def error(cls, status: int, code: str, message: str = "", *, extra: str = "", **headers: str) -> Self:
        """Make the answer of S3 that reports an error."""
        body = f"<Error><Code>{code}</Code><Message>{message}</Message>{extra}</Error>"
        return cls(status, body.encode(), {"Content-Type": "application/xml", "x-amz-request-id": "R-1", **headers})


Fault = FlipByte | Cut | LoseAnswer | Silence | Answer


@dataclass(frozen=True)
class Request:
    """What came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class FaultyStore:
    """An endpoint that meets each request with the next fault, and then with none.

    Parameters
    ----------
    upstream
        Address of the store behind; None when there is only the script.
    certificate
        Speak TLS with this certificate and key.
    """

    def __init__(self, upstream: str | None = None, *, certificate: tuple[Path, Path] | None = None) -> None:
        self.upstream = upstream
        self.faults: deque[Fault] = deque()
        self.script: Callable[[Request], Answer] | None = None
        self.requests: list[Request] = []
        self.arrived = threading.Semaphore(0)
        self.closing = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.store = self
        self._scheme = "http" if certificate is None else "https"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def endpoint_url(self) -> str:
        """The address for the client."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}"

    def expect(self, faults: Iterable[Fault]) -> None:
        """Forget what was, and meet the next requests with these."""
        self.faults = deque(faults)
        self.requests.clear()
        self.arrived = threading.Semaphore(0)

    def await_requests(self, count: int) -> None:
        """Wait until this number have come in: a client that gives up does not know whether its request has."""
        for _ in range(count):
            assert self.arrived.acquire(timeout=60), f"of {count} requests, not all have come in"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 128  # of clients that connect at the same moment, none is to try again a second later
    store: FaultyStore

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that hang up are the point here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""

    def _serve(self) -> None:
        self.close_connection = True
        store = self.server.store
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = Request(self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        store.requests.append(request)
        store.arrived.release()
        fault = store.faults.popleft() if store.faults else (store.script and store.script(request))
        match fault:
            case Answer():
                self._answer(fault)
            case Silence():
                store.closing.wait()
            case FlipByte(position=at):
                changed = bytes([body[at] ^ 1])
                self._answer(self._forward(body[:at] + changed + body[at + 1 :]))
            case LoseAnswer():
                self._forward(body)
            case Cut():
                self._answer(self._forward(body), fault)
                fault.then()
            case None:
                self._answer(self._forward(body))

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _serve  # noqa: N815

    def _forward(self, body: bytes) -> Answer:
        assert self.server.store.upstream is not None
        upstream = urlsplit(self.server.store.upstream)
        with closing(http.client.HTTPConnection(upstream.hostname or "", upstream.port, timeout=60)) as connection:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in {"expect", "connection"}:
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return Answer(answer.status, answer.read(), dict(answer.headers.items()))

    def _answer(self, answer: Answer, cut: Cut | None = None) -> None:
        self.send_response_only(answer.status)
        own = {"connection", "transfer-encoding"} | ({"content-length"} if self.command != "HEAD" else set())
        headers = {name: value for name, value in answer.headers.items() if name.lower() not in own}
        if self.command != "HEAD":
            headers["Content-Length"] = str(len(answer.body))
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(answer.body if cut is None else answer.body[: cut.after_bytes])
        self.wfile.flush()
        if cut is not None and cut.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def page_of(keys: Iterable[str], *, next_token: str | None = None, truncated: bool | None = None) -> Answer:
    """Make one page of a listing."""
    items = "".join(
        f'<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00Z</LastModified><ETag>"e"</ETag>'
        f"<Size>1</Size></Contents>"
        for key in keys
    )
    more = (next_token is not None) if truncated is None else truncated
    token = f"<NextContinuationToken>{next_token}</NextContinuationToken>" if next_token else ""
    body = f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>{token}{items}</ListBucketResult>"
    return Answer(200, body.encode(), {"Content-Type": "application/xml"})


def endless(make: Callable[[int], Answer]) -> Callable[[Request], Answer]:
    """Answer the n-th request (from 0) with what is made of n, for ever."""
    numbers = itertools.count()
    return lambda _: make(next(numbers))
