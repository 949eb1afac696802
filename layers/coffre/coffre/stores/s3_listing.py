"""Listing a bucket: every page once, every key once, in order, however the store sorts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from coffre.model.errors import StoreError
from coffre.stores.s3_errors import Call, translated
from coffre.stores.store import ObjectInfo

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import ListObjectsV2OutputTypeDef

# Stores that keep a directory tree do not list in the order of keys (SeaweedFS 4.48 has `a/x` before `a-b`), and some
# have no order at all (Storj, S3 directory buckets). Up to this many objects are sorted here; 20 MB at most. A larger
# listing is passed on as it comes, and has to be in order.
SORTED_IN_MEMORY: Final = 50_000

# S3 may answer with an empty page and go on (it skips delete markers), but not for ever.
_EMPTY_PAGES_IN_A_ROW: Final = 1000


@dataclass(frozen=True)
class Listing:
    """The objects whose keys start with the key of `call`, named without `base`."""

    client: S3Client
    call: Call
    base: str
    page_size: int

    def in_order(self) -> Iterator[ObjectInfo]:
        """Yield each object once, sorted by key.

        Raises
        ------
        StoreError
            `LISTING_BROKEN`: the store repeats itself, does not end, answers with other keys, or is larger than
            `SORTED_IN_MEMORY` and not in order.
        """
        objects = self._objects()
        last: str | None = None
        for found in chain(sorted(islice(objects, SORTED_IN_MEMORY), key=attrgetter("key")), objects):
            if last is not None and found.key <= last:
                raise self._broken(f"the key {found.key!a} came again, or out of order")
            last = found.key
            yield found

    def _objects(self) -> Iterator[ObjectInfo]:
        seen: set[str] = set()
        for page in self._pages():
            contents = page.get("Contents", [])
            if contents and contents[0]["Key"] in seen:
                raise self._broken("the same page came twice")
            seen.update(item["Key"] for item in contents[:1])
            for item in contents:
                if not item["Key"].startswith(self.call.key):
                    raise self._broken(f"the key {item['Key']!a} was not asked for")
                yield ObjectInfo(
                    key=item["Key"].removeprefix(self.base),
                    size=item["Size"],
                    etag=item["ETag"].strip('"') if "ETag" in item else None,
                    last_modified=item.get("LastModified"),
                )

    def _pages(self) -> Iterator[ListObjectsV2OutputTypeDef]:
        request: dict[str, Any] = {"Bucket": self.call.bucket, "Prefix": self.call.key, "MaxKeys": self.page_size}
        tokens: set[str] = set()
        empty_in_a_row = 0
        while True:
            with translated(self.call):
                page = self.client.list_objects_v2(**request)
            yield page
            if not page.get("IsTruncated"):
                return
            token = page.get("NextContinuationToken")
            if not token or token in tokens:
                raise self._broken("a page is said to follow, without a way to ask for it")
            empty_in_a_row = 0 if page.get("Contents") else empty_in_a_row + 1
            if empty_in_a_row == _EMPTY_PAGES_IN_A_ROW:
                raise self._broken("only empty pages come")
            tokens.add(token)
            request["ContinuationToken"] = token

    def _broken(self, reason: str) -> StoreError:
        return StoreError(
            f"The listing of {self.call.place} is not usable: {reason}.",
            code="LISTING_BROKEN",
            hint="Run it again; if it happens again, this store's listing cannot be trusted: use another one.",
        )
