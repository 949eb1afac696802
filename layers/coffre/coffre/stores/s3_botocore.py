"""Connections to a store by botocore's HTTP client: slower than our own, but it goes through a proxy.

`HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` count as they do for every other request to a store.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final
from urllib.parse import SplitResult

from botocore.awsrequest import AWSPreparedRequest, HeadersDict
from botocore.exceptions import BotoCoreError
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import ProtocolError, SSLError

from coffre.stores.body import Body, Flow, size_of
from coffre.stores.s3_connections import Connections, Transport, refuse_other_sizes
from coffre.stores.s3_exchange import BLOCK_BYTES, Answer, Head, TooMuchError, framing_of
from coffre.stores.s3_put import BodyFile

_UNTRUSTED: Final = "CERTIFICATE_VERIFY_FAILED"
_MOST_CONNECTIONS: Final = 64  # as many as a target may have streams


def transport_for(base: SplitResult, ca_bundle: str | None, connect_seconds: float, read_seconds: float) -> Transport:
    """Return what sends requests to a store: botocore's client where a proxy leads there, our own elsewhere."""
    kind = BotocoreConnections if base.scheme in get_environ_proxies(base.geturl()) else Connections
    return kind(base, ca_bundle, connect_seconds, read_seconds)


class BotocoreConnections:
    """What `Connections` promises, with the same parameters. Safe to use from several threads."""

    def __init__(self, base: SplitResult, ca_bundle: str | None, connect_seconds: float, read_seconds: float) -> None:
        self._scheme = base.scheme
        self._session = URLLib3Session(
            verify=ca_bundle or True,  # type: ignore[arg-type]  # a path too, as botocore's own clients give it
            proxies=get_environ_proxies(base.geturl()),
            timeout=(connect_seconds, read_seconds),  # type: ignore[arg-type]  # the same
            max_pool_connections=_MOST_CONNECTIONS,
        )

    def get(self, host: str, target: str, headers: Mapping[str, str], limits: tuple[int, int]) -> Answer:
        """Send a request and return its answer; see `Connections.get`."""
        with self._sent("GET", host, target, headers, None) as raw:
            return _answer(raw, limits)

    def pieces(self, host: str, target: str, headers: Mapping[str, str], size: int) -> Iterator[memoryview]:
        """Send a request and yield the body of its answer; see `Connections.pieces`."""
        with self._sent("GET", host, target, headers, None) as raw:
            refuse_other_sizes(_head(raw), size)
            left = size
            while left:
                piece = raw.read(min(BLOCK_BYTES, left), decode_content=False)
                if not piece:
                    raise ProtocolError(f"{size - left} bytes came; {size} were promised")
                left -= len(piece)
                yield memoryview(piece)

    def put(self, host: str, target: str, headers: Mapping[str, str], body: Body | Flow, limit: int) -> Answer:
        """Send an object and return the answer; see `Connections.put`."""
        size = body.size if isinstance(body, Flow) else size_of(body)
        sent = body.read() if isinstance(body, Flow) else BodyFile(body)
        with self._sent("PUT", host, target, {**headers, **framing_of(size)}, sent) as raw:
            return _answer(raw, (limit, limit))

    def close(self) -> None:
        """Close every connection that is not in use."""
        self._session.close()

    @contextmanager
    def _sent(
        self, method: str, host: str, target: str, headers: Mapping[str, str], body: object
    ) -> Iterator[BaseHTTPResponse]:
        """Send a request, and give out its answer."""
        # urllib3 removes the segments `.` and `..` from an address that an HTTP proxy forwards; encoded, they stay.
        url = f"{self._scheme}://{host}{target.replace('/.', '/%2E')}"
        # botocore waits for leave to send the body where this header's value is bytes.
        asks = {"expect": headers["expect"].encode()} if "expect" in headers else {}
        sent = HeadersDict({"host": host, **headers, **asks})
        request = AWSPreparedRequest(method, url, sent, body, stream_output=True)  # type: ignore[arg-type]  # as botocore
        try:
            raw: BaseHTTPResponse = self._session.send(request).raw
        except BotoCoreError as error:
            kind = SSLError if _UNTRUSTED in str(error) else ProtocolError
            raise kind(f"{type(error).__name__}: {error}") from error
        try:
            yield raw
        finally:
            raw.close()  # hangs up, unless the whole answer was read: then the connection is back in the pool


def _head(raw: BaseHTTPResponse) -> Head:
    headers = {name.lower(): ", ".join(map(str.strip, raw.headers.getlist(name))) for name in raw.headers}
    return Head(raw.status, headers, b"HTTP/1.1")


def _answer(raw: BaseHTTPResponse, limits: tuple[int, int]) -> Answer:
    """Read the body, of which botocore leaves the length unchecked."""
    head = _head(raw)
    is_success = head.status < 300
    limit = limits[0] if is_success else limits[1]
    promised = None if head.is_chunked else head.length
    body = raw.read(limit + 1, decode_content=False)
    if len(body) > limit and is_success:
        raise TooMuchError
    if promised is not None and len(body) < min(promised, limit + 1):
        raise ProtocolError(f"{len(body)} bytes came; {promised} were promised")
    return Answer(head.status, head.headers, body[:limit])
