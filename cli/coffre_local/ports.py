"""Ports of this machine."""

import socket
from contextlib import closing


def free_port() -> int:
    """Return a port of 127.0.0.1 that no process uses now."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
