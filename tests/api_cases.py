"""Sends generated requests to the API: `python -m tests.api_cases [--cases N] [--short]` (a number for each route).

Schemathesis makes them of docs/openapi.json, valid and invalid ones, and runs in an environment of its own. They are
the same ones each time; `--short` leaves out those that look at the limits of each field. The console runs in this
process, over a played AWS with a few backups, and everybody is an administrator. Exit status 1: an answer was a 5xx, or
one that the document does not have.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from moto import mock_aws
from tests.console_client import ADDRESS, Client, event_of
from tests.console_scene import ConsoleScene

from coffre_local.toolchain import Toolchain

ROOT: Final = Path(__file__).parents[1]
CHECKS: Final = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
SECONDS: Final = 60
PHASES: Final = {"whole": "examples,coverage,fuzzing", "short": "fuzzing"}


def serve(client: Client) -> HTTPServer:
    """Return a server of the API on a free port of 127.0.0.1; requests are answered one after another."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = self.rfile.read(length).decode(errors="replace") if length else None
            parts = urlsplit(self.path)
            event = event_of(self.command, ADDRESS, body, {name.lower(): value for name, value in self.headers.items()})
            path = unquote(parts.path)
            event |= {"rawPath": path, "rawQueryString": parts.query}
            event["queryStringParameters"] = dict(
                one.partition("=")[::2] for one in map(unquote, parts.query.split("&")) if one
            )
            event["requestContext"]["http"]["path"] = path
            found = client.app.handle(event)
            text = (found.get("body") or "").encode()
            self.send_response(found["statusCode"])
            for name, value in found["headers"].items():
                self.send_header(name, value if isinstance(value, str) else ", ".join(value))
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_DELETE = do_PUT = do_PATCH = do_TRACE = do_OPTIONS = answer  # noqa: N815 - so called
        do_HEAD = do_QUERY = answer  # noqa: N815

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the name that the library calls
            """Log nothing."""

    return HTTPServer(("127.0.0.1", 0), Handler)


def rotate(event: Mapping[str, Any]) -> dict[str, Any]:
    """Answer for the function `rotate`, which here plans and deletes whatever it is asked to."""
    wanted = event.get("delete", {})
    return {"backup_id": wanted.get("backup_id", ""), "deleted": not wanted.get("dry_run"), "tried": []}


def run(cases: int, arguments: list[str], phases: str = PHASES["whole"]) -> int:
    """Send this number of cases for each route, and return the exit status."""
    program = Toolchain(ROOT).schemathesis()
    names = {name for name in os.environ if name.startswith(("AWS_", "COFFRE_"))}
    for name in names:
        del os.environ[name]
    os.environ |= {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    os.environ |= {"AWS_DEFAULT_REGION": "eu-west-3", "POWERTOOLS_METRICS_DISABLED": "true"}
    with mock_aws(), tempfile.TemporaryDirectory() as folder:
        scene = ConsoleScene.make(Path(folder))
        scene.backup(1)
        scene.backup(2, target="billing", verified=False)
        scene.failed(3)
        client = Client(scene)
        client.functions.answers["coffre-rotate"] = rotate
        server = serve(client)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        place = f"http://127.0.0.1:{server.server_port}"
        command = [str(program), "run", str(ROOT / "docs" / "openapi.json"), "--url", place, "--checks", CHECKS]
        command += ["--phases", phases, "--max-examples", str(cases), "--seed", "1", "--no-color"]
        command += ["--generation-deterministic", "--request-timeout", str(SECONDS), *arguments]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        status = subprocess.run(command, cwd=folder, env=environment, check=False).returncode
        server.shutdown()
        server.server_close()
    return status


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100, help="for each route (default: 100)")
    parser.add_argument("--short", action="store_true", help="only the phase that makes requests up")
    known, rest = parser.parse_known_args()
    sys.exit(run(known.cases, rest, PHASES["short" if known.short else "whole"]))
