"""What S3 and botocore say, in Coffre's errors: the one place where they are translated.

Only the code, the message and the request id of an answer are passed on: other fields of it can hold the string that
was signed or a session token.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from botocore import exceptions as boto
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError, SSLError

from coffre.model.errors import CoffreError, StoreError
from coffre.stores.s3_error_rules import (
    BUCKET_MISSING,
    CREDENTIALS,
    EXISTS,
    REFUSED,
    TLS,
    UNAVAILABLE,
    UNREACHABLE,
    Rule,
    rule_for,
)


@dataclass(frozen=True, slots=True)
class Call:
    """One request: the IAM action it needs, and what it is about (`key` is the start of one in a listing)."""

    action: str
    bucket: str
    key: str
    endpoint: str

    @property
    def place(self) -> str:
        """The object's address, for a person."""
        return f"s3://{self.bucket}/{self.key}"

    @property
    def is_listing(self) -> bool:
        """Whether it is about the bucket, and the objects whose keys begin with `key`."""
        return self.action in ("s3:ListBucket", "s3:ListBucketVersions")

    @property
    def resource(self) -> str:
        """What a policy statement for the action names."""
        return f"arn:aws:s3:::{self.bucket}" if self.is_listing else f"arn:aws:s3:::{self.bucket}/{self.key}"

    @property
    def host(self) -> str:
        """The store's address, for a person."""
        return urlsplit(self.endpoint).netloc


KEY_REFUSED: Final = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "Unauthorized", "401", "ExpiredToken"}
)
"""The codes of stores for an access key, or a session's token, that they do not know or no longer accept."""


@contextmanager
def translated(call: Call) -> Iterator[None]:
    """Raise what `call` makes botocore raise as one of Coffre's errors, with the original as its cause."""
    try:
        yield
    except boto.ClientError as error:
        raise _of_answer(call, error) from error
    except (boto.BotoCoreError, ResponseParserError, HTTPError) as error:
        raise _of_connection(call, error) from error


def was_retried(error: CoffreError) -> bool:
    """Return whether botocore had sent the request before the one whose answer this error is."""
    cause = error.__cause__
    return isinstance(cause, boto.ClientError) and cause.response["ResponseMetadata"].get("RetryAttempts", 0) > 0


def bucket_missing(call: Call) -> StoreError:
    """Return the error of a bucket that does not exist, for answers that do not tell it from a missing object."""
    return StoreError(
        BUCKET_MISSING.message.format(bucket=call.bucket, endpoint=call.host),
        code=BUCKET_MISSING.code,
        hint=BUCKET_MISSING.hint,
    )


def object_exists(call: Call) -> StoreError:
    """Return the error of an object that was to be new, for stores that were asked before the upload."""
    return StoreError(EXISTS.message.format(place=call.place), code=EXISTS.code, hint=EXISTS.hint)


def _of_answer(call: Call, error: boto.ClientError) -> CoffreError:
    answer: dict[str, Any] = dict(error.response)
    said: dict[str, str] = answer.get("Error", {})
    metadata: dict[str, Any] = answer.get("ResponseMetadata", {})
    code, message = str(said.get("Code", "")), said.get("Message") or ""
    headers = metadata.get("HTTPHeaders", {})
    region = said.get("Region") or headers.get("x-amz-bucket-region") or "another region"
    rule = rule_for(call.action, code, message, int(metadata.get("HTTPStatusCode", 0)))
    request = metadata.get("RequestId")
    detail = f"{code}: {message}" + (f" (request {request})" if request else "")
    return _error(rule, call, detail, region)


def _of_connection(call: Call, error: Exception) -> CoffreError:
    if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError | boto.CredentialRetrievalError):
        rule = CREDENTIALS
    elif isinstance(error, boto.SSLError | SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        rule = TLS
    elif isinstance(error, boto.HTTPClientError | boto.IncompleteReadError | boto.ConnectionError | HTTPError):
        rule = UNREACHABLE
    elif isinstance(error, ResponseParserError):
        rule = UNAVAILABLE
    else:
        rule = REFUSED
    return _error(rule, call, f"{type(error).__name__}: {error}", "another region")


def _error(rule: Rule, call: Call, detail: str, region: str) -> CoffreError:
    words = {
        "action": call.action,
        "bucket": call.bucket,
        "place": call.place,
        "resource": call.resource,
        "endpoint": call.host,
        "region": region,
    }
    hint = rule.hint.format(**words) if rule.hint else None
    return rule.error(rule.message.format(**words), code=rule.code, detail=detail, hint=hint)
