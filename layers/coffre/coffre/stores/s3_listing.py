"""Listing a bucket: every page once, every key once, in order, however the store sorts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from coffre.model.errors import StoreError
from coffre.stores.listing_order import in_order, listing_broken
from coffre.stores.s3_errors import Call, translated
from coffre.stores.store import ObjectInfo

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import ListObjectsV2OutputTypeDef

# S3 may send empty pages before the listing continues (it skips delete markers), but not for ever.
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
            `listing_order.SORTED_IN_MEMORY` and not in order.
        """
        return in_order(chain.from_iterable(self.pages()), self.call.place)

    def pages(self) -> Iterator[Sequence[ObjectInfo]]:
        """Yield the objects of each page as they come (`LISTING_BROKEN`: no page twice, none without an end)."""
        border = Border[ObjectInfo](attrgetter("key"))
        for page in self._pages():
            found = [
                ObjectInfo(
                    key=item["Key"].removeprefix(self.base),
                    size=item["Size"],
                    etag=item["ETag"].strip('"') if "ETag" in item else None,
                    last_modified=item.get("LastModified"),
                )
                for item in page.get("Contents", [])
            ]
            yield border.without_repeated(found)

    def _pages(self) -> Iterator[ListObjectsV2OutputTypeDef]:
        request: dict[str, Any] = {"Bucket": self.call.bucket, "Prefix": self.call.key, "MaxKeys": self.page_size}
        check = PageCheck(self.call)
        while True:
            with translated(self.call):
                page = self.client.list_objects_v2(**request)
            token = page.get("NextContinuationToken") if page.get("IsTruncated") else None
            check.see([item["Key"] for item in page.get("Contents", [])])
            yield page
            if not page.get("IsTruncated"):
                return
            request["ContinuationToken"] = check.follow(token)


@dataclass
class Border[T]:
    """Takes once what a store lists at the end of a page and again at the beginning of the next.

    Attributes
    ----------
    repeated, changed
        How many objects came twice like that: with the same attributes, and (the last of a page alone) with others.
    """

    key_of: Callable[[T], str]
    repeated: int = 0
    changed: int = 0
    _before: Sequence[T] = ()

    def without_repeated(self, page: Sequence[T]) -> Sequence[T]:
        """Return the objects of a page without those at its beginning that ended the page before."""
        before, self._before = self._before, page or self._before
        first = self.key_of(page[0]) if page else None
        for at in (at for at in range(len(before)) if self.key_of(before[at]) == first):
            length = len(before) - at
            if list(page[:length]) == list(before[at:]):
                self.repeated += length
                return page[length:]
        if before and self.key_of(before[-1]) == first:  # it was written between the two requests
            self.changed += 1
            return page[1:]
        return page


@dataclass
class PageCheck:
    """Notices a listing that repeats itself, goes round, or does not end. Keeps one key and one token of each page."""

    call: Call
    _first_keys: set[str] = field(default_factory=set)
    _tokens: set[str] = field(default_factory=set)
    _empty_in_a_row: int = 0

    def see(self, keys: Sequence[str]) -> None:
        """Look at the keys of a page.

        Raises
        ------
        StoreError
            `LISTING_BROKEN`: it came before, has a key that was not asked for, or is one of too many empty ones.
        """
        if keys and keys[0] in self._first_keys:
            raise broken(self.call, "the same page came twice")
        self._first_keys.update(keys[:1])
        for key in keys:
            if not key.startswith(self.call.key):
                raise broken(self.call, f"the key {key!a} was not asked for")
        self._empty_in_a_row = 0 if keys else self._empty_in_a_row + 1

    def follow(self, token: str | None) -> str:
        """Return the token of the page that is said to follow (`LISTING_BROKEN` when there is no way to ask for it)."""
        if not token or token in self._tokens:
            raise broken(self.call, "a page is said to follow, without a way to ask for it")
        if self._empty_in_a_row == _EMPTY_PAGES_IN_A_ROW:
            raise broken(self.call, "only empty pages come")
        self._tokens.add(token)
        return token


def broken(call: Call, reason: str) -> StoreError:
    """Return the error of a listing that cannot be used."""
    return listing_broken(call.place, reason)
