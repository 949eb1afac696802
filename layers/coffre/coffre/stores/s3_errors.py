"""What S3 and botocore say, in Coffre's errors: the one place where they are translated.

S3-compatible stores use AWS's codes, but not all of them and not always the same; an unknown code is judged by its HTTP
status. Only the code, the message and the request id of an answer are passed on: other fields of it can hold the string
that was signed or a session token.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from botocore import exceptions as boto
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError, SSLError

from coffre.model.errors import CoffreError, IntegrityError, ObjectMissingError, StoreError, StoreTransientError


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


class _Rule(NamedTuple):
    error: type[CoffreError]
    code: str
    message: str
    hint: str | None


_BUCKET_MISSING = _Rule(
    StoreError,
    "BUCKET_MISSING",
    "The bucket {bucket} does not exist at {endpoint}.",
    "Check the bucket's name, account and region; a bucket that was deleted has to be made again.",
)
_DENIED = _Rule(
    StoreError,
    "STORE_DENIED",
    "{action} was denied on {place}.",
    "The function's role needs {action} on {resource}; look also for a deny in the bucket's policy. "
    "Without s3:ListBucket on the bucket, S3 answers like this for an object that is missing.",
)
_CREDENTIALS = _Rule(
    StoreError,
    "STORE_CREDENTIALS",
    "The credentials for {bucket} were not accepted at {endpoint}.",
    "Check the access key and its secret, and that they belong to this store.",
)
_EXPIRED = _Rule(
    StoreError,
    "CREDENTIALS_EXPIRED",
    "The session's credentials for {bucket} have expired.",
    "Start it again with fresh credentials; a job must not outlive its session.",
)
_CLOCK = _Rule(
    StoreError,
    "CLOCK_SKEWED",
    "The clock of this machine and the one at {endpoint} differ too much.",
    "Set this machine's clock (NTP); S3 tolerates 15 minutes.",
)
_REGION = _Rule(
    StoreError,
    "BUCKET_REGION",
    "The bucket {bucket} is in {region}, not in the region that was asked.",
    "Set the region of this store to {region}.",
)
_CORRUPTED = _Rule(
    StoreTransientError,
    "UPLOAD_CORRUPTED",
    "Other bytes arrived for {place} than were sent; nothing was stored.",
    "Run it again; if it happens again, suspect the network, or a store that needs checksum 'md5'.",
)
_UNCHECKED = _Rule(
    StoreError,
    "CHECKSUM_UNSUPPORTED",
    "The store at {endpoint} does not know a header that {action} needs on {place}.",
    "Set the checksum of this vault to 'md5'.",
)
_UNSUPPORTED = _Rule(
    StoreError,
    "STORE_UNSUPPORTED",
    "The store at {endpoint} does not know the request {action}, sent for {place}.",
    "Use a store that knows it, or do without what it is for: Coffre says in its notes what that is.",
)
_THROTTLED = _Rule(
    StoreTransientError,
    "STORE_THROTTLED",
    "The store asked to slow down at {place}, after several attempts.",
    "Run it again later, or with fewer workers.",
)
_UNAVAILABLE = _Rule(
    StoreTransientError,
    "STORE_UNAVAILABLE",
    "The store failed at {place}, after several attempts.",
    "Run it again later; look at the provider's status page.",
)
_CONFLICT = _Rule(
    StoreTransientError,
    "STORE_CONFLICT",
    "Another request changed {place} at the same time.",
    "Run it again; make sure that only one run writes there.",
)
_KMS = _Rule(
    StoreError,
    "KMS_UNUSABLE",
    "The KMS key of the bucket {bucket} could not be used for {place}.",
    "Check that the key is enabled, and that the role has kms:GenerateDataKey to write and kms:Decrypt to read.",
)
_KMS_KEY: Final = "The key of the vault is the parameter VaultKeyArn; other buckets have their own."
_KMS_STATES: dict[str, _Rule] = {
    "KMS.DisabledException": _KMS._replace(
        message="The KMS key of the bucket {bucket} is disabled; {place} cannot be read or written.",
        hint=f"Enable it: aws kms enable-key --key-id KEY. {_KMS_KEY} Until then nothing can be read or written there; "
        "nothing is lost.",
    ),
    "KMS.KMSInvalidStateException": _KMS._replace(
        message="The KMS key of the bucket {bucket} is not usable, perhaps about to be deleted: {place}.",
        hint=f"If its state is PendingDeletion, act now: aws kms cancel-key-deletion --key-id KEY, then aws kms "
        f"enable-key --key-id KEY. {_KMS_KEY} Once it is deleted, everything that it encrypted is lost.",
    ),
    "KMS.NotFoundException": _KMS._replace(
        message="The KMS key of the bucket {bucket} does not exist; {place} cannot be read or written.",
        hint=f"{_KMS_KEY} A key that was deleted cannot be restored, nor what it encrypted: restore from a copy of the "
        "vault elsewhere. A replica of a multi-Region key may still exist in another region.",
    ),
}
_FULL = _Rule(
    StoreError, "DISK_FULL", "The store at {endpoint} has no room for {place}.", "Free space, or raise its quota."
)
_ARCHIVED = _Rule(
    StoreError,
    "OBJECT_ARCHIVED",
    "{place} is in an archive class and cannot be read now.",
    "Restore it in S3 first; vaults need a storage class with immediate access.",
)
_MISSING = _Rule(ObjectMissingError, "OBJECT_MISSING", "There is no object {place}.", None)
_EXISTS = _Rule(
    StoreError,
    "OBJECT_EXISTS",
    "The object {place} exists; it was left as it is.",
    "Every object is written once: look who else writes there.",
)
_CHANGED = _Rule(StoreTransientError, "OBJECT_CHANGED", "{place} was replaced while it was read.", "Run it again.")
_TRUNCATED = _Rule(
    IntegrityError, "OBJECT_TRUNCATED", "{place} is shorter than it should be.", "Verify the backups that use it."
)
_UNREACHABLE = _Rule(
    StoreTransientError,
    "STORE_UNREACHABLE",
    "The store at {endpoint} did not answer for {place}, after several attempts.",
    "Check the endpoint, the network and its firewall (in a VPC: a gateway endpoint for S3), then run it again.",
)
_TLS = _Rule(
    StoreError,
    "STORE_TLS",
    "The store at {endpoint} has no certificate that this machine trusts.",
    "Check the endpoint's name, and the bundle of certificates (AWS_CA_BUNDLE).",
)
_REFUSED = _Rule(StoreError, "STORE_FAILED", "{action} failed on {place}.", None)

KEY_REFUSED: Final = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "Unauthorized", "401", "ExpiredToken"}
)
"""The codes of stores for an access key, or a session's token, that they do not know or no longer accept."""

