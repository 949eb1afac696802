"""Doctor at a database of five thousand tables, over a link on which a round trip takes 100 ms.

Goal: less than 15 seconds. The server takes TLS connections only; each session costs its handshakes on the link too.
"""

from __future__ import annotations

import argparse
import queue
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import psycopg2

from benchmarks.harness import progress
from coffre.model.database_target import DatabaseTarget, Tls
from coffre.operations.doctor.checkup import examine
from coffre.operations.doctor.database import DatabaseLook
from coffre.postgres.connection.address import apply_tls
from coffre.postgres.connection.client_tools import PostgresTools
from coffre.postgres.connection.connection_secret import parse_secret
from coffre_local.postgres_server import PostgresServer, ServerOptions
from coffre_local.toolchain import Toolchain

GOAL_SECONDS: Final = 15.0
TABLES: Final = 5_000
_ROUND_TRIP_SECONDS: Final = 0.1
_STREAMS: Final = 4


@dataclass
class DelayingLink:
    """A port of 127.0.0.1 that forwards to another, each byte half a round trip later, however many are under way."""

    port: int
    seconds: float

    @contextmanager
    def opened(self) -> Iterator[int]:
        """Return the link's port; what is connected when the block is left is cut."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            threading.Thread(target=self._serve, args=(listener,), daemon=True).start()
            port: int = listener.getsockname()[1]
            yield port

    def _serve(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        time.sleep(2 * self.seconds)  # the handshake of TCP
        server = socket.create_connection(("127.0.0.1", self.port))
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for source, sink in ((client, server), (server, client)):
            waiting: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
            threading.Thread(target=self._take, args=(source, waiting), daemon=True).start()
            threading.Thread(target=self._give, args=(waiting, sink), daemon=True).start()

    def _take(self, source: socket.socket, waiting: queue.SimpleQueue[tuple[float, bytes]]) -> None:
        data = b"-"
        while data:
            try:
                data = source.recv(65536)
            except OSError:
                data = b""
            waiting.put((time.monotonic() + self.seconds, data))

    def _give(self, waiting: queue.SimpleQueue[tuple[float, bytes]], sink: socket.socket) -> None:
        with suppress(OSError), sink:
            while True:
                due, data = waiting.get()
                time.sleep(max(0.0, due - time.monotonic()))
                if not data:
                    return
                sink.sendall(data)


def look(url: str, certificate: Path, home: Path) -> tuple[float, int, int]:
    """Look at a database; return the seconds, how many checks had a result, and how many of them could not look."""
    target = DatabaseTarget(name="shop", secret="shop", tls=Tls(ca=certificate.read_text()))
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        connection = apply_tls(
            parse_secret(url, where="shop"),
            target.tls,
            Path(scratch),
            connect_timeout_seconds=30,
            read_secret=lambda name: name,
        )
        tools = PostgresTools(home)
        looking = DatabaseLook(target, lambda: connection, tools.version, list, _STREAMS, lambda: datetime.now(UTC))
        checkup = examine("shop", looking.readers(stack), datetime.now(UTC), lambda error: progress(f"{error}"))
    return time.monotonic() - began, len(checkup.results), len(checkup.unseen)


def main() -> int:
    """Fill, look, and say how long it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="1 is the full size")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    home, tables = Toolchain().postgresql(18), int(TABLES * arguments.scale)
    with PostgresServer(home, ServerOptions(tls=True, password="secret")) as server:
        url = server.create_database("shop")
        progress(f"{tables:,} tables")
        _fill(url, tables)
        link = DelayingLink(urlsplit(url).port or 0, _ROUND_TRIP_SECONDS / 2)
        with link.opened() as port:
            slow = url.replace(f":{urlsplit(url).port}/", f":{port}/")
            found = [look(slow, server.certificate, home) for _ in range(arguments.runs)]
    times = sorted(seconds for seconds, _, _ in found)
    middle, (_, results, unseen) = statistics.median(times), found[-1]
    listed = ", ".join(f"{one:.1f}" for one in times)
    print(f"{tables:,} tables, {_ROUND_TRIP_SECONDS * 1000:.0f} ms: {middle:.1f} s ({listed}); {results} results")
    reached = middle < GOAL_SECONDS and not unseen
    print(f"Goal: less than {GOAL_SECONDS:.0f} s: {'reached' if reached else 'missed'}")
    return 0 if reached else 1


def _fill(url: str, tables: int) -> None:
    session = psycopg2.connect(url)
    try:
        session.autocommit = True
        with session.cursor() as cursor:
            for first in range(0, tables, 500):
                last = min(first + 500, tables)
                cursor.execute(
                    f"DO $$ BEGIN FOR n IN {first}..{last - 1} LOOP EXECUTE format('CREATE TABLE t%s "
                    "(id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text)', n); END LOOP; END $$"
                )
            cursor.execute("ANALYZE")
    finally:
        session.close()


if __name__ == "__main__":
    raise SystemExit(main())
