"""Checks of the destinations of copies."""

from __future__ import annotations

from collections.abc import Iterator

from coffre.model.checkup import Severity
from coffre.policy.checks.answers import Refused
from coffre.policy.checks.check import Finding, Unread, check
from coffre.policy.checks.copies_facts import CopiesFacts

type Found = Iterator[Finding | Unread]


@check(
    "COPY_UNREACHABLE",
    Severity.WARNING,
    CopiesFacts,
    fine="Each copy can be listed.",
    cure="Check the destination in the configuration, its secret and its permissions (docs/destinations.md).",
)
def copy_unreachable(copies: CopiesFacts) -> Found:
    """Find destinations that cannot be listed."""
    for place in copies.places:
        if place.trouble is None:
            continue
        if not place.is_certain:
            yield Unread(f"The copy {place.name} could not be looked at from here ({place.trouble}).")
        else:
            yield Finding(
                f"The copy {place.name} cannot be listed: no backup can be copied there, and none restored from it.",
                str(place.trouble),
                place.trouble.hint,
                place.name,
            )


@check(
    "COPY_NOT_WRITABLE",
    Severity.WARNING,
    CopiesFacts,
    fine="Each copy takes new backups.",
    cure="Give the function copy s3:PutObject there (CopyBuckets, or the destination's secret; docs/destinations.md).",
)
def copy_not_writable(copies: CopiesFacts) -> Found:
    """Find destinations that can be listed, and take nothing."""
    for place in copies.places:
        if place.written is not None:
            yield Finding(
                f"Nothing can be written to the copy {place.name}: no backup can be copied there.",
                str(place.written),
                place.written.hint,
                place.name,
            )


@check(
    "COPIES_IN_ONE_PLACE",
    Severity.WARNING,
    CopiesFacts,
    fine="Each copy has a place of its own.",
    cure="Give each copy a bucket or a prefix of its own, or remove one (coffre config edit).",
)
def copies_in_one_place(copies: CopiesFacts) -> Found:
    """Find copies that are one: the retention of each deletes what the other keeps."""
    for place in copies.places:
        if place.twin is not None:
            yield Finding(
                f"The copies {place.twin} and {place.name} are in the same place: the shorter retention of the two "
                "deletes backups there that the other one counts on.",
                subject=place.name,
            )


@check(
    "COPY_LOCKS_OFF",
    Severity.WARNING,
    CopiesFacts,
    fine="Each copy takes the locks that it is configured for.",
    cure="Enable Object Lock on the bucket, or set object_lock of the destination to off (docs/immutability.md).",
)
def copy_locks_off(copies: CopiesFacts) -> Found:
    """Find destinations that are to lock, and cannot."""
    for place in copies.places:
        if place.locks is not None:
            yield Finding(
                f"Backups in the copy {place.name} are to be locked, and the bucket takes no locks.",
                str(place.locks),
                place.locks.hint,
                place.name,
            )


@check(
    "COPY_VERSIONING_OFF",
    Severity.WARNING,
    CopiesFacts,
    fine="Each copy in AWS keeps deleted objects as older versions.",
    cure="Enable versioning on the bucket.",
)
def copy_versioning_off(copies: CopiesFacts) -> Found:
    """Find buckets of copies in AWS without versioning. Other stores are not asked."""
    for place in copies.places:
        if place.trouble is not None or place.versioning in (None, "Enabled"):
            continue
        if isinstance(place.versioning, Refused):
            yield place.versioning.unread(f"Versioning of the copy {place.name}")
        else:
            yield Finding(
                f"The copy {place.name} has no versioning: what is deleted by mistake or by an attacker is lost "
                "immediately.",
                f"versioning: {place.versioning}",
                f"aws s3api put-bucket-versioning --bucket {place.bucket} --versioning-configuration Status=Enabled",
                place.name,
            )


@check(
    "COPY_NOT_ELSEWHERE",
    Severity.NOTE,
    CopiesFacts,
    fine="No copy is known to be where the vault is.",
    cure="Put one copy into another region and another account, or at another provider (docs/copies.md).",
)
def copy_not_elsewhere(copies: CopiesFacts) -> Found:
    """Find copies that are lost with the vault."""
    for place in copies.places:
        if place.near is not None:
            yield Finding(
                f"The copy {place.name} is in {place.near} as the vault: what takes the one can take the other.",
                subject=place.name,
            )
