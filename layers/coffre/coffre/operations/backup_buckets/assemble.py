"""Puts the results of parts together in the order of the names, and returns the progress for the next invocation."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from backports import zstd

from coffre.buckets.object_facts import Listed
from coffre.model.backup import Backup
from coffre.model.errors import StoreError
from coffre.model.manifest import PackReference
from coffre.operations.backup_buckets.denied import is_all_denied
from coffre.operations.backup_buckets.job import BucketBackupJob, BucketPartResult, BucketTally
from coffre.operations.backup_buckets.stored_before import NOTHING_STORED, PreviousBackup, StoredSince
from coffre.operations.backup_buckets.unread import Unread
from coffre.vault.bucket_progress import BegunObject, BucketProgress, Counts, ListedObject
from coffre.vault.entry_files import EntryFiles
from coffre.vault.layout import writer_of

# When this number of objects may not be read and none may, others are looked at: the cause may be the role.
_DENIED_AT_FIRST: Final = 20
# The fields of a target that say what is backed up.
_CHOSEN: Final = {"buckets", "secrets", "parameters", "exclude", "coffre"}


class Collector:
    """Takes results in any order, and writes the entries of those that follow without a gap.

    Attributes
    ----------
    position
        Everything up to this name is stored.
    advanced
        Whether this invocation stored anything.
    begun
        Objects after `position` that the time was over in the middle of.
    packs
        Those that this run has stored, lists of entries too, and those of unfinished runs that its entries point at.

    Parameters
    ----------
    past
        The previous backup, whose lists of entries may be pointed at.
    stored
        What unfinished runs have stored.
    """

    def __init__(
        self, job: BucketBackupJob, backup: Backup, past: PreviousBackup, stored: StoredSince = NOTHING_STORED
    ) -> None:
        begun = job.begun
        self._job = job
        self._backup_id = backup.id
        self._stored = stored
        self._waiting: dict[int, BucketPartResult] = {}
        self._next = begun.parts if begun else 0
        self.packs: dict[str, PackReference] = {pack.key: pack for pack in begun.packs} if begun else {}
        self._files = EntryFiles(
            job.vault,
            backup.id,
            self.packs,
            earlier=past.lists,
            written=begun.entries if begun else (),
            last=begun.position if begun else "",
            before=job.before,
        )
        self.position = begun.position if begun else ""
        self.tally = _tally_of(begun) if begun else BucketTally()
        self.advanced = False
        self.begun: list[BegunObject] = []
        self._looked_into: set[str] = set()

    def add(self, result: BucketPartResult) -> None:
        """Take the result of a part.

        Raises
        ------
        StoreError
            `STORE_DENIED`: no object of a bucket may be read.
        """
        if result.begun is not None:  # nothing after it can be taken
            self._keep_packs(result)
            self.begun.append(result.begun)
            return
        self._waiting[result.number] = result
        while self._next in self._waiting:
            self._append(self._waiting.pop(self._next))
            self._next += 1

    def close(self) -> None:
        """Store the last list of entries. A range without entries has none."""
        if self._job.is_range:
            self._files.flush()
        else:
            self._files.close()

    @property
    def own_packs(self) -> list[PackReference]:
        """The packs that this run has stored."""
        return [pack for pack in self.packs.values() if writer_of(pack.key) == self._backup_id]

    @property
    def files(self) -> EntryFiles:
        """The lists of entries."""
        return self._files

    def progress(
        self, invocations: int, previous: str | None, unsorted: Iterable[str], notes: Iterable[str]
    ) -> BucketProgress:
        """Return what the next invocation needs."""
        begun = self._job.begun
        names = {one.name for one in self.begun}
        not_reached = [
            one for one in (begun.begun if begun else ()) if one.name > self.position and one.name not in names
        ]
        counts = Counts(
            objects=dict(self.tally.objects),
            sizes=dict(self.tally.sizes),
            added=self.tally.added,
            changed=self.tally.changed,
            removed=self.tally.removed,
            unread=self.tally.unread.count,
            vanished=self.tally.vanished,
            requests=dict(requests_of(self._job)),
            notes=notes_of(self._job, notes),
            missing=missing_of(self._job),
            compared=self.tally.compared,
            uncompared=self.tally.uncompared,
            attributes_changed=self.tally.attributes_changed,
            references=self.tally.references,
            dangling=self.tally.dangling,
            replaced=self.tally.replaced,
            orphans=self.tally.orphans,
            denied=dict(self.tally.denied),
        )
        return BucketProgress(
            invocations=invocations,
            position=self.position,
            parts=self._next,
            previous=previous,
            entries=tuple(self._files.files),
            packs=tuple(self.packs.values()),
            live_bytes=dict(self.tally.live_bytes),
            counts=counts,
            unread=self.tally.unread.groups,
            source=source_of(self._job),
            begun=(*self.begun, *not_reached),
            unfinished=self._stored.index,
            rest=_rest_of_page(self._job, self.position),
            unsorted=tuple(sorted({*unsorted, *(begun.unsorted if begun else ())})),
        )

    def _append(self, result: BucketPartResult) -> None:
        if result.first:
            with zstd.open(result.lines, "rb") as lines:
                self._files.add(lines, result.first, result.last)
        self._keep_packs(result)
        taken = self._stored.packs
        self.packs.update((key, taken[key]) for key in result.tally.live_bytes if key in taken)
        self.tally.add(result.tally)
        self.position = result.end
        if not self._job.is_range:  # others may read what this one may not: the seal sees all of them
            self._refuse_early()

    def _keep_packs(self, result: BucketPartResult) -> None:
        result.lines.unlink()
        self.packs.update({pack.key: pack for pack in result.packs})
        self.advanced = True

    def _refuse_early(self) -> None:
        """Fail before each object of a bucket is asked for, if none may be read elsewhere in it either."""
        for bucket, denied in self.tally.denied.items():
            if denied >= _DENIED_AT_FIRST and not self.tally.objects[bucket] and bucket not in self._looked_into:
                self._looked_into.add(bucket)
                group = self.tally.unread.of(bucket)
                if group is None or is_all_denied(self._job, bucket, group.names[-1].partition("/")[2]):
                    self.refuse_denied()

    def refuse_denied(self) -> None:
        """Fail if no object of a bucket may be read: that is no backup with exceptions."""
        for bucket, denied in self.tally.denied.items():
            if denied and not self.tally.objects[bucket]:
                group = self.tally.unread.of(bucket)
                raise StoreError(
                    f"None of {denied} objects of the bucket {bucket} could be read.",
                    code="STORE_DENIED",
                    detail=group.reason if group else None,
                    hint=self._job.reader.denied_hint(bucket),
                )


def requests_of(job: BucketBackupJob) -> Mapping[str, int]:
    """Return the number of requests to the buckets' store in all invocations, by operation."""
    before = job.begun.counts.requests if job.begun else {}
    own = job.reader.requests
    return {name: before.get(name, 0) + own[name] for name in sorted({*before, *own})}


