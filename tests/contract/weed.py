"""A SeaweedFS server of our own: an S3 store that checks signatures, digests and conditions for real."""

import json
import os
import subprocess
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Self

import urllib3

from coffre.stores.s3_client import S3Credentials
from coffre_local.ports import free_port

OWNER = S3Credentials("owner-key", "owner-secret-0123456789")
READER = S3Credentials("reader-key", "reader-secret-0123456789")
WRITER = S3Credentials("writer-key", "writer-secret-0123456789")
# As the roles of the backup functions: packs are listed, and not read.
SCRIBE = S3Credentials("scribe-key", "scribe-secret-0123456789")
ACTIONS = {
    OWNER: ["Admin", "Read", "Write", "List"],
    READER: ["Read", "List"],
    WRITER: ["Write"],
    SCRIBE: ["Write", "List"],
}

START_SECONDS = 60.0
# Another process may take a free port between our look and the server's.
START_ATTEMPTS = 5


class Weed:
    """One server, its data in a temporary directory. A context manager that leaves nothing behind."""

    def __init__(self, program: Path) -> None:
        self._program = program
        self._stack = ExitStack()
        self.endpoint_url = ""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="coffre-weed-")))
            identities = directory / "identities.json"
            identities.write_text(json.dumps({"identities": [_identity(who) for who in ACTIONS]}))
            for _ in range(START_ATTEMPTS):
                port = self._start(directory, stack)
                if port is not None:
                    break
            else:
                raise RuntimeError((directory / "log").read_text(errors="replace")[-4000:])
            self.endpoint_url = f"http://127.0.0.1:{port}"
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _start(self, directory: Path, stack: ExitStack) -> int | None:
        """Start the server and return its S3 port; None when it ended, which a taken port makes it do."""
        port = free_port()
        data = directory / f"data-{port}"
        data.mkdir()
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen(
                [str(self._program), *_arguments(data, directory / "identities.json", port)],
                stdout=log,
                stderr=log,
                cwd=directory,
                env={"PATH": os.defpath, "HOME": str(directory), "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"},
            )
        stack.callback(_kill, process)
        deadline = time.monotonic() + START_SECONDS
        while process.poll() is None:
            if _answers(port):
                return port
            if time.monotonic() > deadline:
                raise TimeoutError((directory / "log").read_text(errors="replace")[-4000:])
            time.sleep(0.05)
        return None


def _identity(who: S3Credentials) -> dict[str, object]:
    keys = [{"accessKey": who.access_key_id, "secretKey": who.secret_access_key}]
    return {"name": who.access_key_id, "credentials": keys, "actions": ACTIONS[who]}


def _arguments(data: Path, identities: Path, s3_port: int) -> list[str]:
    names = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc")
    ports = [f"-{name}={free_port()}" for name in (*names, "s3.port.grpc")]
    return [
        *("-logtostderr=true", "server", "-master.telemetry=false", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", *ports),
        *(f"-dir={data}", "-volume.preStopSeconds=1", "-volume.max=2000", "-master.volumeSizeLimitMB=128", "-filer"),
        *("-s3", f"-s3.port={s3_port}", "-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={identities}"),
        *("-s3.allowDeleteBucketNotEmpty=false", "-s3.autoCreateBucket=false"),
    ]


def _answers(port: int) -> bool:
    """Tell whether the gateway and the filer behind it are up (an anonymous listing is then refused with 403)."""
    with closing(urllib3.HTTPConnectionPool("127.0.0.1", port, timeout=2.0, retries=False)) as pool:
        try:
            return pool.request("GET", "/").status == 403
        except urllib3.exceptions.HTTPError:
            return False


def _kill(process: "subprocess.Popen[bytes]") -> None:
    process.kill()  # SIGTERM would take it 17 seconds
    process.wait()
