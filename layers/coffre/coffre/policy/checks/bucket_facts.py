"""What is known about the buckets of a target, and about the store that they are in."""

from __future__ import annotations

from dataclasses import dataclass

from coffre.policy.checks.answers import Answer
from coffre.policy.checks.vault_facts import Trouble


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
class Sources:
    """The buckets of one target.

    Attributes
    ----------
    secret
        The name of the secret with the store's access key; None: the function's role is used.
    secret_read
        What reading or parsing it raised; then `buckets` is empty.
    endpoint
        None: AWS.
    last_objects
        How many objects the newest backup has.
    """

    target: str
    secret: str | None
    secret_read: Trouble | None
    endpoint: str | None
    buckets: tuple[SourceBucket, ...] = ()
    last_objects: int | None = None
