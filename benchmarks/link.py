"""A link that gives each connection so many bytes a second in each direction: a managed database across a network.

`python -m benchmarks.link HOST PORT RATE` listens on a free port of 127.0.0.1, prints it, and forwards connections.
Bytes go from socket to socket through a pipe inside the kernel (`splice`), so that the link does not take the processor
from those who are measured; it is a process of its own, so that what it takes can be told.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from coffre_local.toolchain import CHECKOUT

DEFAULT_RATE: Final = 25_000_000
_CHUNK_BYTES: Final = 256 * 1024
# What a link may hold: with more, the server would be far ahead of what has arrived.
_BUFFER_BYTES: Final = 256 * 1024
# Shorter waits are not worth a system call; what is owed is remembered.
_SHORTEST_WAIT_SECONDS: Final = 0.001


class Bucket:
    """A token bucket for one direction of one connection.

    Parameters
    ----------
    rate
        Bytes a second.
    burst
        Bytes that may be sent at once after a pause: what a late wake-up owes, no more.
    """

    def __init__(self, rate: float, burst: float = _CHUNK_BYTES) -> None:
        self._rate = rate
        self._burst_seconds = burst / rate
        self._free_at = float("-inf")

    def take(self, count: int, now: float) -> float:
        """Account for bytes that were sent at `now` and return how many seconds to wait before the next ones."""
        self._free_at = max(self._free_at, now - self._burst_seconds) + count / self._rate
        return max(self._free_at - now, 0.0)


def forward(source: socket.socket, sink: socket.socket, rate: float) -> None:
    """Move bytes until the source ends, then tell the sink."""
    bucket = Bucket(rate)
    reading, writing = os.pipe()
    try:
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _CHUNK_BYTES)
        while count := os.splice(source.fileno(), writing, _CHUNK_BYTES, flags=os.SPLICE_F_MOVE):
            left = count
            while left:
                left -= os.splice(reading, sink.fileno(), left, flags=os.SPLICE_F_MOVE)
            wait = bucket.take(count, time.monotonic())
            if wait > _SHORTEST_WAIT_SECONDS:
                time.sleep(wait)
    except OSError:  # one side has gone: the other is told below
        pass
    finally:
        os.close(reading)
        os.close(writing)
        for end, how in ((sink, socket.SHUT_WR), (source, socket.SHUT_RD)):
            with contextlib.suppress(OSError):
                end.shutdown(how)


def serve(listener: socket.socket, host: str, port: int, rate: float) -> None:
    """Accept connections for ever; each has a thread a direction."""
    while True:
        client, _ = listener.accept()
        threading.Thread(target=_connect, args=(client, host, port, rate), daemon=True).start()


def _connect(client: socket.socket, host: str, port: int, rate: float) -> None:
    with client, socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        server.connect((host, port))
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        up = threading.Thread(target=forward, args=(client, server, rate), daemon=True)
        up.start()
        forward(server, client, rate)
        up.join()


@dataclass(frozen=True)
class Link:
    """A running link: its process and its port."""

    pid: int
    port: int

    def through(self, url: str) -> str:
        """Return a connection URL that goes through the link."""
        parts = urlsplit(url)
        account = parts.netloc.rpartition("@")[0]
        return urlunsplit(parts._replace(netloc=f"{account}@127.0.0.1:{self.port}"))


@contextmanager
def open_link(port: int, rate: float = DEFAULT_RATE) -> Iterator[Link]:
    """Start a link to a port of 127.0.0.1 and end it afterwards."""
    argv = [sys.executable, "-m", "benchmarks.link", "127.0.0.1", str(port), str(rate)]
    environment = {**os.environ, "PYTHONPATH": f"{CHECKOUT}:{CHECKOUT}/layers/coffre:{CHECKOUT}/cli"}
    with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True) as child:
        try:
            line = child.stdout.readline() if child.stdout else ""
            if not line:
                raise SystemExit("the simulated link did not start")
            yield Link(child.pid, int(line))
        finally:
            child.terminate()


def main(host: str, port: str, rate: str) -> None:
    """Listen, say where, forward."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)  # what it accepts inherits it
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        print(listener.getsockname()[1], flush=True)
        serve(listener, host, int(port), float(rate))


if __name__ == "__main__":
    main(*sys.argv[1:])
