"""A pgbouncer in front of a server: Debian's, in session or transaction mode, with 15 connections."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.providers.debian import unpack

from coffre_local.errors import ToolError
from coffre_local.ports import free_port

_PACKAGES: Final = ("pgbouncer", "libevent-2.1-7", "libc-ares2")
_START_SECONDS: Final = 60.0
_CONFIGURATION: Final = """
[databases]
* = host=127.0.0.1 port={server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
auth_type = trust
auth_file = {users}
unix_socket_dir =
pool_mode = {mode}
default_pool_size = 15
max_client_conn = 200
query_wait_timeout = {wait}
ignore_startup_parameters = extra_float_digits
"""


def unpack_pgbouncer(place: Path) -> Path:
    """Return the root below which pgbouncer and its libraries are; raises what `unpack` raises."""
    return unpack(place, _PACKAGES)


@contextmanager
def pgbouncer(root: Path, server_port: int, mode: str, *, wait_seconds: int = 120) -> Iterator[int]:
    """Run pgbouncer in front of a server, and give its port. A client that finds no connection free waits so long."""
    library = next(root.glob("usr/lib/*-linux-gnu"))
    with tempfile.TemporaryDirectory(prefix="coffre-pgbouncer-") as directory:
        port = free_port()
        file = Path(directory) / "pgbouncer.ini"
        users = file.with_name("users.txt")
        users.write_text('"postgres" ""\n')
        text = _CONFIGURATION.format(server=server_port, port=port, mode=mode, wait=wait_seconds, users=users)
        file.write_text(text)
        for path in (file.parent, file, users):
            path.chmod(0o755)
        process = subprocess.Popen(
            [root / "usr" / "sbin" / "pgbouncer", "--quiet", file],
            env={"LD_LIBRARY_PATH": str(library), "PATH": os.environ["PATH"]},
            user="nobody" if os.geteuid() == 0 else None,  # it refuses to run as root
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            _wait_for(port, process)
            yield port
        finally:
            process.kill()
            process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise ToolError("pgbouncer did not start.", code="LOCAL_POOLER")
