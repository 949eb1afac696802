"""What S3 and stores like it say, and what that means: the table behind `s3_errors`.

S3-compatible stores use AWS's codes, but not all of them and not always the same; an unknown code is judged by its HTTP
status.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from coffre.model.errors import CoffreError, IntegrityError, ObjectMissingError, StoreError, StoreTransientError


class Rule(NamedTuple):
    """An error of Coffre's, its words to be filled with what a call is about."""

    error: type[CoffreError]
    code: str
    message: str
    hint: str | None


BUCKET_MISSING = Rule(
    StoreError,
    "BUCKET_MISSING",
    "The bucket {bucket} does not exist at {endpoint}.",
    "Check the bucket's name, account and region; a bucket that was deleted has to be made again.",
)
_DENIED = Rule(
    StoreError,
    "STORE_DENIED",
    "{action} was denied on {place}.",
    "The function's role needs {action} on {resource}; look also for a deny in the bucket's policy. "
    "Without s3:ListBucket on the bucket, S3 answers like this for an object that is missing.",
)
CREDENTIALS = Rule(
    StoreError,
    "STORE_CREDENTIALS",
    "The credentials for {bucket} were not accepted at {endpoint}.",
    "Check the access key and its secret, and that they belong to this store.",
)
_EXPIRED = Rule(
    StoreError,
    "CREDENTIALS_EXPIRED",
    "The session's credentials for {bucket} have expired.",
    "Start it again with fresh credentials; a job must not outlive its session.",
)
_CLOCK = Rule(
    StoreError,
    "CLOCK_SKEWED",
    "The clock of this machine and the one at {endpoint} differ too much.",
    "Set this machine's clock (NTP); S3 tolerates 15 minutes.",
)
_REGION = Rule(
    StoreError,
    "BUCKET_REGION",
    "The bucket {bucket} is in {region}, not in the region that was asked.",
    "Set the region of this store to {region}.",
)
_CORRUPTED = Rule(
    StoreTransientError,
    "UPLOAD_CORRUPTED",
    "Other bytes arrived for {place} than were sent; nothing was stored.",
    "Run it again; if it happens again, suspect the network, or a store that needs checksum 'md5'.",
)
_UNCHECKED = Rule(
    StoreError,
    "CHECKSUM_UNSUPPORTED",
    "The store at {endpoint} does not know a header that {action} needs on {place}.",
    "Set the checksum of this vault to 'md5'.",
)
_UNSUPPORTED = Rule(
    StoreError,
    "STORE_UNSUPPORTED",
    "The store at {endpoint} does not know the request {action}, sent for {place}.",
    "Use a store that knows it, or do without what it is for: Coffre says in its notes what that is.",
)
_THROTTLED = Rule(
    StoreTransientError,
    "STORE_THROTTLED",
    "The store asked to slow down at {place}, after several attempts.",
    "Run it again later, or with fewer workers.",
)
UNAVAILABLE = Rule(
    StoreTransientError,
    "STORE_UNAVAILABLE",
    "The store failed at {place}, after several attempts.",
    "Run it again later; look at the provider's status page.",
)
_CONFLICT = Rule(
    StoreTransientError,
    "STORE_CONFLICT",
    "Another request changed {place} at the same time.",
    "Run it again; make sure that only one run writes there.",
)
_KMS = Rule(
    StoreError,
    "KMS_UNUSABLE",
    "The KMS key of the bucket {bucket} could not be used for {place}.",
    "Check that the key is enabled, and that the role has kms:GenerateDataKey to write and kms:Decrypt to read.",
)
_KMS_KEY: Final = "The key of the vault is the parameter VaultKeyArn; other buckets have their own."
_KMS_STATES: dict[str, Rule] = {
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
_FULL = Rule(
    StoreError, "DISK_FULL", "The store at {endpoint} has no room for {place}.", "Free space, or raise its quota."
)
_ARCHIVED = Rule(
    StoreError,
    "OBJECT_ARCHIVED",
    "{place} is in an archive class and cannot be read now.",
    "Restore it in S3 first; vaults need a storage class with immediate access.",
)
_MISSING = Rule(ObjectMissingError, "OBJECT_MISSING", "There is no object {place}.", None)
EXISTS = Rule(
    StoreError,
    "OBJECT_EXISTS",
    "The object {place} exists; it was left as it is.",
    "Every object is written once: look who else writes there.",
)
_CHANGED = Rule(StoreTransientError, "OBJECT_CHANGED", "{place} was replaced while it was read.", "Run it again.")
_TRUNCATED = Rule(
    IntegrityError, "OBJECT_TRUNCATED", "{place} is shorter than it should be.", "Verify the backups that use it."
)
UNREACHABLE = Rule(
    StoreTransientError,
    "STORE_UNREACHABLE",
    "The store at {endpoint} did not answer for {place}, after several attempts.",
    "Check the endpoint, the network and its firewall (in a VPC: a gateway endpoint for S3), then run it again.",
)
TLS = Rule(
    StoreError,
    "STORE_TLS",
    "The store at {endpoint} has no certificate that this machine trusts.",
    "Check the endpoint's name, and the bundle of certificates (AWS_CA_BUNDLE).",
)
REFUSED = Rule(StoreError, "STORE_FAILED", "{action} failed on {place}.", None)

_RULES: dict[str, Rule] = {
    "NoSuchBucket": BUCKET_MISSING,
    **dict.fromkeys(("AccessDenied", "AllAccessDisabled", "AccountProblem", "Forbidden", "403"), _DENIED),
    **dict.fromkeys(
        ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "Unauthorized", "401"), CREDENTIALS
    ),
    **dict.fromkeys(("ExpiredToken", "TokenRefreshRequired", "RequestExpired"), _EXPIRED),
    "RequestTimeTooSkewed": _CLOCK,
    **dict.fromkeys(("PermanentRedirect", "TemporaryRedirect", "301", "307"), _REGION),
    **dict.fromkeys(("AuthorizationHeaderMalformed", "IllegalLocationConstraintException"), _REGION),
    **dict.fromkeys(("BadDigest", "InvalidDigest", "IncompleteBody"), _CORRUPTED),
    **dict.fromkeys(("XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch"), _CORRUPTED),
    **dict.fromkeys(("SlowDown", "Throttling", "ThrottlingException", "TooManyRequests", "429"), _THROTTLED),
    **dict.fromkeys(("RequestTimeout", "InternalError", "ServiceUnavailable", "408"), UNAVAILABLE),
    **dict.fromkeys(("ConditionalRequestConflict", "OperationAborted", "409"), _CONFLICT),
    **dict.fromkeys(("QuotaExceeded", "InsufficientCapacity", "XMinioStorageFull", "507"), _FULL),
    **dict.fromkeys(("InvalidObjectState", "ObjectNotInActiveTierError"), _ARCHIVED),
    **dict.fromkeys(("NoSuchKey", "NotFound", "404"), _MISSING),
    **dict.fromkeys(("InvalidRange", "416"), _TRUNCATED),
}


