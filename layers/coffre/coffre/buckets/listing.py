"""The objects of a bucket, each once, sorted by key, in bounded memory: whatever order the store has.

S3 lists in the order of the keys' bytes. Stores that keep a directory tree do not (SeaweedFS has `a/x` before `a-b`),
and some have no order at all. A listing is therefore looked at before it is used: what is in order is passed on, what
is not is sorted through files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Final

from coffre.buckets.object_facts import Listed
from coffre.buckets.s3_xml import ListingPage
from coffre.buckets.source import ObjectSource
from coffre.buckets.spool import Spool
from coffre.concurrency.generator_pool import GeneratorPool
from coffre.model.errors import StoreError
from coffre.stores.s3_errors import Call
from coffre.stores.s3_listing import Border, PageCheck, broken

# The number of objects that are looked at before the first is read. AWS is known to sort. Of other stores it is as many
# as fit on a function's disk.
LOOKED_AT: Final = 50_000
LOOKED_AT_ELSEWHERE: Final = 2_000_000


_TWICE: Final = "A key came twice at the border of two pages of the listing of {bucket}, and was taken once."


@dataclass(frozen=True)
class Stretch:
    """Objects of a listing that follow one another; their number and bytes are known before the first is read."""

    objects: Iterator[Listed]
    count: int
    size: int


@dataclass
class SortedListing:
    """Objects sorted by key, each once, whatever order the pages of a listing have.

    Parameters
    ----------
    pages
        From `pages_of`, or another client's.
    call
        What is listed, for errors.
    looked_at
        How many objects have to be in order before the first is passed on.

    Attributes
    ----------
    is_sorted
        Whether the store listed in order, as far as it was seen.
    """

    pages: Iterator[Sequence[Listed]]
    call: Call
    scratch: Path
    looked_at: int = LOOKED_AT
    is_sorted: bool = field(default=True, init=False)

    def stretches(self) -> Iterator[Stretch]:
        """Yield the objects, each stretch to be used up before the next is asked for.

        Raises
        ------
        StoreError
            `LISTING_BROKEN`: the store repeats itself, does not end, or begins to be out of order after `looked_at`
            objects that were in order.
        CoffreError
        """
        last: str | None = None
        is_over = False
        while not is_over:
            with Spool(self.scratch) as spool:
                is_over = self._fill(spool, last)
                self.is_sorted = self.is_sorted and spool.is_sorted
                last = spool.last or last
                yield Stretch(self._each_once(spool.in_order()), spool.count, spool.size)

    def objects(self) -> Iterator[Listed]:
        """Yield the objects of all stretches; raises what `stretches` raises."""
        for stretch in self.stretches():
            yield from stretch.objects

    def _fill(self, spool: Spool, last: str | None) -> bool:
        """Take objects until they are many and in order; return whether these were all."""
        for objects in self.pages:
            if last is not None and any(found.key <= last for found in objects):
                raise broken(self.call, "it is large, and not in order")
            spool.add(objects)
            if spool.count >= self.looked_at and spool.is_sorted:
                return False
        return True

    def _each_once(self, objects: Iterator[Listed]) -> Iterator[Listed]:
        last: str | None = None
        for found in objects:
            if found.key == last:
                raise broken(self.call, f"the key {last!a} came twice")
            last = found.key
            yield found


def pages_of(
    reader: ObjectSource,
    bucket: str,
    prefix: str,
    *,
    takes: Callable[[str], bool] = lambda _: True,
    after: str | None = None,
    may_skip: bool = True,
) -> Iterator[Sequence[Listed]]:
    """Yield what is wanted of each page of a bucket's listing, asking for the next one meanwhile.

    Parameters
    ----------
    takes
        Whether a key belongs to the backup; others are left out immediately.
    after
        Only objects whose keys come after this one.
    may_skip
        Whether the store may be asked to begin after that key: it must have been seen to sort.
    """
    check, border = PageCheck(reader.call("s3:ListBucket", bucket, prefix)), Border[Listed](attrgetter("key"))
    with GeneratorPool(1, "listing") as ahead:
        following: Future[ListingPage] | None = ahead.submit(
            reader.page, bucket, prefix, after=after if may_skip else None
        )
        number = 0
        while following is not None:
            number += 1
            page = _numbered(following, number)
            check.see([found.key for found in page.objects])
            following = None
            if page.is_truncated:
                following = ahead.submit(reader.page, bucket, prefix, token=check.follow(page.token))
            known = border.repeated + border.changed
            objects = border.without_repeated(page.objects)
            reader.note(_TWICE.format(bucket=bucket), border.repeated + border.changed - known)
            for trouble in page.unreadable:
                reader.miss(
                    f"An object of {bucket} is not in this backup: its key cannot be read from page {number} of the "
                    f"listing: {trouble}."
                )
            yield [found for found in objects if found.key > (after or "") and takes(found.key)]


def _numbered(following: Future[ListingPage], number: int) -> ListingPage:
    try:
        return following.result()
    except StoreError as error:
        if error.code == "LISTING_BROKEN":
            error.add_note(f"It was page {number} of the listing.")
        raise


def merged_prefixes(prefixes: Sequence[str]) -> list[str]:
    """Return prefixes in order, without those that another one covers; the empty one for none: every key."""
    found: list[str] = []
    for prefix in sorted(prefixes or ("",)):
        if not found or not prefix.startswith(found[-1]):
            found.append(prefix)
    return found
