"""Requests that write to a bucket: checked on arrival, sent again when they arrived damaged, adapted to the store."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from coffre.buckets.writer_attributes import ExactHeaders
from coffre.model.errors import CoffreError, StoreError, StoreTransientError
from coffre.stores.checks import digest_of
from coffre.stores.s3_errors import Call

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

# How often a body that arrived damaged is sent in all; the library itself does not send it again.
_ATTEMPTS: Final = 3
_SEND_AGAIN: Final = frozenset({"UPLOAD_CORRUPTED", "STORE_CONFLICT"})

# What a store may not know, the most dispensable first: the parameter, and what a note says when objects go
# without it.
_DISPENSABLE: Final = {
    "IfNoneMatch": "",
    "WebsiteRedirectLocation": "objects have no redirects there: the store does not take redirect locations",
    "StorageClass": "objects have the default storage class there: the store does not know that of the source",
    "Tagging": "objects have no tags there: the store does not take them",
}
_NAMED: Final = {
    "none-match": "IfNoneMatch",
    "redirect": "WebsiteRedirectLocation",
    "storage": "StorageClass",
    "tagging": "Tagging",
}
_UNCOMPARED: Final = "tags were not compared: s3:GetObjectTagging was denied"
_KEYS_NAMED: Final = 10
_EXPIRES: Final = "some objects have no Expires there: the store does not take a text that is no date"


class WriteRequests:
    """What the requests to one bucket have in common. Safe to use from several threads.

    Parameters
    ----------
    is_aws
        Whether the store is AWS's own, which checks a SHA-256 and keeps it; others get an MD5.
    """

    def __init__(self, client: S3Client, bucket: str, *, is_aws: bool) -> None:
        self.client = client
        self.bucket = bucket
        self.is_aws = is_aws
        self.headers = ExactHeaders(client)
        self._lock = threading.Lock()
        self._without: set[str] = set()
        self._other_keys: set[str] = set()

    @property
    def notes(self) -> tuple[str, ...]:
        """What objects had to go without."""
        reasons = {**_DISPENSABLE, "Expires": _EXPIRES, "TagsDenied": _UNCOMPARED, "TagsUnknown": ""}
        return tuple(f"{self.bucket}: {reasons[name]}." for name in sorted(self._without) if reasons[name])

    @property
    def key_notes(self) -> tuple[str, ...]:
        """Which keys of KMS objects had at the source and have not here."""
        return tuple(
            f"{self.bucket}: objects that the KMS key {key} encrypted at the source are encrypted there as the "
            "destination does by default."
            for key in sorted(self._other_keys)[:_KEYS_NAMED]
        )

    def see_key(self, wanted: str | None, used: str | None) -> None:
        """Notice that an object was not encrypted by the key that it had."""
        if wanted is not None and used != wanted:
            with self._lock:
                self._other_keys.add(wanted)

    def do_without(self, name: str) -> None:
        """Remember that the store refuses something, from now on."""
        with self._lock:
            self._without.add(name)

    def goes_without(self, name: str) -> bool:
        """Return whether the store refused to know a parameter."""
        return name in self._without

    def call(self, action: str, key: str) -> Call:
        """Return what a request is about, for errors."""
        return Call(action, self.bucket, key, self.client.meta.endpoint_url)

    def checksum(self, body: bytes, sha256: str | None = None) -> dict[str, Any]:
        """Return the parameters by which the store checks a body."""
        if self.is_aws:
            digest = digest_of(sha256) if sha256 else hashlib.sha256(body).digest()
            return {"ChecksumAlgorithm": "SHA256", "ChecksumSHA256": in_base64(digest)}
        return {"ContentMD5": in_base64(hashlib.md5(body, usedforsecurity=False).digest())}

    def adapting(
        self,
        fields: dict[str, Any],
        send: Callable[[dict[str, Any]], None],
        refuse_existing: Callable[[], None] = lambda: None,
    ) -> None:
        """Send, and do without what the store does not know: from the first refusal on, for all objects.

        Parameters
        ----------
        refuse_existing
            Called before what is to be new is sent without that condition, which the store does not know.
        """
        dropped: set[str] = set()
        while True:
            without = dropped | (self._without - {"Expires"})  # another object's may be one that it takes
            used = {name: value for name, value in fields.items() if name not in without}
            if "IfNoneMatch" in fields and "IfNoneMatch" in without:
                refuse_existing()
            try:
                again(send, used)
                return
            except StoreError as error:
                name = _unknown(error, used)
                if name is None:
                    raise
                dropped.add(name)
                self.do_without(name)


def again(send: Callable[[dict[str, Any]], None], fields: dict[str, Any]) -> None:
    """Send, and once more when other bytes arrived."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            send(fields)
            return
        except StoreTransientError as error:
            if error.code not in _SEND_AGAIN or attempt == _ATTEMPTS:
                raise


def _unknown(error: CoffreError, used: dict[str, Any]) -> str | None:
    """Return which of the parameters used the store did not know, if that is why it refused."""
    said = error.detail or ""
    if said.startswith("InvalidStorageClass"):
        return "StorageClass" if "StorageClass" in used else None
    if said.startswith("MalformedDate"):
        return "Expires" if "Expires" in used else None
    if error.code not in {"CHECKSUM_UNSUPPORTED", "STORE_UNSUPPORTED"}:
        return None
    named = (name for word, name in _NAMED.items() if word in said.lower() and name in used)
    return next(named, next((name for name in _DISPENSABLE if name in used), None))


def condition(*, if_absent: bool) -> dict[str, str]:
    """Return the parameter that lets an object be written only where none exists."""
    return {"IfNoneMatch": "*"} if if_absent else {}


def in_base64(digest: bytes) -> str:
    """Return a digest as headers have it."""
    return base64.b64encode(digest).decode()
