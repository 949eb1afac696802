"""Which of AWS's services a function's network reaches: a connection to each is opened, and no request is sent."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final
from urllib.parse import urlsplit

from coffre.policy.checks.stack_facts import Reach

_PATIENCE_SECONDS: Final = 3.0

type Connect = Callable[[str, int], None]


def connect(host: str, port: int) -> None:
    """Open a connection and close it; raises `OSError`."""
    socket.create_connection((host, port), timeout=_PATIENCE_SECONDS).close()


def read_reach(addresses: Mapping[str, str], connect: Connect = connect) -> Reach:
    """Return which services can be connected to, all tried at the same time.

    Parameters
    ----------
    addresses
        The URL of each service, by its name.
    """

    def try_one(url: str) -> str | None:
        parts = urlsplit(url)
        host = parts.hostname or ""
        try:
            connect(host, parts.port or (80 if parts.scheme == "http" else 443))
        except OSError as error:
            return f"{host}: {type(error).__name__}: {error}"
        return None

    with ThreadPoolExecutor(max_workers=max(1, len(addresses))) as pool:
        return Reach(dict(zip(addresses, pool.map(try_one, addresses.values()), strict=True)))
