"""What is known about the buckets of a target, and about the store that they are in."""

from __future__ import annotations

from dataclasses import dataclass

from coffre.policy.checks.answers import Answer, Trouble


@dataclass(frozen=True, slots=True)
class SourceBucket:
    """One bucket as the backup function sees it with its own credentials.

    Attributes
    ----------
    listed
        What listing raised; None: nothing.
    empty_prefixes
        Of the configured prefixes those without any object (`""`: the whole bucket).
    read
        What reading the first object raised.
    tagged
        What reading its tags raised.
    has_more
        A first page of a listing does not show all objects.
    objects
        How many the first pages show.
    versioning
        `Enabled`, `Suspended` or `Off`, of a bucket in AWS.
    is_ours
        The bucket belongs to the vault's account; None: it is not in AWS, or that is not known.
    """

    name: str
    listed: Trouble | None = None
    empty_prefixes: tuple[str, ...] = ()
    read: Trouble | None = None
    tagged: Trouble | None = None
    objects: int = 0
    has_more: bool = False
    versioning: Answer[str] | None = None
    is_ours: bool | None = None


@dataclass(frozen=True, slots=True)
class StoreSecret:
    """The secret with the access key of a store; `trouble` is what reading it raised."""

    name: str
    trouble: Trouble | None = None


@dataclass(frozen=True, slots=True)
class Sources:
    """The buckets of one target; `last_objects` is how many objects its newest backup has."""

    buckets: tuple[SourceBucket, ...]
    last_objects: int | None = None
