"""S3 Object Lock: the requests, and what S3 and compatible stores answer.

Facts (Amazon S3 User Guide, "Object Lock considerations", read 2026-11): a request that locks needs a digest of its
body; who may not see locks gets answers without them; reading them takes s3:GetObjectRetention and
s3:GetObjectLegalHold; a request without a version id means the current version.
"""

from __future__ import annotations

import base64
import hashlib
from abc import abstractmethod
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from botocore.exceptions import ClientError

from coffre.model.errors import CoffreError, ObjectMissingError, StoreError
from coffre.model.locks import Lock, LockMode, LockState
from coffre.stores.locking import LockingStore
from coffre.stores.s3_errors import Call, translated
from coffre.stores.store import check_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botocore.client import BaseClient
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import ObjectLockRetentionTypeDef

_NO_LOCK_IN_BUCKET: Final = "ObjectLockConfigurationNotFoundError"
# What stores say of an object without a lock or a hold: AWS, SeaweedFS, and all when the bucket has no Object Lock.
_NO_LOCK: Final = frozenset(
    {_NO_LOCK_IN_BUCKET, "NoSuchObjectLockConfiguration", "NoSuchObjectLegalHold", "InvalidRequest"}
)
_WITHOUT_DIGEST: Final = ("PutObjectRetention", "PutObjectLegalHold")


def headers_of(lock: Lock | None, *, held: bool = False) -> dict[str, Any]:
    """Return the fields of a `put_object` that lock the object, and set its legal hold."""
    hold = {"ObjectLockLegalHoldStatus": "ON"} if held else {}
    if lock is None:
        return hold
    return {"ObjectLockMode": lock.mode.value.upper(), "ObjectLockRetainUntilDate": lock.until, **hold}


def state_of(answer: Mapping[str, Any]) -> LockState:
    """Return what the answer to a HEAD says about locks."""
    return LockState(
        _lock(answer.get("ObjectLockMode"), answer.get("ObjectLockRetainUntilDate")),
        held=answer.get("ObjectLockLegalHoldStatus") == "ON",
    )


def md5_for_locks(client: BaseClient) -> None:
    """Send locks with an MD5, which every store knows. The newer checksums break some (see `make_client`)."""
    for operation in _WITHOUT_DIGEST:
        client.meta.events.register(f"before-call.s3.{operation}", _add_md5)


def _add_md5(params: dict[str, Any], **_: object) -> None:
    body: bytes = params["body"]
    headers = params["headers"]
    for name in [name for name in headers if name.lower().startswith(("x-amz-checksum", "x-amz-sdk-checksum"))]:
        del headers[name]
    headers["Content-MD5"] = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


class LocksOfBucket(LockingStore):
    """The requests about locks of a store that is one bucket."""

    _client: S3Client

    @abstractmethod
    def _call(self, action: str, key: str) -> Call:
        """Describe a request about a key of this store."""

    def require_locking(self) -> None:
        call = self._call("s3:GetBucketObjectLockConfiguration", "")
        try:
            with translated(call):
                answer = self._client.get_object_lock_configuration(Bucket=call.bucket)
        except (StoreError, ObjectMissingError) as error:
            if _code_of(error) == _NO_LOCK_IN_BUCKET:
                raise _off(call) from error
            if error.code in {"STORE_UNSUPPORTED", "STORE_FAILED"}:
                raise _unsupported(call) from error
            raise
        if answer.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") != "Enabled":
            raise _off(call)

    def lock_of(self, key: str) -> LockState:
        """Return what protects an object, by two requests that take no s3:GetObject."""
        call = self._call("s3:GetObjectRetention", check_key(key))
        with _none_is_no_lock(call) as found:
            found.update(self._client.get_object_retention(Bucket=call.bucket, Key=call.key).get("Retention", {}))
        with _none_is_no_lock(replace(call, action="s3:GetObjectLegalHold")) as held:
            held.update(self._client.get_object_legal_hold(Bucket=call.bucket, Key=call.key).get("LegalHold", {}))
        lock = _lock(found.get("Mode"), found.get("RetainUntilDate"))
        return LockState(lock, held=held.get("Status") == "ON")

    def extend_lock(self, key: str, lock: Lock) -> None:
        call = self._call("s3:PutObjectRetention", check_key(key))
        mode: Literal["COMPLIANCE", "GOVERNANCE"] = "COMPLIANCE" if lock.mode is LockMode.COMPLIANCE else "GOVERNANCE"
        retention: ObjectLockRetentionTypeDef = {"Mode": mode, "RetainUntilDate": lock.until}
        with translated(call):
            self._client.put_object_retention(Bucket=call.bucket, Key=call.key, Retention=retention)

    def hold(self, key: str, *, on: bool) -> None:
        call = self._call("s3:PutObjectLegalHold", check_key(key))
        with translated(call):
            self._client.put_object_legal_hold(
                Bucket=call.bucket, Key=call.key, LegalHold={"Status": "ON" if on else "OFF"}
            )


@contextmanager
def _none_is_no_lock(call: Call) -> Iterator[dict[str, Any]]:
    """Give out a dictionary to fill; an answer that the object has no lock leaves it empty."""
    found: dict[str, Any] = {}
    try:
        with translated(call):
            yield found
    except (StoreError, ObjectMissingError) as error:
        if _code_of(error) not in _NO_LOCK:
            raise


def _code_of(error: CoffreError) -> str | None:
    """Return the store's own code of what it refused."""
    cause = error.__cause__
    return cause.response["Error"].get("Code") if isinstance(cause, ClientError) else None


def _lock(mode: str | None, until: datetime | str | None) -> Lock | None:
    if not mode or until is None:
        return None
    moment = datetime.fromisoformat(until) if isinstance(until, str) else until
    return Lock(LockMode(mode.lower()), moment.astimezone(UTC))


def _off(call: Call) -> StoreError:
    return StoreError(
        f"The bucket {call.bucket} has no Object Lock, and the stack asks for it (parameter ObjectLock).",
        code="LOCKS_OFF",
        hint=f"Nothing was stored. Enable it (it cannot be disabled again): aws s3api put-object-lock-configuration "
        f"--bucket {call.bucket} --object-lock-configuration ObjectLockEnabled=Enabled. Or deploy with ObjectLock=off.",
    )


def _unsupported(call: Call) -> StoreError:
    return StoreError(
        f"The store at {call.host} does not know S3 Object Lock, and the stack asks for it (parameter ObjectLock).",
        code="LOCKS_UNSUPPORTED",
        hint="Nothing was stored. Deploy with ObjectLock=off, or use a store that has Object Lock.",
    )
