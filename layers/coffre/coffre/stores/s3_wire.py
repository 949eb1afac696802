"""Whole objects from and to S3 with little work for each request: signed and sent here, retried, and never trusted.

botocore takes 1.2 ms of the interpreter's time a request, this 0.3 ms; a backup of small objects is bound by it.
Errors are raised as botocore would raise them, so that they are translated in one place (`s3_errors`).
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Final
from urllib.parse import SplitResult, urlsplit
from xml.etree import ElementTree

from botocore.exceptions import ClientError
from urllib3.exceptions import HTTPError, SSLError

from coffre.concurrency.renewal import Renewal
from coffre.model.errors import RunStoppedError, StoreError
from coffre.stores.answer_xml import parse_xml
from coffre.stores.body import Body, Flow
from coffre.stores.s3_botocore import transport_for
from coffre.stores.s3_client import S3Credentials
from coffre.stores.s3_connections import Transport
from coffre.stores.s3_errors import KEY_REFUSED, Call, translated
from coffre.stores.s3_exchange import Answer, TooMuchError
from coffre.stores.s3_signing import CONTENT_SHA256, encoded_path, encoded_query, signed_headers

_ATTEMPTS: Final = 7
_FIRST_PAUSE_SECONDS: Final = 0.1  # doubled after each failure, and cut to a random part of it
_LONGEST_PAUSE_SECONDS: Final = 20.0
_SLOW_DOWN: Final = frozenset(
    {"SlowDown", "Throttling", "ThrottlingException", "TooManyRequests", "RequestLimitExceeded"}
)
_MAY_PASS: Final = frozenset({"RequestTimeout", "InternalError", "ServiceUnavailable", "OperationAborted"})
_ERROR_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a store is, and how requests to it are signed."""

    url: str
    region: str
    by_path: bool


@dataclass(frozen=True, slots=True)
class _Request:
    """What is sent: `query`, and headers besides the signature's; of a PUT its body, whose headers are signed."""

    operation: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    limit_bytes: int = _ERROR_BYTES
    body: Body | Flow | None = None


