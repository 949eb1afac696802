"""What is known about the vault: as its bucket is set up, and what the backup function can do with it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from coffre.policy.checks.answers import Answer, Trouble


@dataclass(frozen=True, slots=True)
class LifecycleRule:
    """One enabled rule of a bucket's lifecycle, as far as it is about current objects.

    Attributes
    ----------
    prefix
        It is about keys that start like this.
    needs_tag
        It is only about objects with a tag. Coffre's have none.
    expires
        It deletes current objects.
    archives_to
        Storage classes that it moves current objects to.
    """

    id: str
    prefix: str
    needs_tag: bool = False
    expires: bool = False
    archives_to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PublicAccess:
    """Who of everyone gets in.

    Attributes
    ----------
    blocked
        The bucket's own public access block has all four settings on.
    by_policy, by_grant
        Its policy makes it public; its grants do. None: not asked, since `blocked` decides.
    """

    blocked: Answer[bool]
    by_policy: Answer[bool] | None = None
    by_grant: Answer[bool] | None = None


@dataclass(frozen=True, slots=True)
class VaultSettings:
    """How the vault's bucket is set up, read with a person's own credentials.

    Attributes
    ----------
    prefix
        Where in the bucket the vault is; without a slash at its end, empty for the whole bucket.
    versioning
        `Enabled`, `Suspended` or `Off`.
    copied_to
        Other accounts that the bucket is replicated to.
    """

    bucket: str
    prefix: str
    versioning: Answer[str]
    public: PublicAccess
    lifecycle: Answer[tuple[LifecycleRule, ...]]
    copied_to: Answer[tuple[str, ...]]


class WriteTest(StrEnum):
    """How it was found out whether the function may write.

    `MANIFEST`: the newest manifest was sent once more, under the condition that it does not exist. `PACK`: a small pack
    was stored, which rotation sweeps.
    """

    MANIFEST = "manifest"
    PACK = "pack"


@dataclass(frozen=True, slots=True)
class VaultReach:
    """Whether the backup function can list the vault with its own role; `trouble` is what that raised."""

    bucket: str
    trouble: Trouble | None = None


@dataclass(frozen=True, slots=True)
class VaultUse:
    """What the backup function saw when it used a vault that it can list.

    Attributes
    ----------
    function_region, bucket_region
        None: the store does not say.
    tested
        How writing was tried; None: nothing is stored yet and no probe was asked for.
    written
        What writing raised.
    keeps_checksums
        Whether the store returns the SHA-256 that an object was stored with; None: not seen.
    lock_mode
        The stack's parameter ObjectLock: `off`, `governance` or `compliance`.
    locks
        What asking for the bucket's Object Lock raised.
    """

    bucket: str
    function_region: str | None
    bucket_region: str | None
    tested: WriteTest | None = None
    written: Trouble | None = None
    keeps_checksums: bool | None = None
    lock_mode: str = "off"
    locks: Trouble | None = None


@dataclass(frozen=True, slots=True)
class LockProbe:
    """What became of two small objects, of which one was locked, when their versions were to be deleted.

    Attributes
    ----------
    free_deleted
        The version without a lock was deleted. If not, the caller may delete none, and the probe shows nothing.
    locked_deleted
        The locked version was deleted.
    refusal
        The store's words when it refused.
    """

    key: str
    mode: str
    free_deleted: Answer[bool]
    locked_deleted: Answer[bool] | None = None
