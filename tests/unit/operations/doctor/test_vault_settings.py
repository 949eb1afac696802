"""How the bucket of a vault is set up, as S3 answers it; and the attempt to delete what is locked."""

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from coffre.model.locks import LockMode
from coffre.operations.doctor.vault_settings import probe_locks, read_settings
from coffre.policy.checks.answers import Refused
from coffre.policy.checks.vault_facts import LifecycleRule, PublicAccess

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

BUCKET, ACCOUNT, OTHER = "vault", "123456789012", "210987654321"
KEY = "scratch/01K9X000000000000000000000/doctor-probe"


@pytest.fixture
def s3(aws: None) -> Iterator["S3Client"]:
    with closing(boto3.client("s3")) as client:
        client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-3"})
        yield client


def refusing(client: "S3Client", operation: str) -> None:
    """Let S3 deny one operation."""
    from botocore.exceptions import ClientError

    def deny(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, operation)

    client.meta.events.register(f"before-call.s3.{operation}", deny)


def test_a_bucket_without_any_setting_has_no_versioning_no_block_and_no_rules(s3: "S3Client") -> None:
    found = read_settings(s3, BUCKET, "", ACCOUNT)

    assert found.versioning == "Off"
    assert found.public == PublicAccess(blocked=False, by_policy=False, by_grant=False)
    assert found.lifecycle == ()
    assert found.copied_to == ()


