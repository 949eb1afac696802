"""How the vault's bucket is set up, and whether its locks hold: read with a person's own credentials.

Facts (Amazon S3 API Reference, read 2026-11): a bucket without a public access block, a policy or a lifecycle answers
`NoSuchPublicAccessBlockConfiguration`, `NoSuchBucketPolicy` and `NoSuchLifecycleConfiguration`, one without replication
`ReplicationConfigurationNotFoundError`; a destination names its account when objects change their owner; a bucket that
never had versioning answers without a status.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from coffre.model.locks import Lock, LockMode
from coffre.operations.doctor.aws_calls import ask, ask_unless
from coffre.policy.checks.answers import Answer, Refused
from coffre.policy.checks.vault_facts import LifecycleRule, LockProbe, PublicAccess, VaultSettings
from coffre.stores.s3_locks import headers_of

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_EVERYONE: Final = (
    "http://acs.amazonaws.com/groups/global/AllUsers",
    "http://acs.amazonaws.com/groups/global/AuthenticatedUsers",
)
_BLOCKS: Final = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
PROBE_LOCK: Final = timedelta(minutes=5)
"""How long the locked probe stays undeletable; S3's clock and this machine's may differ a little."""


def read_settings(client: S3Client, bucket: str, prefix: str, account: str) -> VaultSettings:
    """Return how a bucket is set up. Nothing is changed.

    Parameters
    ----------
    prefix
        Where in the bucket the vault is; empty for the whole bucket.
    account
        The account of the stack.
    """
    return VaultSettings(
        bucket=bucket,
        prefix=prefix,
        versioning=ask("s3:GetBucketVersioning", lambda: versioning_of(client, bucket)),
        public=_public(client, bucket),
        lifecycle=ask_unless(
            "s3:GetLifecycleConfiguration", lambda: _lifecycle(client, bucket), "NoSuchLifecycleConfiguration", ()
        ),
        copied_to=ask_unless(
            "s3:GetReplicationConfiguration",
            lambda: _copied_to(client, bucket, account),
            "ReplicationConfigurationNotFoundError",
            (),
        ),
    )


def probe_locks(client: S3Client, bucket: str, key: str, mode: LockMode, now: Callable[[], datetime]) -> LockProbe:
    """Store two versions of a small object, one of them locked for `PROBE_LOCK`, and try to delete both for good.

    Deleting the free one first shows that the caller may delete at all: only then a refusal proves the lock. The locked
    one stays under a delete marker, as an older version, until the bucket's lifecycle ends it.
    """
    put = partial(client.put_object, Bucket=bucket, Key=key, Body=b"coffre doctor --probe")
    lock = headers_of(Lock(mode, now() + PROBE_LOCK))
    locked = ask("s3:PutObjectRetention", lambda: put(**lock)["VersionId"])
    if isinstance(locked, Refused):
        return LockProbe(key, mode.value, locked)
    free = ask("s3:PutObject", lambda: put()["VersionId"])
    deleted = free if isinstance(free, Refused) else _delete_version(client, bucket, key, free)
    gone = None if isinstance(deleted, Refused) else _delete_version(client, bucket, key, locked)
    if gone is not True:
        ask("s3:DeleteObject", lambda: client.delete_object(Bucket=bucket, Key=key))
    return LockProbe(key, mode.value, deleted, gone)


def _delete_version(client: S3Client, bucket: str, key: str, version: str) -> Answer[bool]:
    def delete() -> bool:
        client.delete_object(Bucket=bucket, Key=key, VersionId=version)
        return True

    return ask("s3:DeleteObjectVersion", delete)


def versioning_of(client: S3Client, bucket: str) -> str:
    """Return `Enabled`, `Suspended` or `Off`."""
    return client.get_bucket_versioning(Bucket=bucket).get("Status", "Off")


def _public(client: S3Client, bucket: str) -> PublicAccess:
    def is_blocked() -> bool:
        found = client.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
        return all(found.get(name) is True for name in _BLOCKS)

    def has_public_policy() -> bool:
        return bool(client.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"].get("IsPublic", False))

    def has_public_grant() -> bool:
        grants = client.get_bucket_acl(Bucket=bucket)["Grants"]
        return any(grant.get("Grantee", {}).get("URI") in _EVERYONE for grant in grants)

    blocked = ask_unless(
        "s3:GetBucketPublicAccessBlock", is_blocked, "NoSuchPublicAccessBlockConfiguration", default=False
    )
    if blocked is True:
        return PublicAccess(blocked=True)
    by_policy = ask_unless("s3:GetBucketPolicyStatus", has_public_policy, "NoSuchBucketPolicy", default=False)
    return PublicAccess(blocked, by_policy, ask("s3:GetBucketAcl", has_public_grant))


def _lifecycle(client: S3Client, bucket: str) -> tuple[LifecycleRule, ...]:
    rules = client.get_bucket_lifecycle_configuration(Bucket=bucket).get("Rules", [])
    return tuple(_rule(rule) for rule in rules if rule["Status"] == "Enabled")


def _rule(rule: Mapping[str, Any]) -> LifecycleRule:
    chosen = rule.get("Filter", {})
    both = chosen.get("And", {})
    expiration = rule.get("Expiration", {})
    return LifecycleRule(
        id=rule.get("ID", "without a name"),
        prefix=rule.get("Prefix") or chosen.get("Prefix") or both.get("Prefix") or "",
        needs_tag="Tag" in chosen or bool(both.get("Tags")),
        expires="Days" in expiration or "Date" in expiration,
        archives_to=tuple(step["StorageClass"] for step in rule.get("Transitions", [])),
    )


def _copied_to(client: S3Client, bucket: str, account: str) -> tuple[str, ...]:
    rules = client.get_bucket_replication(Bucket=bucket)["ReplicationConfiguration"]["Rules"]
    named = {rule["Destination"].get("Account", account) for rule in rules if rule["Status"] == "Enabled"}
    return tuple(sorted(named - {account}))
