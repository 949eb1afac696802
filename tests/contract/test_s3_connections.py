"""HTTP as stores speak it, and as broken ones do: every answer whole, or an error."""

from __future__ import annotations

import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

import pytest
import urllib3
from hypothesis import given
from hypothesis import strategies as st
from urllib3.exceptions import ProtocolError

from coffre.stores import s3_exchange
from coffre.stores.s3_botocore import BotocoreConnections
from coffre.stores.s3_connections import Connections, Transport
from coffre.stores.s3_exchange import Answer, TooMuchError

LIMITS = (100, 10)
# Long enough for the slowest machine; a test that works never waits for it.
PATIENCE = 60


@dataclass
class Script:
    """A server that answers each request of a connection with the next text, and then hangs up."""

    answers: Sequence[Sequence[bytes]]
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    closed: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def __enter__(self) -> Script:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # ends a wait for a connection
        self._listening.close()
        self._thread.join(timeout=PATIENCE)

    def _serve(self) -> None:
        with suppress(OSError):
            for answers in self.answers:
                connection, _ = self._listening.accept()
                self.connections += 1
                with connection:
                    self._play(connection, answers)
                self.closed.release()

    def _play(self, connection: socket.socket, answers: Sequence[bytes]) -> None:
        for answer in answers:
            request = b""
            while not request.endswith(b"\r\n\r\n"):
                more = connection.recv(4096)
                if not more:
                    return
                request += more
            self.requests.append(request)
            connection.sendall(answer)


Play = Callable[..., tuple[Script, Transport]]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a store more than a second to say whether it takes an object: every one here does, or refuses."""
    wait = urllib3.util.wait_for_read
    monkeypatch.setattr(s3_exchange, "_AGREES_WITHIN_SECONDS", PATIENCE)
    monkeypatch.setattr(urllib3.util, "wait_for_read", lambda wire, _: wait(wire, PATIENCE))


@pytest.fixture(params=[Connections, BotocoreConnections])
def kind(request: pytest.FixtureRequest) -> type[Transport]:
    """Our own connections and botocore's in turn."""
    kind: type[Transport] = request.param
    return kind


@pytest.fixture
def play(kind: Callable[..., Transport]) -> Iterator[Play]:
    with ExitStack() as stack:

        def start(*answers: Sequence[bytes]) -> tuple[Script, Transport]:
            script = stack.enter_context(Script(answers))
            connections = kind(urlsplit(f"http://{script.host}"), None, PATIENCE, PATIENCE)
            stack.callback(connections.close)
            return script, connections

        yield start


def get(script: Script, connections: Transport, **headers: str) -> Answer:
    return connections.get(script.host, "/b/k?x=1", headers, LIMITS)


SHORT = b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: "e"\r\n\r\nhello'


def test_one_connection_serves_many_requests(play: Play) -> None:
    script, connections = play([SHORT, SHORT, SHORT])

    answers = [get(script, connections, range="bytes=0-4") for _ in range(3)]

    assert answers == [Answer(200, {"content-length": "5", "etag": '"e"'}, b"hello")] * 3
    assert script.connections == 1
    assert script.requests[0].startswith(b"GET /b/k?x=1 HTTP/1.1\r\n")
    assert f"\r\nhost: {script.host}\r\n".encode() in script.requests[0]
    assert b"\r\nrange: bytes=0-4\r\n" in script.requests[0]


def test_a_connection_that_was_kept_for_too_long_is_made_anew(play: Play) -> None:
    script, connections = play([SHORT], [SHORT])

    first = get(script, connections)
    assert script.closed.acquire(timeout=PATIENCE)  # botocore only sees what was closed before it sends
    assert get(script, connections) == first

    assert script.connections == 2


@pytest.mark.parametrize("kind", [Connections], indirect=True)
@pytest.mark.parametrize(
    "error", [BrokenPipeError(), ConnectionResetError(), ssl.SSLEOFError(), ssl.SSLZeroReturnError()], ids=repr
)
def test_a_connection_that_refuses_the_next_request_is_made_anew(play: Play, error: OSError) -> None:
    class Gone:
        def sendall(self, sent: bytes) -> None:
            raise error

        def close(self) -> None:
            """Nothing is open."""

    script, connections = play([SHORT], [SHORT])
    assert isinstance(connections, Connections)
    get(script, connections)
    (kept,) = connections._idle[script.host]
    connections._idle[script.host] = deque([replace(kept, wire=Gone())])  # type: ignore[arg-type]

    assert get(script, connections).body == b"hello"

    assert script.connections == 2
    kept.close()


@pytest.mark.parametrize(
    ("answer", "body", "stays"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", b"abcde", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n", b"", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n", b"a", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", b"a", True),
        (b"HTTP/1.1 200\r\ncontent-length:1\r\n\r\na", b"a", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na", b"a", False),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", b"until the end", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", b"a", False),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\n<no>", b"<no>", True),
        (b"HTTP/1.1 500 Error\r\nContent-Length: 40\r\n\r\n" + b"x" * 40, b"x" * 10, False),
    ],
)
def test_every_way_to_end_a_body(play: Play, answer: bytes, body: bytes, *, stays: bool) -> None:
    script, connections = play([answer, *([SHORT] if stays else [])], [SHORT])

    assert get(script, connections).body == body
    assert get(script, connections).body == b"hello"

    assert script.connections == (1 if stays else 2)


