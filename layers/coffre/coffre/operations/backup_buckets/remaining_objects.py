"""The objects of a target in the order of their names: those that a run, or a range of it, has still to look at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from coffre.buckets.changes import SourceObject
from coffre.buckets.listing import LOOKED_AT, LOOKED_AT_ELSEWHERE, SortedListing, merged_prefixes, pages_of
from coffre.buckets.object_facts import Listed
from coffre.model.bucket_target import BucketSource
from coffre.model.errors import StoreError
from coffre.operations.backup_buckets.job import BucketBackupJob
from coffre.operations.runs.progress import Meter
from coffre.policy.object_keys import key_choice


@dataclass(frozen=True)
class Names:
    """Lists the buckets of a target, from where the job begins to where it ends.

    Parameters
    ----------
    unsorted
        Gets the buckets whose listing had to be sorted.
    """

    job: BucketBackupJob
    meter: Meter
    unsorted: set[str]

    def found(self) -> Iterator[SourceObject]:
        """Yield the objects.

        Raises
        ------
        StoreError
            `LISTING_UNSORTED`: a range of a listing that is out of order. And what `SortedListing` raises.
        """
        begun, end = self.job.begun, self.job.end
        position = begun.position if begun else ""
        for source in sorted(self.job.target.buckets, key=lambda bucket: f"{bucket.name}/"):
            folder = f"{source.name}/"
            if end is not None and end < folder:
                return
            if position.startswith(folder):
                yield from self._in_bucket(source, position.removeprefix(folder))
            elif position < folder:
                yield from self._in_bucket(source, None)

    def _in_bucket(self, source: BucketSource, after: str | None) -> Iterator[SourceObject]:
        takes = key_choice(source.prefixes, source.include, source.exclude)
        begun, folder, end = self.job.begun, f"{source.name}/", self.job.end
        last = end.removeprefix(folder) if end is not None and end.startswith(folder) else None
        for prefix in merged_prefixes(source.prefixes):
            if after is not None and prefix < after and not after.startswith(prefix):
                continue
            if last is not None and last < prefix:
                return
            pages = pages_of(
                self.job.reader,
                source.name,
                prefix,
                takes=takes,
                after=after if after is not None and after.startswith(prefix) else None,
                may_skip=begun is None or source.name not in begun.unsorted,
            )
            call = self.job.reader.call("s3:ListBucket", source.name, prefix)
            looked_at = self._looked_at
            if self.job.is_range:
                pages, looked_at = _in_order_until(pages, source.name, last), 1
            yield from self._read(SortedListing(pages, call, self.job.scratch, looked_at))

    def _read(self, listing: SortedListing) -> Iterator[SourceObject]:
        bucket = listing.call.bucket
        self.meter.begin("listing")
        for stretch in listing.stretches():
            if not listing.is_sorted:
                self.unsorted.add(bucket)
            known = self.meter.read()
            self.meter.begin(
                "objects",
                total_bytes=known.total_bytes + stretch.size,
                total_objects=known.total_objects + stretch.count,
            )
            for found in stretch.objects:
                yield SourceObject(f"{bucket}/{found.key}", bucket, found)

    @property
    def _looked_at(self) -> int:
        is_aws = self.job.target.store.endpoint is None
        return self.job.looked_at or (LOOKED_AT if is_aws else LOOKED_AT_ELSEWHERE)


def _in_order_until(pages: Iterator[Sequence[Listed]], bucket: str, last: str | None) -> Iterator[Sequence[Listed]]:
    """Yield what is in a range, up to the key `last`; None: all that follow."""
    before = ""
    for page in pages:
        for found in page:
            if found.key < before:
                raise StoreError(
                    f"The listing of {bucket} is not in the order of the names: {found.key!a} comes after {before!a}.",
                    code="LISTING_UNSORTED",
                    hint="Nothing was published. Ranges of names can be read only from a store that lists in order. "
                    "Set limits.spread of the target to never: then one function after another reads the bucket.",
                )
            before = found.key
        yield [found for found in page if last is None or found.key <= last]
        if last is not None and before > last:
            return
