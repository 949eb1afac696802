"""The bucket that code is uploaded to, for Lambda and CloudFormation to take it from."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from coffre_cli.deploying.errors import DeployBucketError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# S3 knows no location constraint of this name: it is where buckets are made without one.
_WITHOUT_LOCATION: Final = "us-east-1"


@dataclass(frozen=True)
class DeployBucket:
    """A bucket of this account; whatever is in it is named by its SHA-256, and never replaced.

    Parameters
    ----------
    account
        Each call names it: a bucket of this name in another account is refused by S3.
    """

    name: str
    account: str
    region: str
    client: S3Client

    @classmethod
    def of(cls, account: str, region: str, client: S3Client, name: str | None = None) -> DeployBucket:
        """Return the named bucket, or the one that all stacks of an account and region share."""
        return cls(name or f"coffre-deploy-{account}-{region}", account, region, client)

    def exists(self) -> bool:
        """Return whether it exists and is this account's.

        Raises
        ------
        DeployBucketError
            It cannot be asked, or belongs to another account.
        """
        with self._explained("looked up"):
            try:
                self.client.head_bucket(Bucket=self.name, ExpectedBucketOwner=self.account)
            except self.client.exceptions.ClientError as error:
                if error.response.get("Error", {}).get("Code") in ("404", "NoSuchBucket"):
                    return False
                raise
        return True

    def make(self) -> None:
        """Make it: closed to the public and to calls without TLS. Raises `DeployBucketError`."""
        with self._explained("made"):
            if self.region == _WITHOUT_LOCATION:
                self.client.create_bucket(Bucket=self.name)
            else:
                place = {"LocationConstraint": self.region}
                self.client.create_bucket(Bucket=self.name, CreateBucketConfiguration=place)  # type: ignore[arg-type]
            self.client.put_public_access_block(
                Bucket=self.name,
                ExpectedBucketOwner=self.account,
                PublicAccessBlockConfiguration={
                    "BlockPublicAcls": True,
                    "IgnorePublicAcls": True,
                    "BlockPublicPolicy": True,
                    "RestrictPublicBuckets": True,
                },
            )
            policy = json.dumps(_only_tls(self.name, self.client.meta.partition))
            self.client.put_bucket_policy(Bucket=self.name, ExpectedBucketOwner=self.account, Policy=policy)

    def store(self, body: bytes, *, suffix: str, on_upload: Callable[[], None] = lambda: None) -> str:
        """Upload, and return the key; S3 checks the SHA-256. What it has already is not sent again.

        Parameters
        ----------
        on_upload
            Called before something is sent.

        Raises
        ------
        DeployBucketError
        """
        digest = hashlib.sha256(body)
        key, checksum = f"{digest.hexdigest()}{suffix}", base64.b64encode(digest.digest()).decode()
        with self._explained("written"):
            if not self._has(key, checksum):
                on_upload()
                self.client.put_object(
                    Bucket=self.name, Key=key, Body=body, ChecksumSHA256=checksum, ExpectedBucketOwner=self.account
                )
        return key

    def _has(self, key: str, checksum: str) -> bool:
        try:
            found = self.client.head_object(
                Bucket=self.name, Key=key, ChecksumMode="ENABLED", ExpectedBucketOwner=self.account
            )
        except self.client.exceptions.ClientError:
            return False
        return found.get("ChecksumSHA256") == checksum

    @contextmanager
    def _explained(self, done: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (ClientError, BotoCoreError) as error:
            raise DeployBucketError(
                f"The bucket {self.name} for the functions' code could not be {done}.",
                detail=str(error)[:500],
                hint="Your AWS credentials need s3:CreateBucket, s3:PutBucketPolicy, s3:PutBucketPublicAccessBlock, "
                "s3:PutObject and s3:GetObject on it. If the name belongs to another account, name a bucket of yours: "
                "--code-bucket NAME",
            ) from error


def _only_tls(bucket: str, partition: str) -> dict[str, object]:
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "OnlyTls",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [f"arn:{partition}:s3:::{bucket}", f"arn:{partition}:s3:::{bucket}/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ],
    }
