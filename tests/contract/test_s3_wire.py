"""Reading over connections that break, from stores that are busy, refuse, or say something else than was asked for."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from tests.contract.conftest import BUCKET
from tests.contract.faults import Answer, Cut, Fault, FaultyStore, Silence, endless
from tests.contract.weed import OWNER, READER, WRITER, Weed

from coffre.model.errors import CoffreError, ObjectMissingError, RunStoppedError, StoreError, StoreTransientError
from coffre.stores.s3_botocore import BotocoreConnections
from coffre.stores.s3_client import S3Credentials
from coffre.stores.s3_connections import Connections
from coffre.stores.s3_errors import Call
from coffre.stores.s3_wire import Endpoint, S3Wire

Open = Callable[..., S3Wire]
BODY = b"0123456789" * 50_000


@pytest.fixture(params=[Connections, BotocoreConnections])
def open_wire(request: pytest.FixtureRequest) -> Iterator[Open]:
    """Our own connections and botocore's in turn."""
    with ExitStack() as stack:

        def make(url: str, credentials: S3Credentials = OWNER, **how: Any) -> S3Wire:
            defaults = {"attempts": 4, "first_pause_seconds": 0.001, "connect_seconds": 60, "read_seconds": 60}
            defaults |= {"transport": request.param}
            endpoint = Endpoint(url, "us-east-1", by_path=True)
            wire = S3Wire(endpoint, lambda: credentials, threading.Event(), **(defaults | how))
            stack.callback(wire.close)
            return wire

        yield make


@pytest.fixture(scope="module")
def stored(weed: Weed, weed_client: object) -> str:
    weed_client.put_object(Bucket=BUCKET, Key="wire/a b+ü", Body=BODY, Metadata={"who": "ada"})  # type: ignore[attr-defined]
    return "wire/a b+ü"


def get(wire: S3Wire, key: str, *, bucket: str = BUCKET, limit: int = len(BODY), **headers: str) -> bytes:
    call = Call("s3:GetObject", bucket, key, wire.endpoint.url)
    return wire.get(call, "get", headers=headers, limit_bytes=limit).body


@contextmanager
def failing(kind: type[CoffreError], code: str) -> Iterator[None]:
    with pytest.raises(kind) as failed:
        yield
    assert failed.value.code == code


def test_what_a_real_store_has_is_read(weed: Weed, stored: str, open_wire: Open) -> None:
    wire = open_wire(weed.endpoint_url)
    call = Call("s3:GetObject", BUCKET, stored, weed.endpoint_url)

    whole = wire.get(call, "get", limit_bytes=len(BODY))
    part = wire.get(call, "get", headers={"range": "bytes=10-29"}, limit_bytes=20)

    assert (whole.status, whole.body, whole.headers["x-amz-meta-who"]) == (200, BODY, "ada")
    assert (part.status, part.body, part.headers["content-range"]) == (206, BODY[10:30], f"bytes 10-29/{len(BODY)}")
    assert wire.requests == {"get": 2}


@pytest.mark.parametrize(
    "fault",
    [Cut(1000), Cut(0, reset=True), Answer.error(503, "SlowDown"), Answer.error(500, "InternalError"), Answer(502)],
)
def test_what_passes_is_tried_again(
    weed: Weed, network: FaultyStore, stored: str, open_wire: Open, fault: Fault
) -> None:
    network.expect([fault, fault])
    wire = open_wire(network.endpoint_url)

    assert get(wire, stored) == BODY
    assert wire.requests["get"] == 3


def test_a_store_that_keeps_silent_is_given_up(script: FaultyStore, open_wire: Open) -> None:
    script.expect([Silence(), Silence()])

    with failing(StoreTransientError, "STORE_UNREACHABLE"):
        get(open_wire(script.endpoint_url, attempts=2, read_seconds=0.1), "a")


def test_a_store_that_is_not_there_is_named(open_wire: Open) -> None:
    with failing(StoreTransientError, "STORE_UNREACHABLE"):
        get(open_wire("http://127.0.0.1:1", attempts=2), "a")


@pytest.mark.parametrize(("code", "said"), [("SlowDown", "STORE_THROTTLED"), ("InternalError", "STORE_UNAVAILABLE")])
def test_what_does_not_pass_is_an_error_that_may_pass(
    script: FaultyStore, open_wire: Open, code: str, said: str
) -> None:
    script.script = endless(lambda _: Answer.error(503, code))

    with failing(StoreTransientError, said):
        get(open_wire(script.endpoint_url), "a")
    assert len(script.requests) == 4


def test_who_is_told_to_slow_down_tells_the_others(script: FaultyStore, open_wire: Open) -> None:
    script.expect([Answer.error(503, "SlowDown"), Answer(200, b"1")])
    wire = open_wire(script.endpoint_url)
    wire.first_pause_seconds = 3600

    def ask(key: str) -> None:
        with failing(RunStoppedError, "STOPPED"):
            get(wire, key)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask, "a")
        while not wire._not_before > time.monotonic():
            assert not first.done()
        second = pool.submit(ask, "b")
        wire.stopping.set()
    first.result()
    second.result()

    assert len(script.requests) == 1


