"""Users' buckets in memory, behind the requests that backups send: any key, any order, any size, any fault."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import quote_plus
from xml.sax.saxutils import escape

from botocore.exceptions import ClientError

from coffre.model.errors import RunStoppedError
from coffre.stores.s3_errors import Call, translated
from coffre.stores.s3_exchange import Answer
from coffre.stores.s3_wire import Endpoint, too_much

THEN = datetime(2026, 11, 17, 3, 0, 0, 250_000, tzinfo=UTC)


@dataclass
class Kept:
    """One object: `body` gives its bytes from an offset on, so that a huge one takes no memory."""

    size: int
    body: Callable[[int, int], bytes]
    etag: str
    modified: datetime
    headers: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


def sparse(offset: int, length: int) -> bytes:
    """Zeros, each MiB beginning with its number."""
    piece = bytearray(length)
    for number in range(-(-offset // 2**20), -(-(offset + length) // 2**20)):
        at = number * 2**20 - offset
        piece[at : at + 8] = number.to_bytes(8)[: length - at]
    return bytes(piece)


class MemoryStore:
    """Buckets that sort as S3 does, unless `order` says otherwise. It stands in for `S3Wire`.

    Parameters
    ----------
    order
        Sorts the keys of a listing.
    """

    def __init__(self, *, page_size: int = 1000, order: Callable[[str], Any] = lambda key: key) -> None:
        self.endpoint = Endpoint("https://store.example", "eu-west-3", by_path=True)
        self.stopping = threading.Event()
        self.requests: Counter[str] = Counter()
        self.buckets: dict[str, dict[str, Kept]] = {}
        self.page_size = page_size
        self.order = order
        self.before: Callable[[str, Call, int], None] = lambda operation, call, number: None
        self.change: Callable[[Call, Answer], Answer] = lambda call, answer: answer
        self._lock = threading.Lock()
        self._clock = THEN

    # --- what a test does ---

    def put(
        self, bucket: str, key: str, body: bytes = b"", *, tags: dict[str, str] | None = None, **headers: str
    ) -> None:
        """Write an object, a second later than the one before."""
        self._clock += timedelta(seconds=1)
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        said = {name.replace("_", "-"): value for name, value in headers.items()}
        kept = Kept(len(body), lambda at, length: body[at : at + length], etag, self._clock, said, tags or {})
        self.buckets.setdefault(bucket, {})[key] = kept

    def put_huge(self, bucket: str, key: str, size: int, body: Callable[[int, int], bytes] = sparse) -> None:
        """Write an object that is made as it is read."""
        self.buckets.setdefault(bucket, {})[key] = Kept(size, body, f"{'0' * 32}-700", self._clock)

    def delete(self, bucket: str, key: str) -> None:
        """Delete an object."""
        del self.buckets[bucket][key]

    def bodies(self) -> dict[str, bytes]:
        """Everything, by the names of entries."""
        return {
            f"{bucket}/{key}": kept.body(0, kept.size)
            for bucket, objects in self.buckets.items()
            for key, kept in objects.items()
        }

    # --- what S3Wire does ---

    def get(
        self,
        call: Call,
        operation: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        limit_bytes: int,
    ) -> Answer:
        if self.stopping.is_set():
            raise RunStoppedError("The run is being stopped.")
        with self._lock:
            self.requests[operation] += 1
            number = self.requests[operation]
        with translated(call):
            self.before(operation, call, number)
            if call.bucket not in self.buckets:
                raise refusal(404, "NoSuchBucket")
            answer = self._answer(call, operation, query or {}, headers or {})
        answer = self.change(call, answer)
        if len(answer.body) > limit_bytes:
            raise too_much(call)
        return answer

    def close(self) -> None:
        """Nothing is open."""

    def _answer(self, call: Call, operation: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        if operation == "list":
            return self._listing(call, query)
        if "ownershipControls" in query:
            return Answer(200, {}, b"<O><Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule></O>")
        kept = self.buckets[call.bucket].get(call.key)
        if kept is None:
            raise refusal(404, "NoSuchKey")
        if operation == "tagging":
            tags = "".join(f"<Tag><Key>{key}</Key><Value>{value}</Value></Tag>" for key, value in kept.tags.items())
            return Answer(200, {}, f"<Tagging><TagSet>{tags}</TagSet></Tagging>".encode())
        if operation == "acl":
            grant = "<Grant><Grantee><URI>AllUsers</URI></Grantee><Permission>READ</Permission></Grant>"
            return Answer(200, {}, f"<A><AccessControlList>{grant}</AccessControlList></A>".encode())
        return _object(kept, headers)

    def _listing(self, call: Call, query: Mapping[str, str]) -> Answer:
        token = bytes.fromhex(query.get("continuation-token", "")).decode()
        keys = self._keys(call, token or query.get("start-after", ""))
        page = keys[: self.page_size]
        is_truncated = len(page) < len(keys)
        items = "".join(_item(key, self.buckets[call.bucket][key]) for key in page)
        last = page[-1].encode().hex() if is_truncated else ""
        token = f"<NextContinuationToken>{last}</NextContinuationToken>" if is_truncated else ""
        body = (
            f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><EncodingType>url</EncodingType>'
            f"<IsTruncated>{str(is_truncated).lower()}</IsTruncated>{token}{items}</ListBucketResult>"
        )
        return Answer(200, {}, body.encode())

    def _keys(self, call: Call, after: str) -> Sequence[str]:
        keys = sorted((key for key in self.buckets[call.bucket] if key.startswith(call.key)), key=self.order)
        return [key for key in keys if self.order(key) > self.order(after)] if after else keys


def refusal(status: int, code: str, message: str = "", **headers: str) -> ClientError:
    """Return what S3 says when it refuses."""
    said = {name.replace("_", "-"): value for name, value in headers.items()}
    metadata = {"HTTPStatusCode": status, "HTTPHeaders": said, "RequestId": "R-1"}
    return ClientError({"Error": {"Code": code, "Message": message}, "ResponseMetadata": metadata}, "get")  # type: ignore[typeddict-item]


def directory_order(key: str) -> list[str]:
    """Sort as a store that keeps a tree of directories."""
    return key.split("/")


def names(objects: Iterable[Any]) -> list[str]:
    """Return the names of some things."""
    return [found.name for found in objects]


def _item(key: str, kept: Kept) -> str:
    return (
        f"<Contents><Key>{escape(quote_plus(key))}</Key><LastModified>{kept.modified.isoformat()}</LastModified>"
        f"<ETag>&quot;{kept.etag}&quot;</ETag><Size>{kept.size}</Size></Contents>"
    )


def _object(kept: Kept, headers: Mapping[str, str]) -> Answer:
    if headers.get("if-match") not in {None, f'"{kept.etag}"'}:
        raise refusal(412, "PreconditionFailed")
    said = {
        "etag": f'"{kept.etag}"',
        "last-modified": format_datetime(kept.modified.replace(microsecond=0), usegmt=True),
        **kept.headers,
        **({"x-amz-tagging-count": str(len(kept.tags))} if kept.tags else {}),
    }
    if "range" not in headers:
        return Answer(200, said, kept.body(0, kept.size))
    first, last = (int(number) for number in headers["range"].removeprefix("bytes=").split("-"))
    if first >= kept.size:
        raise refusal(416, "InvalidRange")
    body = kept.body(first, min(last + 1, kept.size) - first)
    return Answer(206, {**said, "content-range": f"bytes {first}-{first + len(body) - 1}/{kept.size}"}, body)
