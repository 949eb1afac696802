"""Whether the buckets of a target can be read, as a backup reads them: by the function's role or a store's key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from coffre.buckets.object_facts import Listed
from coffre.buckets.reader import BucketReader
from coffre.model.bucket_target import BucketSource, BucketTarget
from coffre.model.errors import CoffreError
from coffre.operations.doctor.aws_calls import ask
from coffre.operations.doctor.vault_access import attempt, trouble
from coffre.policy.checks.answers import Answer, Refused, Trouble
from coffre.policy.checks.bucket_facts import SourceBucket, Sources

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_ANSWER_BYTES: Final = 64 * 1024


def read_sources(
    target: BucketTarget,
    reader: BucketReader,
    *,
    aws: S3Client | None,
    account: str,
    last_objects: int | None,
) -> Sources:
    """List each bucket of a target and read one object of it, its tags included. Nothing is written.

    Parameters
    ----------
    aws
        Asks what only AWS's own S3 knows; None: the buckets are in another store.
    account
        The account of the vault.
    last_objects
        How many objects the newest backup has.
    """
    return Sources(tuple(_look(reader, bucket, aws, account) for bucket in target.buckets), last_objects)


def _look(reader: BucketReader, bucket: BucketSource, aws: S3Client | None, account: str) -> SourceBucket:
    first: Listed | None = None
    empty, objects, has_more = [], 0, False
    try:
        for prefix in bucket.prefixes or ("",):
            page = reader.page(bucket.name, prefix)
            first = first or next(iter(page.objects), None)
            objects += len(page.objects)
            has_more = has_more or page.is_truncated
            if not page.objects and not page.unreadable:
                empty.append(prefix)
    except CoffreError as error:
        return SourceBucket(bucket.name, listed=trouble(error))
    return SourceBucket(
        bucket.name,
        empty_prefixes=tuple(empty),
        read=_read(reader, bucket.name, first) if first else None,
        tagged=_read_tags(reader, bucket.name, first) if first else None,
        objects=objects,
        has_more=has_more,
        versioning=_versioning(aws, bucket.name) if aws else None,
        is_ours=_belongs_to(aws, bucket.name, account) if aws else None,
    )


def _read(reader: BucketReader, bucket: str, listed: Listed) -> Trouble | None:
    found = attempt(lambda: reader.piece(bucket, listed, 0))
    gone = found is not None and found.code in ("OBJECT_MISSING", "OBJECT_CHANGED")  # since it was listed
    return None if gone else found


def _read_tags(reader: BucketReader, bucket: str, listed: Listed) -> Trouble | None:
    call = reader.call("s3:GetObjectTagging", bucket, listed.key)
    found = attempt(lambda: reader.wire.get(call, "tagging", query={"tagging": ""}, limit_bytes=_ANSWER_BYTES))
    is_fine = found is not None and found.code in ("OBJECT_MISSING", "STORE_UNSUPPORTED")  # backups do without them
    return None if is_fine else found


def _versioning(client: S3Client, bucket: str) -> Answer[str]:
    return ask("s3:GetBucketVersioning", lambda: client.get_bucket_versioning(Bucket=bucket).get("Status", "Off"))


def _belongs_to(client: S3Client, bucket: str, account: str) -> bool | None:
    """S3 denies a request that expects another owner than the bucket's (User Guide, "Bucket owner condition")."""
    found = ask("s3:ListBucket", lambda: client.head_bucket(Bucket=bucket, ExpectedBucketOwner=account))
    if isinstance(found, Refused):
        return False if found.is_denied else None
    return True