# Headers of an upload that have nothing to do with checksums.
_OTHER_HEADERS = ("tagging", "storage", "none-match", "acl", "grant", "redirect", "encryption")


def rule_for(action: str, code: str, message: str, status: int) -> Rule:
    """Return the rule for a refusal, from its code, its message and its HTTP status."""
    if code.startswith("KMS.") or (code == "AccessDenied" and "kms:" in message):
        return _KMS_STATES.get(code, _KMS)
    if code in {"PreconditionFailed", "412"}:
        return EXISTS if action == "s3:PutObject" else _CHANGED
    if code in {"InvalidArgument", "InvalidRequest"} and "checksum" in message.lower():
        return _UNCHECKED
    is_unknown_header = code == "InvalidArgument" and message.lower().startswith("unsupported header")
    if is_unknown_header or code in {"NotImplemented", "501"} or (status == 501 and code not in _RULES):
        return _UNCHECKED if action == "s3:PutObject" and _is_about_checksums(message) else _UNSUPPORTED
    known = _RULES.get(code) or _RULES.get(str(status))
    return known or (UNAVAILABLE if status >= 500 else REFUSED)


def _is_about_checksums(message: str) -> bool:
    """Return whether a store that does not know something may mean a checksum: it names it, or names nothing else."""
    said = message.lower()
    if "checksum" in said or "trailer" in said or "streaming" in said:
        return True
    return not any(word in said for word in _OTHER_HEADERS)