def test_what_is_set_is_read(s3: "S3Client") -> None:
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    s3.put_public_access_block(
        Bucket=BUCKET,
        PublicAccessBlockConfiguration={
            "BlockPublicAcls": True,
            "IgnorePublicAcls": True,
            "BlockPublicPolicy": True,
            "RestrictPublicBuckets": True,
        },
    )
    s3.put_bucket_lifecycle_configuration(
        Bucket=BUCKET,
        LifecycleConfiguration={
            "Rules": [
                {"ID": "old", "Status": "Disabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}},
                {
                    "ID": "archive",
                    "Status": "Enabled",
                    "Filter": {"Prefix": "v1/"},
                    "Transitions": [{"Days": 30, "StorageClass": "GLACIER"}],
                },
                {
                    "ID": "tagged",
                    "Status": "Enabled",
                    "Filter": {"And": {"Prefix": "v1/", "Tags": [{"Key": "a", "Value": "b"}]}},
                    "Expiration": {"Days": 1},
                },
                {
                    "ID": "versions",
                    "Status": "Enabled",
                    "Filter": {"Prefix": ""},
                    "NoncurrentVersionExpiration": {"NoncurrentDays": 30},
                },
            ]
        },
    )

    found = read_settings(s3, BUCKET, "", ACCOUNT)

    assert found.versioning == "Enabled"
    assert found.public == PublicAccess(blocked=True)
    assert found.lifecycle == (
        LifecycleRule("archive", "v1/", archives_to=("GLACIER",)),
        LifecycleRule("tagged", "v1/", needs_tag=True, expires=True),
        LifecycleRule("versions", ""),
    )


def test_a_block_with_one_setting_off_is_none(s3: "S3Client") -> None:
    s3.put_public_access_block(
        Bucket=BUCKET,
        PublicAccessBlockConfiguration={
            "BlockPublicAcls": True,
            "IgnorePublicAcls": True,
            "BlockPublicPolicy": False,
            "RestrictPublicBuckets": True,
        },
    )

    assert read_settings(s3, BUCKET, "", ACCOUNT).public.blocked is False


def test_a_grant_to_everyone_is_seen(s3: "S3Client") -> None:
    s3.put_bucket_acl(Bucket=BUCKET, ACL="public-read")

    assert read_settings(s3, BUCKET, "", ACCOUNT).public.by_grant is True


def test_replication_to_another_account_is_seen(s3: "S3Client") -> None:
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    s3.create_bucket(Bucket="copy", CreateBucketConfiguration={"LocationConstraint": "eu-west-3"})
    s3.put_bucket_versioning(Bucket="copy", VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_replication(
        Bucket=BUCKET,
        ReplicationConfiguration={
            "Role": f"arn:aws:iam::{ACCOUNT}:role/replication",
            "Rules": [
                {
                    "ID": "all",
                    "Priority": 1,
                    "Status": "Enabled",
                    "Filter": {"Prefix": ""},
                    "DeleteMarkerReplication": {"Status": "Disabled"},
                    "Destination": {"Bucket": "arn:aws:s3:::copy", "Account": OTHER},
                }
            ],
        },
    )

    assert read_settings(s3, BUCKET, "", ACCOUNT).copied_to == (OTHER,)


@pytest.mark.parametrize(
    ("operation", "field", "permission"),
    [
        ("GetBucketVersioning", "versioning", "s3:GetBucketVersioning"),
        ("GetBucketLifecycleConfiguration", "lifecycle", "s3:GetLifecycleConfiguration"),
        ("GetBucketReplication", "copied_to", "s3:GetReplicationConfiguration"),
    ],
)
def test_what_is_denied_names_the_permission(s3: "S3Client", operation: str, field: str, permission: str) -> None:
    refusing(s3, operation)

    found = getattr(read_settings(s3, BUCKET, "", ACCOUNT), field)

    assert isinstance(found, Refused)
    assert (found.action, found.is_denied) == (permission, True)


def test_a_locked_version_is_not_deleted_and_the_free_one_is(aws: None) -> None:
    with closing(boto3.client("s3")) as client:
        client.create_bucket(
            Bucket=BUCKET,
            ObjectLockEnabledForBucket=True,
            CreateBucketConfiguration={"LocationConstraint": "eu-west-3"},
        )

        probe = probe_locks(client, BUCKET, KEY, LockMode.COMPLIANCE, lambda: datetime.now(UTC))

        assert probe.free_deleted is True
        assert isinstance(probe.locked_deleted, Refused)
        assert probe.locked_deleted.is_denied
        versions = client.list_object_versions(Bucket=BUCKET, Prefix=KEY)
        assert len(versions["Versions"]) == 1, "only the locked version stays, under a delete marker"
        assert [marker["IsLatest"] for marker in versions["DeleteMarkers"]] == [True]


def test_a_store_that_deletes_what_is_locked_is_found_out(aws: None) -> None:
    with closing(boto3.client("s3")) as client:
        client.create_bucket(
            Bucket=BUCKET,
            ObjectLockEnabledForBucket=True,
            CreateBucketConfiguration={"LocationConstraint": "eu-west-3"},
        )
        long_ago = datetime(2020, 1, 1, tzinfo=UTC)  # a lock that ended protects as little as a store without locks

        probe = probe_locks(client, BUCKET, KEY, LockMode.GOVERNANCE, lambda: long_ago)

        assert probe.locked_deleted is True
        assert "Versions" not in client.list_object_versions(Bucket=BUCKET, Prefix=KEY)


def test_who_may_delete_no_version_proves_nothing(aws: None) -> None:
    with closing(boto3.client("s3")) as client:
        client.create_bucket(
            Bucket=BUCKET,
            ObjectLockEnabledForBucket=True,
            CreateBucketConfiguration={"LocationConstraint": "eu-west-3"},
        )
        refusing(client, "DeleteObject")

        probe = probe_locks(client, BUCKET, KEY, LockMode.GOVERNANCE, lambda: datetime.now(UTC))

        assert isinstance(probe.free_deleted, Refused)
        assert probe.free_deleted.action == "s3:DeleteObjectVersion"
        assert probe.locked_deleted is None


def test_a_public_policy_is_asked_for(s3: "S3Client") -> None:
    s3.put_bucket_policy(
        Bucket=BUCKET,
        Policy=json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Principal": "*",
                        "Action": "s3:GetObject",
                        "Resource": f"arn:aws:s3:::{BUCKET}/*",
                    }
                ],
            }
        ),
    )
    asked: list[str] = []
    s3.meta.events.register("before-call.s3.GetBucketPolicyStatus", lambda **_: asked.append("status"))

    read_settings(s3, BUCKET, "", ACCOUNT)

    assert asked == ["status"]
