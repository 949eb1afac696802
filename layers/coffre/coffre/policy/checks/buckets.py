"""Checks of the buckets that are backed up."""

from __future__ import annotations

from collections.abc import Iterator

from coffre.model.checkup import Severity
from coffre.policy.checks.answers import Refused
from coffre.policy.checks.bucket_facts import SourceBucket, Sources, StoreSecret
from coffre.policy.checks.check import Finding, Unread, check

type Found = Iterator[Finding | Unread]


@check(
    "STORE_SECRET_UNUSABLE",
    Severity.BLOCKER,
    StoreSecret,
    fine="The secret with the store's access key can be used.",
    cure='Store JSON in it: {"access_key_id": "...", "secret_access_key": "..."} (docs/storage.md).',
)
def store_secret_unusable(secret: StoreSecret) -> Found:
    """Find a secret that is missing, closed, or without an access key."""
    if secret.trouble is not None:
        yield Finding(
            "The access key of the store cannot be used.", str(secret.trouble), secret.trouble.hint, secret.name
        )


@check(
    "BUCKET_UNREADABLE",
    Severity.BLOCKER,
    Sources,
    fine="The buckets can be listed and read.",
    cure="Name the bucket in the parameter SourceBuckets, and its KMS key in SourceKeys; or check the store's secret.",
)
def bucket_unreadable(sources: Sources) -> Found:
    """Find a bucket that cannot be listed, or whose first object cannot be read."""
    for bucket in sources.buckets:
        if bucket.listed is not None and bucket.listed.code != "BUCKET_REGION":
            yield Finding(
                f"The bucket {bucket.name} cannot be listed.", str(bucket.listed), bucket.listed.hint, bucket.name
            )
        elif bucket.listed is not None:
            yield _unlisted(bucket)
        elif bucket.read is not None:
            yield Finding(
                f"An object of {bucket.name} cannot be read.", str(bucket.read), bucket.read.hint, bucket.name
            )


@check(
    "BUCKET_REGION",
    Severity.BLOCKER,
    Sources,
    fine="The buckets are in the region that is asked.",
    cure="Set store.region of the target in the configuration (docs/storage.md).",
)
def bucket_region(sources: Sources) -> Found:
    """Find a bucket in another region than its requests are signed for."""
    for bucket in sources.buckets:
        if bucket.listed is not None and bucket.listed.code == "BUCKET_REGION":
            yield Finding(
                f"The bucket {bucket.name} is in another region than the one that is asked.",
                str(bucket.listed),
                subject=bucket.name,
            )
        elif bucket.listed is not None:
            yield _unlisted(bucket)


@check(
    "BUCKET_EMPTY",
    Severity.WARNING,
    Sources,
    fine="Every bucket and prefix has objects.",
    cure="Correct the target's buckets and prefixes in the configuration, if this is not meant.",
)
def bucket_empty(sources: Sources) -> Found:
    """Find buckets and prefixes without any object."""
    before = "" if sources.last_objects is None else f"; the newest backup of the target has {sources.last_objects:,}"
    for bucket in sources.buckets:
        if bucket.listed is not None:
            yield _unlisted(bucket)
        elif bucket.empty_prefixes:
            named = ", ".join(f'"{prefix}"' for prefix in bucket.empty_prefixes if prefix)
            words = f"No object of {bucket.name} begins with {named}." if named else f"{bucket.name} is empty."
            more = "more than " if bucket.has_more else ""
            yield Finding(words, f"{more}{bucket.objects:,} objects{before}", subject=bucket.name)


@check(
    "BUCKET_TAGS_UNREADABLE",
    Severity.WARNING,
    Sources,
    fine="Tags of objects can be read.",
    cure="Allow s3:GetObjectTagging on the objects of the bucket.",
)
def bucket_tags_unreadable(sources: Sources) -> Found:
    """Find buckets of whose objects no tags are backed up."""
    for bucket in sources.buckets:
        if bucket.listed is not None:
            yield _unlisted(bucket)
        elif bucket.tagged is not None:
            yield Finding(
                f"Tags of objects of {bucket.name} cannot be read: they are not in backups.",
                str(bucket.tagged),
                subject=bucket.name,
            )


@check(
    "BUCKET_VERSIONING_OFF",
    Severity.NOTE,
    Sources,
    fine="Every bucket in AWS keeps older versions.",
    cure="Enable versioning on the bucket.",
)
def bucket_versioning_off(sources: Sources) -> Found:
    """Find buckets in AWS without versioning. Other stores are not asked."""
    for bucket in sources.buckets:
        if bucket.listed is not None:
            yield _unlisted(bucket)
        elif isinstance(bucket.versioning, Refused):
            yield bucket.versioning.unread(f"Versioning of the bucket {bucket.name}")
        elif bucket.versioning not in (None, "Enabled"):
            yield Finding(
                f"{bucket.name} keeps no older versions: what changes between two backups cannot be restored.",
                f"versioning: {bucket.versioning}",
                f"aws s3api put-bucket-versioning --bucket {bucket.name} --versioning-configuration Status=Enabled",
                bucket.name,
            )


@check(
    "VAULT_SAME_ACCOUNT_AS_SOURCE",
    Severity.WARNING,
    Sources,
    fine="No bucket belongs to the account of the vault.",
    cure="Deploy Coffre in an account of its own, or lock the vault: ObjectLock=compliance (docs/immutability.md).",
)
def vault_same_account_as_source(sources: Sources) -> Found:
    """Find buckets that the account of the vault owns."""
    for bucket in sources.buckets:
        if bucket.listed is not None:
            yield _unlisted(bucket)
        elif bucket.is_ours:
            yield Finding(
                f"{bucket.name} and the vault are in one AWS account: an attacker who takes it over can delete both.",
                "the account of the vault owns the bucket",
                subject=bucket.name,
            )


def _unlisted(bucket: SourceBucket) -> Unread:
    return Unread(f"The bucket {bucket.name} could not be listed.")
