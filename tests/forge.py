"""A server of Git repositories on this machine: git's own `http-backend`, APIs as GitHub and GitLab have, and LFS."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import threading
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN: Final = "t0ken-c4n4ry"
_ENVIRONMENT: Final = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.com",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.com",
    "GIT_AUTHOR_DATE": "2026-11-01T00:00:00Z",
    "GIT_COMMITTER_DATE": "2026-11-01T00:00:00Z",
}


def git(folder: Path, *arguments: str, stdin: bytes | None = None) -> str:
    """Run git; its output without the last line break."""
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], input=stdin, env=_ENVIRONMENT, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().rstrip("\n")


@dataclass
class Forge:
    """The server: repositories below `root`, LFS objects by id, and what was asked."""

    root: Path
    port: int = 0
    token: str | None = TOKEN
    repositories: list[dict[str, Any]] = field(default_factory=list)
    lfs: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    answers: list[Callable[[str], tuple[int, dict[str, str], bytes] | None]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def make(self, name: str, *, files: dict[str, bytes] | None = None, **facts: Any) -> Repository:
        """Make a repository, with one commit unless `files` is empty."""
        folder = self.root / f"{name}.git"
        folder.mkdir(parents=True)
        git(folder, "init", "--quiet", "--bare", "--initial-branch=main")
        git(folder, "config", "http.receivepack", "true")
        self.repositories.append({"full_name": name, "path_with_namespace": name, **facts})
        made = Repository(folder, f"{self.url}/{name}.git", f"{self.host}/{name}.git")
        if files is None or files:
            made.commit(files or {"README": name.encode()})
        return made

    def count(self, part: str) -> int:
        """How often a path with this part was asked for."""
        return sum(part in path for _, path, _ in self.asked)


@dataclass(frozen=True)
class Repository:
    """A bare repository of the server."""

    folder: Path
    url: str
    name: str

    def commit(
        self, files: dict[str, bytes], ref: str = "refs/heads/main", *, modes: dict[str, str] | None = None
    ) -> str:
        """Add a commit with these files alone to a ref, without a work tree; return its id."""
        lines = []
        for path, content in files.items():
            mode = (modes or {}).get(path, "100644")
            is_link = mode == "160000"  # of a submodule: its content is the id of a commit elsewhere
            blob = content.decode() if is_link else git(self.folder, "hash-object", "-w", "--stdin", stdin=content)
            lines.append(f"{mode} {'commit' if is_link else 'blob'} {blob}\t{path}")
        tree = git(self.folder, "mktree", "--missing", stdin="\n".join(lines).encode() + b"\n")
        parent = self.refs().get(ref)
        chain = ["-p", parent] if parent else []
        made = git(self.folder, "commit-tree", tree, *chain, "-m", "change")
        git(self.folder, "update-ref", ref, made)
        return made

    def refs(self) -> dict[str, str]:
        """Its refs."""
        lines = git(self.folder, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
        return dict(line.rsplit(" ", 1) for line in lines)


def pointer(content: bytes) -> bytes:
    """Return the pointer of an LFS object."""
    oid = hashlib.sha256(content).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}\n".encode()


@contextmanager
def forge(root: Path) -> Iterator[Forge]:
    """Run a server as long as the context."""
    made = Forge(root)

    class Handler(_Handler):
        of = made

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    of: Forge
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self) -> None:
        body = self._body()
        self.of.asked.append((self.command, self.path, self.headers.get("Authorization")))
        for special in self.of.answers:
            if (found := special(self.path)) is not None:
                self._send(*found)
                return
        path = urlsplit(self.path).path
        if not self._is_allowed():
            self._send(401, {"WWW-Authenticate": "Basic"}, b"")
        elif path.startswith("/api/"):
            self._api(path)
        elif "/info/lfs/" in path:
            self._lfs_batch(json.loads(body))
        elif path.startswith("/lfs-objects/"):
            self._lfs_object(path.rpartition("/")[2], body)
        else:
            self._git(path, body)

    def _is_allowed(self) -> bool:
        sent = self.headers.get("Authorization", "")
        if self.of.token is None or self.path.startswith("/lfs-objects/"):
            return True
        basic = sent.startswith("Basic ") and b64decode(sent[6:]).decode().endswith(f":{self.of.token}")
        return basic or sent == f"Bearer {self.of.token}"

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _api(self, path: str) -> None:
        query = parse_qs(urlsplit(self.path).query)
        number, size = int(query["page"][0]), int(query["per_page"][0])
        owner = unquote(path.split("/")[4])
        found = [one for one in self.of.repositories if one["full_name"].startswith(f"{owner}/")]
        if not found:
            self._send(404, {}, b"{}")
            return
        self._send(200, {}, json.dumps(found[(number - 1) * size : number * size]).encode())

    def _lfs_batch(self, asked: dict[str, Any]) -> None:
        [item] = asked["objects"]
        oid, href = item["oid"], f"{self.of.url}/lfs-objects/{item['oid']}"
        actions: dict[str, Any] = {}
        if asked["operation"] == "download":
            if oid not in self.of.lfs:
                self._send(200, {}, json.dumps({"objects": [{"oid": oid, "error": {"code": 404}}]}).encode())
                return
            actions = {"download": {"href": href, "header": {"X-Signed": "yes"}}}
        elif oid not in self.of.lfs:
            actions = {"upload": {"href": href}}
        self._send(200, {}, json.dumps({"objects": [{"oid": oid, "actions": actions}]}).encode())

    def _lfs_object(self, oid: str, body: bytes) -> None:
        if self.command == "PUT":
            self.of.lfs[oid] = body
            self._send(200, {}, b"")
        else:
            self._send(200, {}, self.of.lfs[oid])

    def _git(self, path: str, body: bytes) -> None:
        environment = {
            **_ENVIRONMENT,
            "GIT_PROJECT_ROOT": str(self.of.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": urlsplit(self.path).query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REMOTE_USER": "pusher",
        }
        done = subprocess.run(["git", "http-backend"], input=body, env=environment, capture_output=True, check=False)
        head, _, rest = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if line)
        self._send(int(headers.pop("Status", "200").split()[0]), headers, rest)
