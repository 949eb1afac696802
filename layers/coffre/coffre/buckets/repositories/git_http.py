"""HTTP to servers of repositories. Their answers are hostile: they lead to no other place than the one that was asked.

The address that a name resolved to is checked after connecting, before anything is sent: a name that resolves to a
cloud's metadata service, or in a function to the function's own machine, is refused however it is spelled.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse
from urllib3.util import Retry, Timeout

from coffre.model.errors import CoffreError, RunStoppedError, StoreError, StoreTransientError

# AWS's metadata service over IPv6; over IPv4 it is link-local (EC2 user guide, 2026-11).
_METADATA: Final = ipaddress.ip_network("fd00:ec2::/32")
_TIMEOUT: Final = Timeout(connect=10, read=120)
# An answer of an API: a page of a hundred repositories has about 600 KB.
_MOST_BYTES: Final = 16 * 1024 * 1024


class AddressRefusedError(StoreError):
    """A name resolves to an address that no repository has."""

    default_code = "ADDRESS_REFUSED"


def refuse_address(address: str, *, is_here: bool) -> None:
    """Refuse an address of a metadata service, or (in a function) of the function's own machine.

    Raises
    ------
    AddressRefusedError
    """
    found = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(found, "ipv4_mapped", None)
    found = mapped or found
    is_metadata = found.is_link_local or (found.version == 6 and found in _METADATA)
    if is_metadata or found.is_unspecified or found.is_multicast or (found.is_loopback and not is_here):
        raise AddressRefusedError(
            f"The server's name resolves to {found}, where no repository is fetched from.",
            hint="Correct the URL in the configuration. A server on your own machine is backed up with --here.",
        )


@dataclass
class Wire:
    """Connections to servers of repositories; a context manager that closes them.

    Parameters
    ----------
    is_here
        Whether this runs on a person's or a pipeline's machine, whose own servers may be asked.
    stopping
        Set it to make every request end soon.
    """

    is_here: bool
    stopping: threading.Event
    requests: Counter[str] = field(default_factory=Counter)
    received_bytes: int = 0
    _pool: urllib3.PoolManager = field(init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        self._pool = urllib3.PoolManager(num_pools=8, maxsize=4, timeout=_TIMEOUT)
        self._pool.pool_classes_by_scheme = _pools(self._check)

    def close(self) -> None:
        """Close every connection."""
        self._pool.clear()

    def request(
        self,
        action: str,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
    ) -> BaseHTTPResponse:
        """Return the head of an answer, whatever its status; redirects are not followed.

        Raises
        ------
        AddressRefusedError
        StoreTransientError
            The server did not answer.
        """
        self.check()
        host = urlsplit(url).hostname or ""
        if not url.startswith("https://") and not self.is_here:
            raise AddressRefusedError(f"{host} is asked over https:// only.", hint="Correct the URL.")
        with self._lock:
            self.requests[action] += 1
        try:
            return self._pool.request(
                method,
                url,
                headers=dict(headers or {}),
                body=body,
                redirect=False,
                retries=Retry(total=2, redirect=0, status=0, read=0, other=0, backoff_factor=0.2),
                preload_content=False,
            )
        except CoffreError:
            raise
        except (HTTPError, OSError) as error:  # its text repeats URLs, which can be signed
            raise _unanswered(host, error) from None

    def read(self, response: BaseHTTPResponse, amount: int | None = None) -> bytes:
        """Return the next bytes of an answer; raises as `request`, and `RunStoppedError`."""
        self.check()
        try:
            data: bytes = response.read(amount)
        except (HTTPError, OSError) as error:
            raise _unanswered("the server", error) from None
        with self._lock:
            self.received_bytes += len(data)
        return data

    def text(self, response: BaseHTTPResponse) -> bytes:
        """Return a whole answer that is no file.

        Raises
        ------
        StoreError
            `ANSWER_TOO_LONG`
        """
        try:
            data = self.read(response, _MOST_BYTES + 1)
        finally:
            response.close()
        if len(data) > _MOST_BYTES:
            raise StoreError("The server's answer does not end.", code="ANSWER_TOO_LONG")
        return data

    def chunks(self, response: BaseHTTPResponse) -> Iterator[bytes]:
        """Yield a long answer."""
        try:
            while data := self.read(response, 1024 * 1024):
                yield data
        finally:
            response.close()

    def check(self) -> None:
        """Raise `RunStoppedError` if the run is stopped."""
        if self.stopping.is_set():
            raise RunStoppedError("The run is stopped.")

    def _check(self, peer: str) -> None:
        refuse_address(peer, is_here=self.is_here)


def _unanswered(host: str, error: Exception) -> StoreTransientError:
    cause = getattr(error, "reason", None) or error
    return StoreTransientError(
        f"{host} did not answer.",
        code="SERVER_UNREACHABLE",
        detail=type(cause).__name__,
        hint="Check the URL, and whether the network of the function (or of this machine) reaches the server.",
    )


def _pools(check: Callable[[str], None]) -> dict[str, type[HTTPConnectionPool]]:
    """Return pools whose connections are checked before anything is sent over them."""

    def checked(connected: socket.socket) -> socket.socket:
        try:
            check(connected.getpeername()[0])
        except BaseException:
            connected.close()
            raise
        return connected

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return checked(super()._new_conn())

    class Secure(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return checked(super()._new_conn())

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}