def notes_of(job: BucketBackupJob, notes: Iterable[str]) -> dict[str, int]:
    """Return the notes of all invocations, with how often each occurred."""
    before = Counter(job.begun.counts.notes if job.begun else {})
    new = Counter({text: 1 for text in notes if text not in before})
    return dict(before + job.reader.notes + new)


def missing_of(job: BucketBackupJob) -> dict[str, int]:
    """Return what could not be read of objects in all invocations, with how often each occurred."""
    return dict(Counter(job.begun.counts.missing if job.begun else {}) + job.reader.missing)


def source_of(job: BucketBackupJob) -> str:
    """Return what is backed up, from where, and for which keys, to compare two runs."""
    chosen = " ".join([job.target.model_dump_json(include=_CHOSEN), *sorted(job.recipients)])
    return f"{job.reader.url} {hashlib.sha256(chosen.encode()).hexdigest()}"


def take_up(job: BucketBackupJob) -> None:
    """Give the reader what an earlier invocation has listed, and not stored, of the page that it ended in."""
    if job.begun is not None and job.begun.rest is not None:
        job.reader.take_up([Listed(one.key, one.size, one.etag, one.last_modified) for one in job.begun.rest])


def _rest_of_page(job: BucketBackupJob, position: str) -> tuple[ListedObject, ...] | None:
    bucket, _, key = position.partition("/")
    rest = job.reader.rest_of_page(bucket, key)
    if rest is None:
        return None
    return tuple(
        ListedObject(key=one.key, size=one.size, etag=one.etag, last_modified=one.last_modified) for one in rest
    )


def _tally_of(begun: BucketProgress) -> BucketTally:
    counts = begun.counts
    tally = BucketTally(
        added=counts.added,
        changed=counts.changed,
        removed=counts.removed,
        vanished=counts.vanished,
        compared=counts.compared,
        uncompared=counts.uncompared,
        attributes_changed=counts.attributes_changed,
        references=counts.references,
        dangling=counts.dangling,
        replaced=counts.replaced,
        orphans=counts.orphans,
        unread=Unread(begun.unread),
    )
    tally.objects.update(counts.objects)
    tally.sizes.update(counts.sizes)
    tally.live_bytes.update(begun.live_bytes)
    tally.denied.update(counts.denied)
    return tally
