"""What happens to one object: left, found the same, or written back whole and checked."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from coffre.buckets.object_facts import Listed
from coffre.buckets.writer import BucketWriter
from coffre.buckets.writer_likeness import Likeness
from coffre.buckets.writer_upload import PART_BYTES, part_bytes_of
from coffre.model.errors import CoffreError, EventError, RestoreError, RunStoppedError
from coffre.model.manifest import Entry, ObjectFacts
from coffre.model.storage import BegunUpload, Mode, StorageOutcome, StorageScope
from coffre.operations.restore_buckets.consent import ChangeAllowance
from coffre.operations.restore_buckets.destination_map import DestinationMap, Step
from coffre.vault.codec import FrameDecoder
from coffre.vault.frame_cache import FrameCache
from coffre.vault.read_ahead import plaintext_ahead
from coffre.vault.vault import Vault, check_entry

# Larger objects go in parts.
_ONE_REQUEST_BYTES: Final = 16 * 1024 * 1024
# Objects of this size are finished by the next invocation when the time is over.
PAUSED_BYTES: Final = 256 * 1024 * 1024
# What a large object takes while it is restored: frames ahead, and parts on their way.
_LARGE_BYTES: Final = 64 * 1024 * 1024
# Of the largest objects: parts on their way, and the one that is filled.
_PARTS: Final = 5
# A small one: stored, compressed and open, and a request.
_COPIES: Final = 3
_REQUEST_BYTES: Final = 64 * 1024
_MOST_KEY_BYTES: Final = 1024
# Of one invocation: some minutes. What is left is taken for another object than the backup's.
_READ_BYTES: Final = 16 * 1024**3

# The store as a whole cannot be used: no other object would fare better.
_HOPELESS: Final = frozenset(
    {"BUCKET_MISSING", "BUCKET_REGION", "STORE_CREDENTIALS", "CREDENTIALS_EXPIRED", "CLOCK_SKEWED", "STORE_TLS"}
    | {"DISK_FULL", "IDENTITY_MISSING", "WRONG_IDENTITY", "DESTINATION_CHANGED"}
)


@dataclass(frozen=True)
class Done:
    """What became of one object; `outcome` is None when it was not begun or not finished because the run stops.

    `name` is the one in the backup, `place` where it is or goes at the destination (`<bucket>/<key>` both). `is_extra`:
    the backup does not have it.
    """

    name: str
    place: str
    size_bytes: int
    outcome: StorageOutcome | None
    error: CoffreError | None = None
    with_acl: bool = False
    is_extra: bool = False


class ReadAllowance:
    """How many bytes may still be read at the destination, only to learn what exists. Used by several threads."""

    def __init__(self, size_bytes: int = _READ_BYTES) -> None:
        self._left = size_bytes
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        """Take this number of bytes, or none when too few are left."""
        with self._lock:
            if size > self._left:
                return False
            self._left -= size
            return True


class Uploads:
    """Uploads of large objects that one invocation begins and another finishes. Safe to use from several threads.

    Parameters
    ----------
    begun
        Those of earlier invocations.
    """

    def __init__(self, begun: Iterable[BegunUpload] = ()) -> None:
        self._begun = {one.name: one for one in begun}
        self._paused: dict[str, BegunUpload] = {}
        self._lock = threading.Lock()

    def take(self, name: str, bucket: str, key: str) -> BegunUpload | None:
        """Return what was begun of an object, if it goes to the same place."""
        with self._lock:
            found = self._begun.pop(name, None)
        return found if found is not None and (found.bucket, found.key) == (bucket, key) else None

    def pause(self, name: str, upload: BegunUpload) -> None:
        """Keep an upload for the next invocation."""
        with self._lock:
            self._paused[name] = upload.model_copy(update={"name": name})

    @property
    def kept(self) -> tuple[BegunUpload, ...]:
        """What the next invocation continues: what was paused, and what this one has not come to."""
        return (*self._paused.values(), *self._begun.values())

    def size_of(self, name: str) -> int:
        """Return how many bytes the store has of an object that was paused."""
        paused = self._paused.get(name)
        return paused.size if paused else 0


@dataclass(frozen=True)
class Writer:
    """Decides and writes. Safe to use from several threads.

    With `pauses`, `uploads` that are stopped are left to the next invocation.
    """

    vault: Vault
    decoder: FrameDecoder
    cache: FrameCache
    places: DestinationMap
    scope: StorageScope
    stop: threading.Event
    allowance: ChangeAllowance = field(default_factory=ChangeAllowance)
    reading: ReadAllowance = field(default_factory=ReadAllowance)
    uploads: Uploads = field(default_factory=Uploads)
    pauses: bool = False

    def restore(self, step: Step) -> Done:
        """Do what the scope says with one object.

        Raises
        ------
        CoffreError
            Only what no other object would fare better with.
        """
        size = step.entry.size if step.entry else 0
        done = Done(
            step.name, step.place, size, None, with_acl=bool(step.entry and step.entry.object and step.entry.object.acl)
        )
        if self.stop.is_set():
            return done
        try:
            return replace(done, outcome=self._restore(step))
        except RunStoppedError:
            return done
        except CoffreError as error:
            if error.code in _HOPELESS:
                raise
            return replace(done, outcome=StorageOutcome.FAILED, error=error)

    def delete(self, step: Step) -> Done:
        """Delete what the backup does not have; raises as `restore` does."""
        done = Done(step.name, step.place, step.there.size if step.there else 0, None, is_extra=True)
        if self.stop.is_set():
            return done
        try:
            if not self.scope.dry_run:
                self.allowance.take(StorageOutcome.DELETED)
                self.places.bucket(step.bucket).delete(step.key)
        except CoffreError as error:
            if error.code in _HOPELESS:
                raise
            return replace(done, outcome=StorageOutcome.FAILED, error=error)
        return replace(done, outcome=StorageOutcome.DELETED)

    def _restore(self, step: Step) -> StorageOutcome:
        if step.entry is None:
            raise EventError(f"The backup has no object {step.name}.", code="NOT_IN_BACKUP")
        bucket, facts = self.places.bucket(step.bucket), step.entry.object or ObjectFacts()
        there = step.there if step.known else bucket.find(step.key)
        if there is not None and (outcome := self._of_what_is_there(step, step.entry, facts, there)) is not None:
            return outcome
        _refuse_unwritable(step, facts)
        if not self.scope.dry_run:
            try:
                self._write(bucket, step.key, step.entry, facts, if_absent=there is None)
            except CoffreError as error:
                if error.code == "OBJECT_EXISTS":  # it came meanwhile
                    found = self._compared(bucket, step, step.entry, facts)
                    return StorageOutcome.SAME if found is Likeness.SAME else StorageOutcome.LEFT
                raise
        return StorageOutcome.RESTORED if there is None else StorageOutcome.OVERWRITTEN

    def _of_what_is_there(self, step: Step, entry: Entry, facts: ObjectFacts, there: Listed) -> StorageOutcome | None:
        """Return what becomes of an object whose place is taken; None: it is overwritten."""
        looks_same = (there.size, there.etag) == (entry.size, facts.etag) and there.etag is not None
        if facts.unread or (self.scope.mode is Mode.MISSING and looks_same):
            return StorageOutcome.SAME if looks_same else StorageOutcome.LEFT
        bucket = self.places.bucket(step.bucket)
        found = self._compared(bucket, step, entry, facts) if there.size == entry.size else Likeness.OTHER
        if self.scope.mode is Mode.MISSING:
            return StorageOutcome.LEFT if found is Likeness.OTHER else StorageOutcome.SAME
        if found is Likeness.SAME:
            return StorageOutcome.SAME
        if not self.scope.dry_run:
            self.allowance.take(StorageOutcome.OVERWRITTEN)
        if found is Likeness.ALL_BUT_TAGS and (self.scope.dry_run or bucket.set_tags(step.key, facts.tags)):
            return StorageOutcome.OVERWRITTEN
        return None

    def _compared(self, bucket: BucketWriter, step: Step, entry: Entry, facts: ObjectFacts) -> Likeness:
        return bucket.compare(
            step.key,
            facts,
            size=entry.size,
            sha256=entry.sha256,
            may_read=self.reading.take,
            check=self._refuse_when_stopped,
        )

    def _refuse_when_stopped(self) -> None:
        if self.stop.is_set():
            raise RunStoppedError("The run is stopped.")

    def _write(self, bucket: BucketWriter, key: str, entry: Entry, facts: ObjectFacts, *, if_absent: bool) -> None:
        if entry.size > _ONE_REQUEST_BYTES:
            begun = self.uploads.take(entry.name, bucket.name, key)
            paused = bucket.upload(
                key,
                lambda start: self._pieces(entry, start),
                facts,
                size=entry.size,
                if_absent=if_absent,
                sha256=entry.sha256,
                begun=begun,
                pauses=self.pauses and entry.size >= PAUSED_BYTES,
            )
            if paused is not None:
                self.uploads.pause(entry.name, paused)
                raise RunStoppedError("The run is stopped.")
        else:
            bucket.put(key, self._body(entry), facts, sha256=entry.sha256, if_absent=if_absent)

    def _pieces(self, entry: Entry, start: int) -> Iterator[bytes]:
        for piece in plaintext_ahead(self.vault, self.decoder, entry, start=start):
            self._refuse_when_stopped()
            yield piece

    def _body(self, entry: Entry) -> bytes:
        if len(entry.frames) == 1 and entry.frames[0].size != entry.size:
            return cut_out(entry, self.cache.read(entry.frames[0]))
        return b"".join(self.vault.read_entry(entry, self.decoder))


def cut_out(entry: Entry, solid: bytes) -> bytes:
    """Return a small entry's bytes out of the frame that it shares, checked.

    Raises
    ------
    IntegrityError
        Code `ENTRY_DAMAGED`.
    """
    body = solid[entry.start : entry.start + entry.size]
    check_entry(entry, hashlib.sha256(body).hexdigest())
    return body


def cost_of(step: Step) -> int:
    """Return about how much memory an object takes while it is restored."""
    size = step.entry.size if step.entry else 0
    if size > _ONE_REQUEST_BYTES:
        return _LARGE_BYTES + _PARTS * (part_bytes_of(size) - PART_BYTES)
    return _COPIES * size + _REQUEST_BYTES


def _refuse_unwritable(step: Step, facts: ObjectFacts) -> None:
    if facts.unread:
        raise RestoreError(
            f"The bytes of {step.name} are not in the backup: they could not be read then.",
            code="OBJECT_UNREAD",
            detail=facts.unread,
            hint="An older backup may have them: coffre list",
        )
    if len(step.key.encode("utf-8", "surrogatepass")) > _MOST_KEY_BYTES:
        raise RestoreError(
            f"The key of {step.name} would be longer than the {_MOST_KEY_BYTES:,} bytes that a store takes.",
            code="KEY_TOO_LONG",
            hint="Restore it below a shorter prefix.",
        )
