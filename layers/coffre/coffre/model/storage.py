"""Objects that are restored from a backup of buckets: which, where to, and what became of them."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from pydantic import Field, model_validator

from coffre.model.bucket_target import BucketName
from coffre.model.document import Document, FrozenModel
from coffre.model.kinds import Mode as Mode
from coffre.model.safety import Safety


class ObjectChoice(Document):
    """Which objects of a backup: all, those of one bucket, those whose keys start with `prefix`, or `keys`.

    `prefix` and `keys` are of the one bucket, which has to be named when the backup has several. `names` are keys of
    lists in the vault with whole names (`<bucket>/<key>`), sorted, each list before the next.
    """

    bucket: BucketName | None = None
    prefix: str = ""
    keys: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def is_listed(self) -> bool:
        """Whether single objects are meant, each by its name."""
        return bool(self.keys or self.names)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.keys and (self.prefix or self.names):
            raise ValueError("keys, prefix and names exclude each other")
        if self.names and self.prefix:
            raise ValueError("names and prefix exclude each other")
        return self


class StorageScope(ObjectChoice):
    """Which objects are restored, where to, and what may happen to existing ones.

    `to` is `BUCKET` or `BUCKET/PREFIX`; without it each object goes where it was. Objects of several buckets get the
    name of theirs in front of the key. `no_safety` changes existing objects although no backup holds them. `dry_run`
    only says what would happen.
    """

    to: str | None = Field(default=None, pattern=r"^[^/\\\x00-\x1f\x7f]{1,255}(/.*)?$")
    mode: Mode = Mode.MISSING
    no_safety: bool = False
    dry_run: bool = False

    @property
    def touches(self) -> bool:
        """Whether existing objects may change."""
        return self.mode is not Mode.MISSING

    @model_validator(mode="after")
    def _mirrors_a_whole(self) -> Self:
        if self.mode is Mode.MIRROR and self.is_listed:
            raise ValueError("mirror is for whole buckets or prefixes: of chosen keys say overwrite")
        return self

    @model_validator(mode="after")
    def _declines_what_is_needed(self) -> Self:
        if self.no_safety and not self.touches:
            raise ValueError("no_safety is for overwrite and mirror: nothing else changes existing objects")
        return self


class Objects(FrozenModel):
    """A number of objects and their bytes."""

    count: int = 0
    size_bytes: int = 0


class StorageOutcome(StrEnum):
    """What became of one object. Of a dry run: what would."""

    RESTORED = "restored"
    OVERWRITTEN = "overwritten"
    SAME = "same"
    LEFT = "left"
    FAILED = "failed"
    DELETED = "deleted"


class StorageResult(FrozenModel):
    """What a restore of objects did so far, or would do.

    `store_secret` names the secret with the destination's store, None: the target's own.
    `restored` did not exist, `overwritten` were different, `same` existed as in the backup, `left` are different
    and were not touched, `deleted` are not in the backup. `examples` has the first of each of these, by their places at
    the destination. `failures` are the first that failed, each with why; `failed_lists` are keys of lists in the vault
    with the names of all that could not be restored.
    `lost` are lists of entries that are damaged: nothing of what they name was restored.
    `lacking` says what the destination does not take, `notes` what else to know about it.
    """

    scope: StorageScope
    store_secret: str | None = None
    restored: Objects = Objects.model_construct()
    overwritten: Objects = Objects.model_construct()
    same: Objects = Objects.model_construct()
    left: Objects = Objects.model_construct()
    failed: Objects = Objects.model_construct()
    deleted: Objects = Objects.model_construct()
    examples: dict[StorageOutcome, tuple[str, ...]] = Field({})
    failures: tuple[str, ...] = ()
    failed_lists: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    with_acl: int = 0

    @property
    def written(self) -> int:
        """How many objects were written."""
        return self.restored.count + self.overwritten.count


class StorageStep(StrEnum):
    """What a restore is doing when it continues in another invocation."""

    WRITE = "write"
    DELETE = "delete"


class UploadedPart(FrozenModel):
    """A part of an upload that the store has; `checksum` is its SHA-256 in base 64, where the store keeps that."""

    etag: str
    checksum: str | None = None


class BegunUpload(FrozenModel):
    """An upload of a large object that one invocation could not finish: its parts so far, each of `part_bytes`.

    `name` is the object's in the backup, `bucket` and `key` are where it goes.
    """

    name: str
    bucket: str
    key: str
    upload_id: str
    part_bytes: int
    parts: tuple[UploadedPart, ...] = ()

    @property
    def size(self) -> int:
        """How many bytes the store has."""
        return len(self.parts) * self.part_bytes


class StorageState(FrozenModel):
    """How far a restore is that continues in another invocation; it is kept in the vault meanwhile.

    Everything up to the name `after` is done in this step, in the buckets and the store that `destination` names.
    `phases_ms` is how long each took. `most_overwritten` and `most_deleted` are what was confirmed.
    `safety` is about the backup of what is overwritten. `begun` are uploads of objects after `after` that the next
    invocation continues.
    """

    restore_id: str
    invocation: int = 1
    step: StorageStep = StorageStep.WRITE
    after: str = ""
    destination: str = ""
    result: StorageResult
    phases_ms: dict[str, int] = Field({})
    most_overwritten: int = 0
    most_deleted: int = 0
    safety: Safety | None = None
    begun: tuple[BegunUpload, ...] = ()