@dataclass
class S3Wire:
    """Sends GET and PUT requests to one store. Safe to use from several threads.

    Parameters
    ----------
    credentials
        Asked before each request: a role's change every few hours.
    stopping
        Set: every request ends soon, by `RunStoppedError`.
    ca_bundle
        File with the certificates that are trusted.
    renewal
        Where `credentials` come from, if they can be read again when the store refuses them.
    transport
        Makes what sends the requests, from scheme and port, `ca_bundle` and both times.

    Attributes
    ----------
    requests
        How many requests were sent, by operation; those that were sent again count again.
    received_bytes
        How many bytes the bodies of all answers had.
    """

    endpoint: Endpoint
    credentials: Callable[[], S3Credentials]
    stopping: threading.Event
    ca_bundle: str | None = None
    renewal: Renewal[S3Credentials] | None = None
    attempts: int = _ATTEMPTS
    first_pause_seconds: float = _FIRST_PAUSE_SECONDS
    connect_seconds: float = 10.0
    read_seconds: float = 60.0
    transport: Callable[[SplitResult, str | None, float, float], Transport] = transport_for
    requests: Counter[str] = field(default_factory=Counter)
    received_bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _not_before: float = 0.0

    def __post_init__(self) -> None:
        self._base = urlsplit(self.endpoint.url)
        self._connections = self.transport(self._base, self.ca_bundle, self.connect_seconds, self.read_seconds)

    def get(
        self,
        call: Call,
        operation: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        limit_bytes: int,
    ) -> Answer:
        """Return the answer to one request: whole, and no longer than `limit_bytes`.

        Raises
        ------
        CoffreError
            What `translated` makes of a refusal, or of a store that does not answer after several attempts.
        RunStoppedError
        """
        return self._answer(call, _Request(operation, query or {}, headers or {}, limit_bytes))

    def pieces(self, call: Call, operation: str, *, size: int) -> Iterator[memoryview]:
        """Yield the bytes of an object of this size, once: what breaks is not tried again.

        A piece lasts until the next one. Raises what urllib3 raises; a refusal is a `ProtocolError`.
        """
        self._wait_for_leave()
        host, path, signed = self._signer(self.credentials(), call, operation)
        headers = {**signed(method="GET", query=""), "accept-encoding": "identity"}
        for piece in self._connections.pieces(host, path, headers, size):
            with self._lock:
                self.received_bytes += len(piece)
            yield piece

    def put_object(
        self, call: Call, operation: str, *, body: Body | Flow, sha256: str, headers: Mapping[str, str]
    ) -> Answer:
        """Store an object whole; it raises what `get` raises.

        Parameters
        ----------
        sha256
            Of `body`: a store that speaks S3 refuses other bytes, as it is part of the signature.
        headers
            By lower-case name. They are signed.
        """
        return self._answer(call, _Request(operation, {}, {**headers, CONTENT_SHA256: sha256}, body=body))

    def close(self) -> None:
        """Close every connection."""
        self._connections.close()

    def _answer(self, call: Call, request: _Request) -> Answer:
        with translated(call):
            for attempt in range(1, self.attempts + 1):
                self._wait_for_leave()
                signer = self.credentials()
                try:
                    answer = self._send(signer, call, request)
                except TooMuchError:
                    raise too_much(call) from None
                except HTTPError as error:
                    if attempt == self.attempts or isinstance(error, SSLError):
                        raise
                    self._pause(attempt)
                    continue
                if answer.status < 300:
                    return answer
                refused = _refusal(answer, request.operation, attempt)
                if attempt < self.attempts and self._has_newer_key(refused, signer):
                    continue
                if attempt == self.attempts or not self._may_pass(answer.status, refused):
                    raise refused
                self._pause(attempt, for_all=_is_throttling(answer.status, refused))
        raise AssertionError

    def _send(self, signer: S3Credentials, call: Call, request: _Request) -> Answer:
        host, path, signed = self._signer(signer, call, request.operation)
        if request.body is not None:
            headers = signed(method="PUT", query="", headers=request.headers)
            return self._connections.put(host, path, headers, request.body, request.limit_bytes)
        asked = encoded_query(request.query)
        headers = {**signed(method="GET", query=asked), **request.headers, "accept-encoding": "identity"}
        target = f"{path}?{asked}" if asked else path
        answer = self._connections.get(host, target, headers, (request.limit_bytes, _ERROR_BYTES))
        with self._lock:
            self.received_bytes += len(answer.body)
        return answer

    def _signer(
        self, signer: S3Credentials, call: Call, operation: str
    ) -> tuple[str, str, Callable[..., dict[str, str]]]:
        """Count a request; return its host, its path, and what signs it."""
        base, bucket = self._base, call.bucket
        host = base.netloc if self.endpoint.by_path else f"{bucket}.{base.netloc}"
        key = () if call.is_listing or not call.key else (call.key,)
        names = (bucket, *key) if self.endpoint.by_path else key
        path = f"{base.path.rstrip('/')}/{encoded_path(*names)}"
        with self._lock:
            self.requests[operation] += 1
        now = datetime.now(UTC)
        return host, path, partial(signed_headers, signer, self.endpoint.region, now, host=host, path=path)

    def _has_newer_key(self, refused: ClientError, signer: S3Credentials) -> bool:
        is_about_key = refused.response["Error"]["Code"] in KEY_REFUSED
        return is_about_key and self.renewal is not None and self.renewal.is_worth_another(signer)

    def _may_pass(self, status: int, refused: ClientError) -> bool:
        code = refused.response["Error"]["Code"]
        return code in _MAY_PASS or status in {500, 502, 503, 504} or _is_throttling(status, refused)

    def _wait_for_leave(self) -> None:
        """Wait while the store wants all requests to slow down."""
        if self.stopping.is_set() or self.stopping.wait(max(0.0, self._not_before - time.monotonic())):
            raise RunStoppedError("The run is being stopped.")

    def _pause(self, attempt: int, *, for_all: bool = False) -> None:
        longest = min(_LONGEST_PAUSE_SECONDS, self.first_pause_seconds * 2**attempt)
        seconds = random.uniform(longest / 2, longest)  # noqa: S311 - not a secret
        if for_all:
            self._not_before = max(self._not_before, time.monotonic() + seconds)
        elif self.stopping.wait(seconds):
            raise RunStoppedError("The run is being stopped.")


def too_much(call: Call) -> StoreError:
    """Return the error of an answer that is longer than it may be."""
    return StoreError(
        f"The store at {call.host} sent more than it was asked for of {call.place}.",
        code="RANGE_UNSUPPORTED",
        hint="Use a store that serves byte ranges, or look for a proxy in between that does not.",
    )


def _refusal(answer: Answer, operation: str, attempts: int) -> ClientError:
    """Return an answer that is no success as botocore's exception."""
    said = {"Code": str(answer.status), "Message": ""}
    try:
        for element in parse_xml(answer.body) if answer.body else ():
            said[element.tag.rpartition("}")[2]] = element.text or ""
    except ElementTree.ParseError:
        said["Message"] = answer.body[:200].decode("utf-8", "replace")
    metadata = {
        "HTTPStatusCode": answer.status,
        "HTTPHeaders": dict(answer.headers),
        "RequestId": answer.headers.get("x-amz-request-id", ""),
        "RetryAttempts": attempts - 1,
    }
    return ClientError({"Error": said, "ResponseMetadata": metadata}, operation)  # type: ignore[typeddict-item]


def _is_throttling(status: int, refused: ClientError) -> bool:
    return status == 429 or refused.response["Error"]["Code"] in _SLOW_DOWN
