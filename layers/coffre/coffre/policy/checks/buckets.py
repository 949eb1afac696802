"""Checks of the buckets that are backed up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from coffre.model.checkup import CheckResult
from coffre.policy.checks.answers import Refused
from coffre.policy.checks.bucket_facts import SourceBucket, Sources
from coffre.policy.checks.code import blocker, note, warning
from coffre.policy.checks.vault_facts import Trouble

SECRET: Final = blocker("STORE_SECRET_UNUSABLE")
UNREADABLE: Final = blocker("BUCKET_UNREADABLE")
REGION: Final = blocker("BUCKET_REGION")
EMPTY: Final = warning("BUCKET_EMPTY")
TAGS: Final = warning("BUCKET_TAGS_UNREADABLE")
VERSIONING: Final = note("BUCKET_VERSIONING_OFF")
SAME_ACCOUNT: Final = warning("VAULT_SAME_ACCOUNT_AS_SOURCE")


def check_sources(sources: Sources) -> Iterator[CheckResult]:
    """Judge the buckets of a target."""
    if sources.secret_read is not None:
        words = f"{sources.secret_read.code}: {sources.secret_read.message}"
        cure = sources.secret_read.hint or "Correct the secret (docs/storage.md)."
        yield SECRET.found("The access key of the store cannot be used.", words, cure, sources.secret)
        return
    if sources.secret is not None:
        yield SECRET.ok("The secret with the store's access key is readable.", sources.secret, sources.secret)
    for bucket in sources.buckets:
        yield from _check_bucket(bucket, sources)


def _check_bucket(bucket: SourceBucket, sources: Sources) -> Iterator[CheckResult]:
    if bucket.listed is not None and bucket.listed.code == "BUCKET_REGION":
        cure = "Set the region of the target's store in the configuration (docs/storage.md)."
        words = _words(bucket.listed)
        yield REGION.found("The bucket is in another region than the one that is asked.", words, cure, bucket.name)
        return
    if bucket.listed is not None:
        cure = bucket.listed.hint or "Name the bucket in the parameter SourceBuckets, or check the store's secret."
        yield UNREADABLE.found("The bucket cannot be listed.", _words(bucket.listed), cure, bucket.name)
        return
    yield REGION.ok("The bucket answers in the region that is asked.", "listed", bucket.name)
    yield _check_contents(bucket, sources)
    if bucket.read is not None:
        cure = bucket.read.hint or "Allow s3:GetObject, and kms:Decrypt on the key of the objects (SourceKeys)."
        yield UNREADABLE.found("An object of the bucket cannot be read.", _words(bucket.read), cure, bucket.name)
    else:
        yield UNREADABLE.ok("The bucket can be read.", _shown(bucket), bucket.name)
    if bucket.tagged is not None:
        cure = "Allow s3:GetObjectTagging: without it tags are not in the backup."
        yield TAGS.found("Tags of objects cannot be read.", _words(bucket.tagged), cure, bucket.name)
    else:
        yield TAGS.ok("Tags of objects can be read.", _shown(bucket), bucket.name)
    yield from _check_versioning(bucket)
    yield from _check_owner(bucket)


def _check_contents(bucket: SourceBucket, sources: Sources) -> CheckResult:
    before = "" if sources.last_objects is None else f"; the newest backup of the target has {sources.last_objects:,}"
    if not bucket.empty_prefixes:
        return EMPTY.ok("The bucket has objects to back up.", _shown(bucket) + before, bucket.name)
    named = ", ".join(f'"{prefix}"' for prefix in bucket.empty_prefixes if prefix)
    return EMPTY.found(
        f"No object of the bucket begins with {named}." if named else "The bucket is empty.",
        _shown(bucket) + before,
        "Correct the target's buckets and prefixes in the configuration, if that is not meant.",
        bucket.name,
    )


def _check_versioning(bucket: SourceBucket) -> Iterator[CheckResult]:
    if bucket.versioning is None:
        return
    if isinstance(bucket.versioning, Refused):
        yield VERSIONING.unseen("Versioning of the bucket", bucket.versioning, bucket.name)
    elif bucket.versioning == "Enabled":
        yield VERSIONING.ok("The bucket keeps older versions.", "versioning: Enabled", bucket.name)
    else:
        yield VERSIONING.found(
            "The bucket keeps no older versions: what changes between two backups cannot be restored.",
            f"versioning: {bucket.versioning}",
            f"aws s3api put-bucket-versioning --bucket {bucket.name} --versioning-configuration Status=Enabled",
            bucket.name,
        )


def _check_owner(bucket: SourceBucket) -> Iterator[CheckResult]:
    if bucket.is_ours:
        yield SAME_ACCOUNT.found(
            "The bucket and the vault are in one AWS account: who takes over the account can delete both.",
            "the account of the vault owns the bucket",
            "Deploy Coffre in an account of its own, or lock the vault: ObjectLock=compliance (docs/immutability.md).",
            bucket.name,
        )
    elif bucket.is_ours is False:
        evidence = "another account owns the bucket"
        yield SAME_ACCOUNT.ok("The bucket and the vault are in different accounts.", evidence, bucket.name)


def _shown(bucket: SourceBucket) -> str:
    return f"{'more than ' if bucket.has_more else ''}{bucket.objects:,} objects"


def _words(trouble: Trouble) -> str:
    return f"{trouble.code}: {trouble.message}"
