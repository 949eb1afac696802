"""The network that tests cut."""

from __future__ import annotations

import socket
import threading

from tests.integration.faults import CutProxy


def test_a_network_is_cut_by_the_one_that_bytes_are_on_their_way_to() -> None:
    """Given more of them than any buffer holds, of which none is read."""
    with socket.create_server(("127.0.0.1", 0)) as server, CutProxy(server.getsockname()[1]) as proxy:
        client = socket.create_connection(("127.0.0.1", proxy.port))
        talking, _ = server.accept()
        talking.settimeout(0.2)
        try:
            while True:
                talking.send(bytes(65536))
        except TimeoutError:
            pass  # nothing more goes in: the proxy waits for the client

        cutting = threading.Thread(target=proxy.cut, daemon=True)
        cutting.start()
        cutting.join(timeout=60)

        assert not cutting.is_alive()
        client.close()
        talking.close()