@pytest.mark.parametrize(
    ("answer", "kind", "code", "said"),
    [
        (Answer.error(404, "NoSuchKey"), ObjectMissingError, "OBJECT_MISSING", "s3://"),
        (Answer.error(404, "NoSuchBucket"), StoreError, "BUCKET_MISSING", BUCKET),
        (Answer.error(403, "AccessDenied"), StoreError, "STORE_DENIED", "s3:GetObject"),
        (Answer.error(403, "RequestTimeTooSkewed"), StoreError, "CLOCK_SKEWED", "NTP"),
        (Answer.error(403, "InvalidObjectState"), StoreError, "OBJECT_ARCHIVED", "archive"),
        (Answer.error(400, "KMS.DisabledException"), StoreError, "KMS_UNUSABLE", "enable-key"),
        (
            Answer.error(301, "PermanentRedirect", **{"x-amz-bucket-region": "us-west-2"}),
            StoreError,
            "BUCKET_REGION",
            "us-west-2",
        ),
        (
            Answer.error(400, "AuthorizationHeaderMalformed", extra="<Region>eu-north-1</Region>"),
            StoreError,
            "BUCKET_REGION",
            "eu-north-1",
        ),
        (Answer(403), StoreError, "STORE_DENIED", "s3:GetObject"),
        (Answer(418, b"<not xml"), StoreError, "STORE_FAILED", "not xml"),
        (Answer(200, b"1" * 11), StoreError, "RANGE_UNSUPPORTED", "more than"),
    ],
)
def test_a_refusal_is_an_error_at_once(
    script: FaultyStore, open_wire: Open, answer: Answer, kind: type[CoffreError], code: str, said: str
) -> None:
    script.script = endless(lambda _: answer)

    with pytest.raises(kind) as refused:
        get(open_wire(script.endpoint_url), "a", limit=10)

    assert refused.value.code == code
    assert said in str(refused.value)
    assert len(script.requests) == 1


@pytest.mark.parametrize(
    ("credentials", "code"),
    [
        (WRITER, "STORE_DENIED"),
        (S3Credentials("owner-key", "wrong"), "STORE_CREDENTIALS"),
        (S3Credentials("nobody", "x"), "STORE_CREDENTIALS"),
    ],
)
def test_a_real_store_refuses_who_may_not(
    weed: Weed, stored: str, open_wire: Open, credentials: S3Credentials, code: str
) -> None:
    with failing(StoreError, code):
        get(open_wire(weed.endpoint_url, credentials), stored)
    assert get(open_wire(weed.endpoint_url, READER), stored) == BODY


def test_a_run_that_is_stopped_asks_for_nothing_more(script: FaultyStore, open_wire: Open) -> None:
    wire = open_wire(script.endpoint_url)
    wire.stopping.set()

    with failing(RunStoppedError, "STOPPED"):
        get(wire, "a")
    assert script.requests == []


def test_certificates_are_checked(
    tls_network: FaultyStore, stored: str, open_wire: Open, certificate: tuple[object, object]
) -> None:
    wire = open_wire(tls_network.endpoint_url)
    with failing(StoreError, "STORE_TLS"):
        get(wire, stored)
    assert len(tls_network.requests) == 0

    trusting = open_wire(tls_network.endpoint_url, ca_bundle=str(certificate[0]))
    assert get(trusting, stored) == BODY


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("a/../b", "a/../b"),
        ("/leading", "/leading"),
        ("a//b/", "a//b/"),
        ("./", "./"),
        ("?a=1#b", "%3Fa%3D1%23b"),
        ("%2e%2e", "%252e%252e"),
        ("line\nbreak\x01", "line%0Abreak%01"),
        ("+ é", "%2B%20%C3%A9"),
    ],
)
def test_a_key_is_sent_as_it_is(script: FaultyStore, open_wire: Open, key: str, path: str) -> None:
    script.expect([Answer(200, b"1")])

    assert get(open_wire(script.endpoint_url), key) == b"1"
    assert script.requests[0].path.replace("%2E", ".") == f"/{BUCKET}/{path}"  # the same to a store


def test_a_bucket_can_stand_in_the_hosts_name(
    script: FaultyStore, open_wire: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest: look_up("127.0.0.1", *rest))
    wire = open_wire(script.endpoint_url.replace("127.0.0.1", "localhost"))
    wire.endpoint = Endpoint(wire.endpoint.url, "us-east-1", by_path=False)
    script.expect([Answer(200, b"1")])

    assert get(wire, "a/b c", bucket="photos") == b"1"
    (request,) = script.requests
    assert request.headers["host"].startswith("photos.localhost:")
    assert request.path == "/a/b%20c"