_RULES: dict[str, _Rule] = {
    "NoSuchBucket": _BUCKET_MISSING,
    **dict.fromkeys(("AccessDenied", "AllAccessDisabled", "AccountProblem", "Forbidden", "403"), _DENIED),
    **dict.fromkeys(
        ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "Unauthorized", "401"), _CREDENTIALS
    ),
    **dict.fromkeys(("ExpiredToken", "TokenRefreshRequired", "RequestExpired"), _EXPIRED),
    "RequestTimeTooSkewed": _CLOCK,
    **dict.fromkeys(("PermanentRedirect", "TemporaryRedirect", "301", "307"), _REGION),
    **dict.fromkeys(("AuthorizationHeaderMalformed", "IllegalLocationConstraintException"), _REGION),
    **dict.fromkeys(("BadDigest", "InvalidDigest", "IncompleteBody"), _CORRUPTED),
    **dict.fromkeys(("XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch"), _CORRUPTED),
    **dict.fromkeys(("SlowDown", "Throttling", "ThrottlingException", "TooManyRequests", "429"), _THROTTLED),
    **dict.fromkeys(("RequestTimeout", "InternalError", "ServiceUnavailable", "408"), _UNAVAILABLE),
    **dict.fromkeys(("ConditionalRequestConflict", "OperationAborted", "409"), _CONFLICT),
    **dict.fromkeys(("QuotaExceeded", "InsufficientCapacity", "XMinioStorageFull", "507"), _FULL),
    **dict.fromkeys(("InvalidObjectState", "ObjectNotInActiveTierError"), _ARCHIVED),
    **dict.fromkeys(("NoSuchKey", "NotFound", "404"), _MISSING),
    **dict.fromkeys(("InvalidRange", "416"), _TRUNCATED),
}