def test_headers_are_read_whatever_their_case_and_joined_when_they_repeat(play: Play) -> None:
    script, connections = play(
        [b"HTTP/1.1 200 OK\r\nX-Amz-Meta-A:  1 \r\nx-amz-meta-a: 2\r\nE: caf\xe9: x\r\nContent-Length: 0\r\n\r\n"]
    )

    headers = get(script, connections).headers

    assert headers == {"x-amz-meta-a": "1, 2", "e": "café: x", "content-length": "0"}


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 201 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfive\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n" + b"x" * 1000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_what_is_no_whole_answer_is_an_error(play: Play, answer: bytes) -> None:
    script, connections = play([answer])

    with pytest.raises(ProtocolError):
        get(script, connections)


@pytest.mark.parametrize("kind", [Connections], indirect=True)
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nno header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: 1\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
    ],
)
def test_our_own_connections_are_stricter_than_botocores(play: Play, answer: bytes) -> None:
    script, connections = play([answer])

    with pytest.raises(ProtocolError):
        get(script, connections)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n" + b"x" * 101,
        b"HTTP/1.1 206 OK\r\n\r\n" + b"x" * 101,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n" + b"x" * 200,
    ],
)
def test_more_than_was_asked_for_is_refused(play: Play, answer: bytes) -> None:
    script, connections = play([answer])

    with pytest.raises(TooMuchError):
        get(script, connections)


@pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "a\nb", "a\rb"])
def test_a_header_cannot_bring_others_along(play: Play, value: str) -> None:
    script, connections = play([SHORT])

    with pytest.raises(ProtocolError):
        connections.get(script.host, "/", {"if-match": value}, LIMITS)

    assert script.requests == []


def test_a_host_that_is_not_there_is_an_error(kind: Callable[..., Transport]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        host = f"127.0.0.1:{free.getsockname()[1]}"

    with pytest.raises(ProtocolError, match="Could not connect to"):
        kind(urlsplit(f"http://{host}"), None, PATIENCE, PATIENCE).get(host, "/", {}, LIMITS)


@given(st.lists(st.binary(min_size=1, max_size=30), max_size=5))
def test_chunks_are_put_together(pieces: list[bytes]) -> None:
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body
    with Script([[answer, SHORT]]) as script:
        connections = Connections(urlsplit(f"http://{script.host}"), None, PATIENCE, PATIENCE)
        whole = b"".join(pieces)

        if len(whole) > LIMITS[0]:
            with pytest.raises(TooMuchError):
                get(script, connections)
        else:
            assert get(script, connections).body == whole
            assert get(script, connections).body == b"hello"
        connections.close()


# --- objects that are sent -------------------------------------------------------------------------------------------

LARGE = b"0123456789abcdef" * 70_000  # more than what is sent without asking


def plain(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)


def put(script: Script, connections: Transport, body: bytes) -> Answer:
    return connections.put(script.host, "/b/k", {}, body, 100)


def test_an_object_that_is_refused_before_it_is_sent_is_not_sent(play: Play) -> None:
    script, connections = play([plain(b"<no>", b"412 Failed")], [plain(b"ok")])
    assert put(script, connections, LARGE) == Answer(412, {"content-length": "4"}, b"<no>")
    assert get(script, connections).body == b"ok"
    # The store still waits for the body on that connection: it is not used again.
    assert script.connections == 2
    assert b"100-continue" in script.requests[0]


def test_a_success_before_the_object_was_sent_is_none() -> None:
    with (
        Script([[plain(b"ok")]]) as script,
        closing(Connections(urlsplit(f"http://{script.host}"), None, PATIENCE, PATIENCE)) as ours,
        pytest.raises(ProtocolError, match="before it had the body"),
    ):
        put(script, ours, LARGE)


def test_a_store_that_does_not_answer_the_question_gets_the_object(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_exchange, "_AGREES_WITHIN_SECONDS", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as pool:

        def serve() -> int:
            connection, _ = listening.accept()
            with connection, connection.makefile("rb") as reader:
                while reader.readline() != b"\r\n":
                    pass
                taken = len(reader.read(len(LARGE)))
                connection.sendall(plain(b""))
            return taken

        served = pool.submit(serve)
        host = f"127.0.0.1:{listening.getsockname()[1]}"
        with closing(Connections(urlsplit(f"http://{host}"), None, PATIENCE, PATIENCE)) as ours:
            assert ours.put(host, "/", {}, LARGE, 100).status == 200
        assert served.result() == len(LARGE)


@pytest.mark.parametrize("answer", [plain(b"123"), plain(b"12345"), plain(b"1234", b"206 Partial"), plain(b"")])
def test_pieces_of_another_size_than_the_expected_one_are_refused(play: Play, answer: bytes) -> None:
    script, connections = play([answer, plain(b"1234")], [plain(b"1234")])
    with pytest.raises(ProtocolError):
        list(connections.pieces(script.host, "/", {}, 4))
    assert b"".join(connections.pieces(script.host, "/", {}, 4)) == b"1234"


def test_pieces_that_end_too_early_are_an_error(play: Play) -> None:
    script, connections = play([b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n12"])
    with pytest.raises(ProtocolError):
        list(connections.pieces(script.host, "/", {}, 4))
