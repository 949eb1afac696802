"""Ports of this machine."""

import errno
import random
import socket
from contextlib import closing
from typing import Final

# Below the ports that systems give to clients, and to programs that ask for any (from 32768 on Linux, 49152 on macOS):
# until our server has it, such a port could become another program's.
_FIRST: Final = 20_000
_LAST: Final = 32_000
_ATTEMPTS: Final = 100
# Two processes that seed `random` alike, as tests do, would choose the same ports.
_random: Final = random.SystemRandom()


def free_port() -> int:
    """Return a port of 127.0.0.1 that no process uses now, and that the system gives to no one by itself."""
    for _ in range(_ATTEMPTS):
        port = _random.randint(_FIRST, _LAST)
        with closing(socket.socket()) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                return port
    raise OSError(errno.EADDRINUSE, f"no port of 127.0.0.1 between {_FIRST} and {_LAST} is free")
