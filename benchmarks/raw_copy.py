"""The least that reading a database takes: a client that speaks just enough of the protocol and looks at nothing.

Run as `python -m benchmarks.raw_copy URL STREAMS [--compress]`. Tables are cut into block ranges of 64 MiB; what comes
from the socket is thrown away in large blocks, or compressed in frames of 2 MiB (with the five bytes that the protocol
puts before each row) and thrown away then. The server must trust us: there is no password, no TLS, no error handling.
"""

from __future__ import annotations

import queue
import socket
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Final
from urllib.parse import urlsplit

import psycopg2
from backports import zstd

_FRAME_BYTES: Final = 2 * 1024 * 1024
_SLICE_BLOCKS: Final = 8192
_READY: Final = b"Z\x00\x00\x00\x05I"
_TABLES: Final = """SELECT oid::regclass::text, pg_relation_size(oid) / current_setting('block_size')::int FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 2 DESC"""


def tables_of(url: str) -> list[tuple[str, int]]:
    """Return name and blocks of each table, the largest first."""
    session = psycopg2.connect(url)
    with session.cursor() as cursor:
        cursor.execute(_TABLES)
        tables = cursor.fetchall()
    session.close()
    return tables


def statements_of(url: str) -> list[str]:
    """Return a COPY for each slice."""
    statements = []
    for table, blocks in tables_of(url):
        if blocks <= _SLICE_BLOCKS:
            statements.append(f"COPY {table} TO STDOUT")
            continue
        for first in range(0, blocks, _SLICE_BLOCKS):
            where = f"ctid >= '({first},0)' AND ctid < '({first + _SLICE_BLOCKS},0)'"
            statements.append(f"COPY (SELECT * FROM {table} WHERE {where}) TO STDOUT")
    return statements


class RawClient:
    """One connection; `run` returns how many bytes an answer had."""

    def __init__(self, url: str, *, compress: bool) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname, parts.port))
        self._buffer = memoryview(bytearray(_FRAME_BYTES))
        self._compress = compress
        pairs = ("user", parts.username or "", "database", parts.path.strip("/"), "")
        body = struct.pack("!i", 196608) + "\0".join(pairs).encode() + b"\0"
        self._ask(struct.pack("!i", len(body) + 4) + body)
        for setting in ("jit", "synchronize_seqscans"):
            self.run(f"SET {setting} = off")

    def run(self, statement: str) -> int:
        """Run a statement and throw its answer away."""
        text = statement.encode() + b"\0"
        return self._ask(b"Q" + struct.pack("!i", len(text) + 4) + text)

    def _ask(self, message: bytes) -> int:
        self._socket.sendall(message)
        total = filled = 0
        tail = b""
        while tail != _READY:  # text has no zero bytes: only the server's last message can look like this
            count = self._socket.recv_into(self._buffer[filled:])
            if count == 0:
                raise ConnectionError("the server closed the connection")
            if total == 0 and self._buffer[0] == ord("E"):
                raise ConnectionError(bytes(self._buffer[:count]).decode(errors="replace"))
            total, filled = total + count, filled + count
            tail = (tail + bytes(self._buffer[max(filled - len(_READY), 0) : filled]))[-len(_READY) :]
            if tail == _READY or filled == len(self._buffer):
                if self._compress:
                    zstd.compress(self._buffer[:filled], level=3)
                filled = 0
        return total


def main(url: str, streams: str, option: str = "") -> None:
    """Read everything once."""
    work: queue.SimpleQueue[str] = queue.SimpleQueue()
    for statement in statements_of(url):
        work.put(statement)

    def read(_: int) -> None:
        client = RawClient(url, compress=option == "--compress")
        while True:
            try:
                client.run(work.get_nowait())
            except queue.Empty:
                return

    with ThreadPoolExecutor(int(streams)) as pool:
        list(pool.map(read, range(int(streams))))


if __name__ == "__main__":
    main(*sys.argv[1:])
