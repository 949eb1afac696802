"""Emulators of Azure Blob Storage (Azurite) and of Google Cloud Storage (fake-gcs-server), each a context manager."""

import base64
import hashlib
import hmac
import http.client
import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import urllib3

from coffre_local.ports import free_port

ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = base64.b64encode(b"not the well-known key: one of the tests, sixty-four bytes long.").decode()
# A service account's key as emulators take it; the private key is never used.
GOOGLE_KEY = json.dumps(
    {
        "type": "service_account",
        "client_email": "tests@example.com",
        "private_key": "none",
        "private_key_id": "none",
        "disable_oauth": True,
    }
)
START_SECONDS = 60.0
_VERSION = "2023-11-03"


@contextmanager
def azurite(node: Path, script: Path) -> Iterator[str]:
    """Yield the endpoint of an Azurite whose account is `ACCOUNT`."""
    port = free_port()
    arguments = ["--inMemoryPersistence", "--blobHost", "127.0.0.1", "--blobPort", str(port), "--silent"]
    environment = {"AZURITE_ACCOUNTS": f"{ACCOUNT}:{ACCOUNT_KEY}"}
    with _process([str(node), str(script), *arguments, "--disableTelemetry"], environment, port, 400):
        yield f"http://127.0.0.1:{port}/{ACCOUNT}"


def make_container(endpoint: str, name: str) -> None:
    """Make a container, or raise."""
    date = format_datetime(datetime.now(UTC), usegmt=True)
    headers = {"x-ms-date": date, "x-ms-version": _VERSION, "Content-Length": "0"}
    resource = f"/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
    signed = "PUT" + "\n" * 12 + f"x-ms-date:{date}\nx-ms-version:{_VERSION}\n{resource}"
    headers["Authorization"] = f"SharedKey {ACCOUNT}:{_signature(signed)}"
    answer = urllib3.request("PUT", f"{endpoint}/{name}?restype=container", headers=headers)
    assert answer.status == 201, answer.data


def sas_token(container: str, permissions: str) -> str:
    """Return a SAS token for a container: `permissions` of `racwdl`, in this order."""
    start, end = "2026-01-01T00:00:00Z", "2099-01-01T00:00:00Z"
    resource = f"/blob/{ACCOUNT}/{container}"
    fields = [permissions, start, end, resource, "", "", "", _VERSION, "c", "", "", "", "", "", "", ""]
    signature = quote(_signature("\n".join(fields)), safe="")
    return f"sv={_VERSION}&sr=c&sp={permissions}&st={quote(start)}&se={quote(end)}&sig={signature}"


def _signature(text: str) -> str:
    return base64.b64encode(hmac.digest(base64.b64decode(ACCOUNT_KEY), text.encode(), hashlib.sha256)).decode()


@contextmanager
def google(program: Path) -> Iterator[str]:
    """Yield the endpoint of a fake-gcs-server, with an XML front for uploads (see `_Front`)."""
    port = free_port()
    arguments = ["-backend", "memory", "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
    names = ["-public-host", f"127.0.0.1:{port}", "-external-url", f"http://127.0.0.1:{port}", "-log-level", "error"]
    with _process([str(program), *arguments, *names], {}, port, 404):
        server = _FrontServer(("127.0.0.1", 0), _Front)
        server.upstream = f"127.0.0.1:{port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


def make_google_bucket(endpoint: str, name: str) -> None:
    """Make a bucket, or raise."""
    answer = urllib3.request("POST", f"{endpoint}/storage/v1/b?project=p", json={"name": name})
    assert answer.status == 200, answer.data


@contextmanager
def _process(command: list[str], environment: dict[str, str], port: int, status: int) -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="coffre-emulator-") as directory, Path(directory, "log").open("w+b") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=directory, env={"PATH": os.defpath, "HOME": directory, **environment}
        )
        try:
            _wait(lambda: _status(port) == status, process, log)
            yield
        finally:
            process.kill()
            process.wait()


def _wait(is_up: Callable[[], bool], process: "subprocess.Popen[bytes]", log: Any) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not is_up():
        if process.poll() is not None or time.monotonic() > deadline:
            log.seek(0)
            raise RuntimeError(log.read()[-4000:].decode(errors="replace"))
        time.sleep(0.05)


def _status(port: int) -> int | None:
    with closing(urllib3.HTTPConnectionPool("127.0.0.1", port, timeout=2.0, retries=False)) as pool:
        try:
            return pool.request("GET", "/").status
        except urllib3.exceptions.HTTPError:
            return None


class _FrontServer(ThreadingHTTPServer):
    daemon_threads = False
    upstream = ""

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that hang up are the point of some tests."""


class _Front(BaseHTTPRequestHandler):
    """Passes requests on, and turns uploads of the XML API into those of the JSON API.

    fake-gcs-server reads, lists and deletes by Google's XML API, which obstore speaks, and takes uploads by the JSON
    API alone. Conditions, hashes, generations and metadata stay the server's.
    """

    protocol_version = "HTTP/1.1"
    server: _FrontServer

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""

    def _serve(self) -> None:
        self.close_connection = True
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with closing(http.client.HTTPConnection(self.server.upstream, timeout=60)) as connection:
            if self.command == "PUT":
                self._upload(connection, body)
                return
            headers = {
                name: value for name, value in self.headers.items() if name.lower() not in {"host", "connection"}
            }
            connection.request(self.command, self.path, body or None, headers)
            answer = connection.getresponse()
            self._answer(answer.status, answer.read(), dict(answer.headers.items()))

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _serve  # noqa: N815

    def _upload(self, connection: http.client.HTTPConnection, body: bytes) -> None:
        bucket, _, name = unquote(urlsplit(self.path).path).lstrip("/").partition("/")
        kept = {key.lower().removeprefix("x-goog-meta-"): value for key, value in self.headers.items()}
        metadata = {key: kept[key] for key in kept if f"x-goog-meta-{key}" in map(str.lower, self.headers)}
        described = json.dumps({"name": name, "contentType": "application/octet-stream", "metadata": metadata}).encode()
        condition = self.headers.get("x-goog-if-generation-match")
        query = f"uploadType=multipart&name={quote(name, safe='')}"
        query += f"&ifGenerationMatch={condition}" if condition else ""
        border = b"--coffre-tests-border"
        parts = [
            border + b"\r\nContent-Type: application/json\r\n\r\n" + described,
            border + b"\r\nContent-Type: application/octet-stream\r\n\r\n" + body,
            border + b"--\r\n",
        ]
        headers = {"Content-Type": f"multipart/related; boundary={border[2:].decode()}"}
        connection.request("POST", f"/upload/storage/v1/b/{bucket}/o?{query}", b"\r\n".join(parts), headers)
        answer = connection.getresponse()
        said = answer.read()
        if answer.status != 200:
            self._answer(answer.status, said, {})
            return
        stored = json.loads(said)
        etag = base64.b64decode(stored["md5Hash"]).hex()
        self._answer(200, b"", {"ETag": f'"{etag}"', "x-goog-generation": str(stored["generation"])})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            is_ours = name.lower() in {"connection", "transfer-encoding"}
            if not is_ours and (self.command == "HEAD" or name.lower() != "content-length"):
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
