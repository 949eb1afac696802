"""An STS on this machine that checks signatures by AWS's rules (Signature Version 4), in its own words."""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

BODY = b"Action=GetCallerIdentity&Version=2011-06-15"
ANSWER = (
    '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
    "<Arn>{arn}</Arn><UserId>AIDA</UserId><Account>123456789012</Account></GetCallerIdentityResult>"
    "<ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
)


@dataclass
class Sts:
    """The server: whose keys are valid, and what it answers instead of the truth.

    `keys` are secrets by key id, `arns` the ARNs of their owners, `asked` the number of requests.
    """

    url: str
    keys: dict[str, str] = field(default_factory=dict)
    arns: dict[str, str] = field(default_factory=dict)
    asked: int = 0
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    seconds: float = 0

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        self.asked += 1
        time.sleep(self.seconds)
        if self.status is not None or self.body is not None:
            return self.status or 200, self.body or b""
        found = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8}/[a-z0-9-]+/sts/aws4_request), SignedHeaders=([a-z0-9;-]+), "
            r"Signature=([0-9a-f]{64})",
            headers.get("authorization", ""),
        )
        if (method, path, body) != ("POST", "/", BODY) or found is None or found[1] not in self.keys:
            return 403, b"<ErrorResponse><Error><Code>InvalidClientTokenId</Code></Error></ErrorResponse>"
        key_id, scope, names, signature = found.groups()
        if signature != _signature(self.keys[key_id], scope, names, headers, body):
            return 403, b"<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code></Error></ErrorResponse>"
        return 200, ANSWER.format(arn=self.arns[key_id]).encode()


def _signature(secret: str, scope: str, names: str, headers: Mapping[str, str], body: bytes) -> str:
    lines = "".join(f"{name}:{' '.join(headers.get(name, '').split())}\n" for name in names.split(";"))
    request = f"POST\n/\n\n{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
    to_sign = f"AWS4-HMAC-SHA256\n{headers['x-amz-date']}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.new(key, to_sign.encode(), "sha256").hexdigest()


@contextmanager
def sts_server() -> Iterator[Sts]:
    """Give a server that runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            lower = {name.lower(): value for name, value in self.headers.items()}
            status, answer = sts.answer(self.command, self.path, lower, body)
            try:
                self.send_response(status)
                for name, value in {**sts.headers, "Content-Length": str(len(answer))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer)
            except OSError:
                self.close_connection = True  # the client did not wait

        do_GET = do_POST  # noqa: N815

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sts = Sts(f"http://127.0.0.1:{server.server_port}")
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield sts
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
