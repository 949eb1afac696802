"""A store behind a proxy: the environment names it, and buckets are read through it as all else is."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import unquote

import pytest
from tests.contract.conftest import BUCKET
from tests.contract.faults import Answer, FaultyStore
from tests.contract.weed import OWNER, Weed

from coffre.stores.s3_botocore import BotocoreConnections
from coffre.stores.s3_connections import Connections
from coffre.stores.s3_errors import Call
from coffre.stores.s3_wire import Endpoint, S3Wire

BODY = b"0123456789" * 10_000


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="module", autouse=True)
def _stored(weed: Weed, weed_client: object) -> None:
    weed_client.put_object(Bucket=BUCKET, Key="proxied/a b+ü", Body=BODY)  # type: ignore[attr-defined]


class Tunnel:
    """A proxy that connects its clients with whom they ask for. A context manager."""

    def __enter__(self) -> Tunnel:
        self.asked: list[bytes] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(timeout=60)

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                with client:
                    self._connect(client)

    def _connect(self, client: socket.socket) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            if not (came := client.recv(1)):
                return
            head += came
        self.asked.append(head.partition(b"\r\n")[0])
        host, _, port = head.split()[1].decode().partition(":")
        with socket.create_connection((host, int(port))) as server:
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=_relay, args=(server, client))
            back.start()
            _relay(client, server)
            back.join()


def _relay(source: socket.socket, destination: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            destination.sendall(data)
    with suppress(OSError):
        destination.shutdown(socket.SHUT_WR)


@pytest.fixture
def tunnel() -> Iterator[Tunnel]:
    with Tunnel() as tunnel:
        yield tunnel


def read(url: str, key: str, ca_bundle: str | None = None) -> bytes:
    wire = S3Wire(Endpoint(url, "us-east-1", by_path=True), lambda: OWNER, threading.Event(), ca_bundle, attempts=1)
    with closing(wire):
        return wire.get(Call("s3:GetObject", BUCKET, key, url), "get", limit_bytes=len(BODY)).body


def test_an_https_store_is_read_through_the_tunnel_that_the_environment_names(
    tls_network: FaultyStore, certificate: tuple[Path, Path], tunnel: Tunnel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", tunnel.url)
    place = tls_network.endpoint_url.removeprefix("https://")

    assert read(tls_network.endpoint_url, "proxied/a b+ü", str(certificate[0])) == BODY

    assert tunnel.asked == [f"CONNECT {place} HTTP/1.1".encode()]


@pytest.mark.parametrize("key", ["a/../b", "./", "..", ".hidden/.x", "a/./b"])
def test_a_key_with_dots_is_forwarded_as_it_is(script: FaultyStore, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", script.endpoint_url)
    script.expect([Answer(200, b"1")])

    assert read("http://store.example", key) == b"1"

    assert unquote(script.requests[0].path) == f"http://store.example/{BUCKET}/{key}"


def test_a_real_store_takes_the_signature_of_a_key_with_dots(
    weed: Weed, network: FaultyStore, weed_client: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    weed_client.put_object(Bucket=BUCKET, Key="proxied/.hidden", Body=b"1")  # type: ignore[attr-defined]
    monkeypatch.setenv("HTTP_PROXY", network.endpoint_url)

    assert read(weed.endpoint_url, "proxied/.hidden") == b"1"


def test_an_http_store_is_read_through_the_proxy_that_the_environment_names(
    weed: Weed, network: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", network.endpoint_url)

    assert read(weed.endpoint_url, "proxied/a b+ü") == BODY

    assert [request.path for request in network.requests] == [f"{weed.endpoint_url}/{BUCKET}/proxied/a%20b%2B%C3%BC"]


@pytest.mark.parametrize(
    ("url", "variables", "kind"),
    [
        ("https://s3.example", {}, Connections),
        ("https://s3.example", {"HTTPS_PROXY": "http://proxy:3128"}, BotocoreConnections),
        ("https://s3.example", {"HTTP_PROXY": "http://proxy:3128"}, Connections),
        ("https://s3.example", {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "s3.example"}, Connections),
        ("https://s3.example", {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "other.example"}, BotocoreConnections),
        ("http://127.0.0.1:9000", {"HTTP_PROXY": "http://proxy:3128"}, BotocoreConnections),
        ("http://127.0.0.1:9000", {"HTTP_PROXY": "http://proxy:3128", "NO_PROXY": "127.0.0.1"}, Connections),
    ],
)
def test_where_no_proxy_leads_requests_are_sent_by_our_own_connections(
    url: str, variables: dict[str, str], kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    with closing(S3Wire(Endpoint(url, "auto", by_path=True), lambda: OWNER, threading.Event())) as wire:
        assert isinstance(wire._connections, kind)
