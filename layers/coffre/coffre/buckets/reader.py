"""Buckets as backups read them: pages of listings, pieces of objects, tags, grants. Keys in them may be anything."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

from coffre.buckets.object_facts import Listed, etag_of
from coffre.buckets.s3_xml import ListingPage, parse_page, parse_pairs, parse_versions
from coffre.buckets.source_notes import Remarks
from coffre.model.errors import IntegrityError, ObjectMissingError, StoreError, StoreTransientError
from coffre.stores.s3_errors import Call
from coffre.stores.s3_exchange import Answer
from coffre.stores.s3_wire import S3Wire

# The length of one request for a part of an object, and of the frames that are stored: large enough that neither
# requests nor lines of entries count, small enough that a few dozen fit into memory.
PIECE_BYTES: Final = 4 * 1024 * 1024
# A thousand keys of 1,024 bytes, each byte as `%XX`.
_PAGE_BYTES: Final = 8 * 1024 * 1024
_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_NO_ACLS: Final = "BucketOwnerEnforced"


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of an object, the object's own size, and the headers that came with them."""

    body: bytes
    size: int
    headers: Mapping[str, str]


@dataclass
class BucketReader(Remarks):
    """Reads the buckets of one store. Safe to use from several threads; a context manager that closes the connections.

    Parameters
    ----------
    has_acls
        Whether the store is one whose objects can have grants of their own (AWS).
    """

    wire: S3Wire
    has_acls: bool = False
    _unknown: set[tuple[str, str]] = field(default_factory=set)
    _with_acls: dict[str, bool] = field(default_factory=dict)
    _with_tags: dict[str, bool] = field(default_factory=dict)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.wire.close()

    @property
    def url(self) -> str:
        """Where the buckets are."""
        return self.wire.endpoint.url

    @property
    def region(self) -> str:
        """The region that requests are signed for."""
        return self.wire.endpoint.region

    @property
    def requests(self) -> Counter[str]:
        """The number of requests so far, by operation."""
        return self.wire.requests

    @property
    def received_bytes(self) -> int:
        """The number of bytes that answers had so far."""
        return self.wire.received_bytes

    @property
    def stopping(self) -> threading.Event:
        """Set it to make every request end soon."""
        return self.wire.stopping

    def page(self, bucket: str, prefix: str, *, token: str | None = None, after: str | None = None) -> ListingPage:
        """Return up to a thousand objects whose keys start with `prefix`, from a token or after a key."""
        query = {"list-type": "2", "encoding-type": "url", "max-keys": "1000"}
        query |= {"prefix": prefix} if prefix else {}
        query |= {"continuation-token": token} if token else {"start-after": after} if after else {}
        call = self.call("s3:ListBucket", bucket, prefix)
        return parse_page(self.wire.get(call, "list", query=query, limit_bytes=_PAGE_BYTES).body, call)

    def rest_of_page(self, bucket: str, after: str) -> Sequence[Listed] | None:  # noqa: ARG002 - of the contract
        """Return None: each object is read for itself, and can be listed again."""
        return None

    def take_up(self, rest: Sequence[Listed]) -> None:
        """Take nothing: no page is kept."""

    def piece(self, bucket: str, listed: Listed, offset: int, *, etag: str | None = None) -> Piece:
        """Return up to `PIECE_BYTES` of an object from `offset`; with an `etag` only if it still has that one.

        Raises
        ------
        StoreTransientError
            `OBJECT_CHANGED`: it has another etag by now, or is another size.
        CoffreError
        """
        call = self.call("s3:GetObject", bucket, listed.key)
        answer = self._answer(call, listed, offset, etag)
        size = _size_of(answer, offset, call)
        if etag is not None and (etag_of(answer.headers) != etag or size != listed.size):
            raise changed(call)
        return Piece(answer.body, size, answer.headers)

    def _answer(self, call: Call, listed: Listed, offset: int, etag: str | None) -> Answer:
        condition = {"if-match": f'"{etag}"'} if etag is not None else {}
        wanted = {"range": f"bytes={offset}-{offset + PIECE_BYTES - 1}"} if listed.size else {}
        query = _version(listed.version_id)
        try:
            return self.wire.get(call, "get", query=query, headers={**wanted, **condition}, limit_bytes=PIECE_BYTES)
        except IntegrityError as error:  # the object has no such byte
            if offset:
                raise changed(call) from error
            return self.wire.get(call, "get", query=query, limit_bytes=PIECE_BYTES)
        except StoreError as error:
            if error.code == "RANGE_UNSUPPORTED" and not wanted:  # it was empty when it was listed
                raise changed(call) from error
            raise

    def is_listed(self, bucket: str, key: str) -> bool:
        """Return whether a listing shows an object."""
        return any(found.key == key for found in self.page(bucket, key).objects)

    def versions(self, bucket: str, key: str) -> list[Listed] | None:
        """Return the versions of an object, the newest first; None when the store cannot list them, which is recorded.

        In a bucket without versioning an object is its only version, with the id None.

        Raises
        ------
        StoreTransientError
            The store does not answer.
        """
        call = self.call("s3:ListBucketVersions", bucket, key)
        query = {"versions": "", "encoding-type": "url", "max-keys": "1000", "prefix": key}
        found: list[Listed] = []
        marks: dict[str, str] = {}
        try:
            while True:
                page = parse_versions(
                    self.wire.get(call, "list", query={**query, **marks}, limit_bytes=_PAGE_BYTES).body, call
                )
                found += [one for one in page.objects if one.key == key]
                # Of keys that begin with this one, its own come first.
                if not page.next or page.next == marks or any(one.key != key for one in page.objects):
                    return found
                marks = page.next
        except StoreTransientError:
            raise
        except StoreError as error:
            self.note(f"Versions of objects in {bucket} cannot be listed: {error.code} (s3:ListBucketVersions).")
            return None

    def tags(self, bucket: str, key: str, version: str | None = None) -> dict[str, str] | None:
        """Return an object's tags; None when they cannot be read, which is recorded."""
        whose = f"Tags of objects in {bucket}"
        answer = self._asked("s3:GetObjectTagging", bucket, key, "tagging", whose, _version(version))
        call = self.call("s3:GetObjectTagging", bucket, key)
        return dict(parse_pairs(answer.body, "Tag", "Key", "Value", call)) if answer else None

    def tells_tags(self, bucket: str, key: str) -> bool:
        """Return whether answers tell that objects have tags, as AWS does to those who may read them."""
        if not self.has_acls:
            return True
        with self._lock:
            if bucket not in self._with_tags:
                try:
                    call = self.call("s3:GetObjectTagging", bucket, key)
                    self.wire.get(call, "tagging", query={"tagging": ""}, limit_bytes=_PAGE_BYTES)
                except ObjectMissingError:
                    return True
                except StoreError as error:
                    self._tell(f"Tags of objects in {bucket}", "could not be read", error)
                    self._with_tags[bucket] = False
                else:
                    self._with_tags[bucket] = True
            return self._with_tags[bucket]

    def acl(self, bucket: str, key: str, version: str | None = None) -> tuple[str, ...] | None:
        """Return the grants of an object, where the bucket's objects have any of their own; None as `tags` does."""
        if not self.has_acls or not self._bucket_has_acls(bucket):
            return ()
        whose = f"Grants (ACL) of objects in {bucket}"
        answer = self._asked("s3:GetObjectAcl", bucket, key, "acl", whose, _version(version))
        if answer is None:
            return None
        call = self.call("s3:GetObjectAcl", bucket, key)
        grants = parse_pairs(answer.body, "Grant", ("ID", "URI", "EmailAddress"), "Permission", call)
        return tuple(f"{grantee}={permission}" for grantee, permission in grants)

    def call(self, action: str, bucket: str, key: str) -> Call:
        """Return what a request is about."""
        return Call(action, bucket, key, self.wire.endpoint.url)

    def denied_hint(self, bucket: str) -> str:
        """Return what to do when none of a bucket's objects may be read."""
        return (
            f"The role or the access key needs s3:GetObject on arn:aws:s3:::{bucket}/*, and kms:Decrypt "
            "if a KMS key encrypts the objects. In template.yaml: SourceBuckets. Objects encrypted with "
            "customer-provided keys (SSE-C) cannot be backed up: leave them out (exclude)."
        )

    def _bucket_has_acls(self, bucket: str) -> bool:
        with self._lock:
            if bucket not in self._with_acls:
                self._with_acls[bucket] = self._ask_for_acls(bucket)
            return self._with_acls[bucket]

    def _ask_for_acls(self, bucket: str) -> bool:
        call = Call("s3:GetBucketOwnershipControls", bucket, "", self.wire.endpoint.url)
        query = {"ownershipControls": ""}
        try:
            return _NO_ACLS.encode() not in self.wire.get(call, "acl", query=query, limit_bytes=_PAGE_BYTES).body
        except StoreError as error:
            # Buckets from before 2023 have no such setting, and then grants.
            if "OwnershipControlsNotFound" in (error.detail or ""):
                return True
            self._tell(f"Grants (ACL) of objects in {bucket}", "were not looked at", error)
            return False

    def _asked(
        self, action: str, bucket: str, key: str, what: str, whose: str, version: dict[str, str]
    ) -> Answer | None:
        if (what, bucket) in self._unknown:
            return None
        try:
            query = {what: "", **version}
            return self.wire.get(self.call(action, bucket, key), what, query=query, limit_bytes=_PAGE_BYTES)
        except ObjectMissingError:
            return None
        except StoreError as error:
            self._tell(whose, "could not be read", error)
            with self._lock:
                if error.code == "STORE_UNSUPPORTED":
                    self._unknown.add((what, bucket))
            return None

    def _tell(self, whose: str, what: str, error: StoreError) -> None:
        if error.code == "STORE_UNSUPPORTED":
            with self._lock:
                self.notes[f"{whose} are not in the backup: the store does not know the request for them."] = 1
        else:
            self.miss(f"{whose} {what}: {error.code}.")


def changed(call: Call) -> StoreTransientError:
    """Return the error of an object that is not the one any more that was begun."""
    return StoreTransientError(f"{call.place} was replaced while it was read.", code="OBJECT_CHANGED")


def _version(version: str | None) -> dict[str, str]:
    return {"versionId": version} if version else {}


def _size_of(answer: Answer, offset: int, call: Call) -> int:
    """Return the whole size of the object, after checking that these are the bytes that were asked for."""
    found = _RANGE.fullmatch(answer.headers.get("content-range", ""))
    if found is None and answer.status == 200 and offset == 0:
        return len(answer.body)
    if found is None or int(found[1]) != offset or int(found[2]) != offset + len(answer.body) - 1:
        raise StoreError(
            f"The store at {call.host} sent another part than it was asked for of {call.place}.",
            code="RANGE_UNSUPPORTED",
            hint="Use a store that serves byte ranges, or look for a proxy in between that does not.",
        )
    return int(found[3])
