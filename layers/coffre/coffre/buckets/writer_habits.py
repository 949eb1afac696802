"""What a bucket does with objects that are overwritten or deleted, as far as its settings can be read."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


def versioning_of(client: S3Client, bucket: str) -> str:
    """Return whether a bucket keeps versions: `Enabled`, `Suspended`, `off`, or `unknown`."""
    with contextlib.suppress(ClientError, BotoCoreError):
        return client.get_bucket_versioning(Bucket=bucket).get("Status", "off")
    return "unknown"


def habits_of(client: S3Client, bucket: str) -> list[str]:
    """Describe what a bucket does with what is overwritten or deleted."""
    if versioning_of(client, bucket) != "Enabled":
        return []
    return [
        f"{bucket} keeps versions: what is overwritten or deleted there can be recovered.",
        *_locks(client, bucket),
    ]


def _locks(client: S3Client, bucket: str) -> list[str]:
    with contextlib.suppress(ClientError, BotoCoreError):
        found = client.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"]
        rule = found.get("Rule", {}).get("DefaultRetention", {})
        time = f"{rule['Days']} days" if "Days" in rule else f"{rule.get('Years', 0)} years"
        if "Mode" in rule:
            return [f"{bucket} locks what is written there for {time} ({rule['Mode']})."]
    return []
