"""The network that tests cut."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

from tests.integration.faults import CutProxy


def test_a_connection_that_nobody_reads_does_not_keep_another_waiting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, CutProxy(server.getsockname()[1]) as proxy:
        ends = [(socket.create_connection(("127.0.0.1", proxy.port)), server.accept()[0]) for _ in range(2)]
        (_, talking), (client, other) = ends
        talking.settimeout(0.2)
        with suppress(TimeoutError):
            while True:
                talking.send(bytes(65536))

        client.settimeout(60)
        other.settimeout(60)
        client.sendall(b"?")
        assert other.recv(1) == b"?"
        other.sendall(b"!" * 100_000)
        came = b""
        while len(came) < 100_000:
            came += client.recv(65536)
        assert came == b"!" * 100_000
        for pair in ends:
            for end in pair:
                end.close()


def test_a_network_is_cut_by_the_one_that_bytes_are_on_their_way_to() -> None:
    """Given more of them than any buffer holds, of which none is read."""
    with socket.create_server(("127.0.0.1", 0)) as server, CutProxy(server.getsockname()[1]) as proxy:
        client = socket.create_connection(("127.0.0.1", proxy.port))
        talking, _ = server.accept()
        talking.settimeout(0.2)
        with suppress(TimeoutError):  # then nothing more goes in: the proxy waits for the client
            while True:
                talking.send(bytes(65536))

        cutting = threading.Thread(target=proxy.cut, daemon=True)
        cutting.start()
        cutting.join(timeout=60)

        assert not cutting.is_alive()
        client.close()
        talking.close()