# Headers of an upload that have nothing to do with checksums.
_OTHER_HEADERS = ("tagging", "storage", "none-match", "acl", "grant", "redirect", "encryption")


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
        _BUCKET_MISSING.message.format(bucket=call.bucket, endpoint=call.host),
        code=_BUCKET_MISSING.code,
        hint=_BUCKET_MISSING.hint,
    )


def object_exists(call: Call) -> StoreError:
    """Return the error of an object that was to be new, for stores that were asked before the upload."""
    return StoreError(_EXISTS.message.format(place=call.place), code=_EXISTS.code, hint=_EXISTS.hint)


def _of_answer(call: Call, error: boto.ClientError) -> CoffreError:
    answer: dict[str, Any] = dict(error.response)
    said: dict[str, str] = answer.get("Error", {})
    metadata: dict[str, Any] = answer.get("ResponseMetadata", {})
    code, message = str(said.get("Code", "")), said.get("Message") or ""
    headers = metadata.get("HTTPHeaders", {})
    region = said.get("Region") or headers.get("x-amz-bucket-region") or "another region"
    rule = _rule_for(call, code, message, int(metadata.get("HTTPStatusCode", 0)))
    request = metadata.get("RequestId")
    detail = f"{code}: {message}" + (f" (request {request})" if request else "")
    return _error(rule, call, detail, region)


def _rule_for(call: Call, code: str, message: str, status: int) -> _Rule:
    if code.startswith("KMS.") or (code == "AccessDenied" and "kms:" in message):
        return _KMS_STATES.get(code, _KMS)
    if code in {"PreconditionFailed", "412"}:
        return _EXISTS if call.action == "s3:PutObject" else _CHANGED
    if code in {"InvalidArgument", "InvalidRequest"} and "checksum" in message.lower():
        return _UNCHECKED
    is_unknown_header = code == "InvalidArgument" and message.lower().startswith("unsupported header")
    if is_unknown_header or code in {"NotImplemented", "501"} or (status == 501 and code not in _RULES):
        return _UNCHECKED if call.action == "s3:PutObject" and _is_about_checksums(message) else _UNSUPPORTED
    known = _RULES.get(code) or _RULES.get(str(status))
    return known or (_UNAVAILABLE if status >= 500 else _REFUSED)


def _is_about_checksums(message: str) -> bool:
    """Return whether a store that does not know something may mean a checksum: it names it, or names nothing else."""
    said = message.lower()
    if "checksum" in said or "trailer" in said or "streaming" in said:
        return True
    return not any(word in said for word in _OTHER_HEADERS)


def _of_connection(call: Call, error: Exception) -> CoffreError:
    if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError | boto.CredentialRetrievalError):
        rule = _CREDENTIALS
    elif isinstance(error, boto.SSLError | SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        rule = _TLS
    elif isinstance(error, boto.HTTPClientError | boto.IncompleteReadError | boto.ConnectionError | HTTPError):
        rule = _UNREACHABLE
    elif isinstance(error, ResponseParserError):
        rule = _UNAVAILABLE
    else:
        rule = _REFUSED
    return _error(rule, call, f"{type(error).__name__}: {error}", "another region")


def _error(rule: _Rule, call: Call, detail: str, region: str) -> CoffreError:
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
