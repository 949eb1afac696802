"""Counts the requests of S3 clients as they are billed: every attempt, parts of uploads and pages of listings too."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

from coffre.model.usage import Counts

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

type Side = Literal["vault", "source"]
# Gets an operation's name, and the bytes that it sent and received.
type Count = Callable[[str, int, int], None]

_FREE: Final = ("Delete", "Abort")
_READS: Final = ("Get", "Head")
_AWS: Final = (".amazonaws.com", ".amazonaws.com.cn")
_ENCRYPTION: Final = "x-amz-server-side-encryption"


class Tally:
    """What was sent and received since it was last taken. Safe to use from several threads."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def watch(self, client: S3Client, side: Side) -> S3Client:
        """Count what a client sends from now on, and return it."""
        outside = not is_aws(client.meta.endpoint_url)

        def sending(request: Any, event_name: str, **_: object) -> None:
            self._count(side, event_name.rpartition(".")[2], int(request.headers.get("Content-Length") or 0), outside)

        def answered(response: Any, operation: Any, **_: object) -> None:
            if response is not None:
                self._answered(side, operation.name, response[0].headers)

        client.meta.events.register("before-send.s3", sending)
        client.meta.events.register("needs-retry.s3", answered)
        return client

    def counter(self, client: S3Client, side: Side) -> Count:
        """Return what counts requests that are sent past this client to the same store."""
        outside = not is_aws(client.meta.endpoint_url)

        def count(operation: str, sent_bytes: int, received_bytes: int) -> None:
            self._count(side, operation, sent_bytes, outside)
            self.add(**{f"{side}_received_bytes": received_bytes})

        return count

    def add(self, **counts: int) -> None:
        """Add counts that are known otherwise, by the names of `Counts`."""
        with self._lock:
            self._counts.update(counts)

    def add_source(self, sent: Mapping[str, int], received_bytes: int) -> None:
        """Add the requests of an `S3Wire`, by operation, and the bytes that it received."""
        lists = sent.get("list", 0)
        self.add(
            source_writes=lists,
            source_reads=sum(sent.values()) - lists,
            source_received_bytes=received_bytes,
        )

    def requests(self) -> int:
        """Return how many requests were sent to the side `source` since the counts were last taken."""
        with self._lock:
            return self._counts["source_reads"] + self._counts["source_writes"]

    def take(self) -> Counts:
        """Return the counts, and begin again."""
        with self._lock:
            taken, self._counts = self._counts, Counter()
        return Counts(**taken)

    def _count(self, side: Side, operation: str, sent_bytes: int, outside: bool) -> None:  # noqa: FBT001 - private
        kind = None if operation.startswith(_FREE) else "reads" if operation.startswith(_READS) else "writes"
        counts = {f"{side}_sent_bytes": sent_bytes}
        if kind is not None:
            counts[f"{side}_{kind}"] = 1
        if outside and side == "source":
            counts["outside_bytes"] = sent_bytes
        self.add(**counts)

    def _answered(self, side: Side, operation: str, headers: Mapping[str, str]) -> None:
        counts = {}
        if operation == "GetObject":
            counts[f"{side}_received_bytes"] = int(headers.get("Content-Length") or 0)
        own_key = headers.get(_ENCRYPTION) == "aws:kms"
        if side == "vault" and own_key and headers.get(f"{_ENCRYPTION}-bucket-key-enabled") != "true":
            counts["kms_requests"] = 1
        if counts:
            self.add(**counts)


def is_aws(endpoint_url: str) -> bool:
    """Return whether an address is one of AWS itself."""
    host = endpoint_url.partition("://")[2].partition("/")[0].partition(":")[0]
    return host.endswith(_AWS)
