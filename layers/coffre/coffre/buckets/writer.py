"""Objects written back into a bucket: whole and checked, or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from coffre.buckets.listing import LOOKED_AT, LOOKED_AT_ELSEWHERE, SortedListing
from coffre.buckets.object_facts import Listed
from coffre.buckets.writer_attributes import differing, fields_of
from coffre.buckets.writer_habits import habits_of, versioning_of
from coffre.buckets.writer_likeness import Likeness, Proof, proof_of
from coffre.buckets.writer_requests import WriteRequests, condition
from coffre.buckets.writer_upload import MultipartUpload
from coffre.model.errors import ObjectMissingError, StoreError
from coffre.model.manifest import ObjectFacts
from coffre.model.storage import BegunUpload
from coffre.stores.s3_errors import object_exists, translated, was_retried
from coffre.stores.s3_listing import Listing
from coffre.stores.store import ObjectInfo

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef, TagTypeDef

_PAGE_SIZE: Final = 1000
_READ_BYTES: Final = 256 * 1024
_NOT_READ: Final = frozenset({"OBJECT_ARCHIVED", "STORE_DENIED", "KMS_UNUSABLE"})


@dataclass(frozen=True)
class ReadBack:
    """What an object is that was read: its bytes, and which attributes are not those that were expected."""

    size: int
    sha256: str
    differing: tuple[str, ...]


class BucketWriter:
    """Writes the objects of one bucket, and compares them with a backup. Safe to use from several threads.

    Parameters
    ----------
    client
        Of the store.
    name
        The bucket's.
    is_aws
        Whether the store is AWS's own.
    """

    def __init__(self, client: S3Client, name: str, *, is_aws: bool) -> None:
        self.name = name
        self._client = client
        self._requests = WriteRequests(client, name, is_aws=is_aws)

    @property
    def notes(self) -> tuple[str, ...]:
        """What objects had to go without."""
        return self._requests.notes

    @property
    def key_notes(self) -> tuple[str, ...]:
        """Which keys of KMS objects had at the source and have not here."""
        return self._requests.key_notes

    def listing(self, prefix: str) -> Iterator[Listed]:
        """Yield the existing objects, sorted by key, in bounded memory: an unsorted listing is sorted through files.

        Raises
        ------
        StoreError
            `BUCKET_MISSING`, `STORE_DENIED`, `LISTING_BROKEN` ...
        """
        call = self._requests.call("s3:ListBucket", prefix)
        pages = Listing(self._client, call, base="", page_size=_PAGE_SIZE).pages()
        listed = ([_listed(info) for info in page] for page in pages)
        looked_at = LOOKED_AT if self._requests.is_aws else LOOKED_AT_ELSEWHERE
        with tempfile.TemporaryDirectory(prefix="coffre-listing-") as scratch:
            yield from SortedListing(listed, call, Path(scratch), looked_at).objects()

    def require(self) -> None:
        """Make sure that the bucket exists and can be listed; raises what `listing` raises."""
        with translated(self._requests.call("s3:ListBucket", "")):
            self._client.list_objects_v2(Bucket=self.name, MaxKeys=1)

    def find(self, key: str) -> Listed | None:
        """Return the existing object of one key."""
        try:
            with translated(self._requests.call("s3:GetObject", key)):
                head = self._client.head_object(Bucket=self.name, Key=key)
        except ObjectMissingError:
            return None
        etag = head["ETag"].strip('"') if "ETag" in head else None
        return Listed(key, head["ContentLength"], etag, head.get("LastModified"))

    def compare(
        self,
        key: str,
        facts: ObjectFacts,
        *,
        size: int,
        sha256: str,
        may_read: Callable[[int], bool] = lambda _: True,
        check: Callable[[], None] = lambda: None,
    ) -> Likeness:
        """Compare an object that exists with what a backup has of it: bytes, attributes, tags.

        Parameters
        ----------
        may_read
            Asked, with the size, before an object is read because the store has no checksum that proves what it is.
            Without leave it counts as another one, as what the store does not let be read.
        check
            Called while an object is read, to end that by an error.
        """
        request: dict[str, Any] = {"Bucket": self.name, "Key": key}
        if self._requests.is_aws:
            request["ChecksumMode"] = "ENABLED"
        try:
            with translated(self._requests.call("s3:GetObject", key)):
                head = self._client.head_object(**request)
            if head["ContentLength"] != size:
                return Likeness.OTHER
            proof = proof_of(facts, head, sha256)
            if proof is Proof.NONE and may_read(size):
                proof = self._proof_of_bytes(key, sha256, check)
            if proof is not Proof.SAME:
                return Likeness.OTHER
        except ObjectMissingError:
            return Likeness.OTHER
        if differing(facts, head, knows_redirects=self._requests.is_aws):
            return Likeness.BYTES
        return Likeness.SAME if self._has_tags(key, facts) else Likeness.ALL_BUT_TAGS

    def _proof_of_bytes(self, key: str, sha256: str, check: Callable[[], None]) -> Proof:
        try:
            return Proof.SAME if self._digest(key, check)[1] == sha256 else Proof.OTHER
        except StoreError as error:
            if error.code not in _NOT_READ:
                raise
            return Proof.OTHER

    def _digest(
        self,
        key: str,
        check: Callable[[], None] = lambda: None,
        opened: Callable[[Iterator[bytes]], Iterator[bytes]] = iter,
    ) -> tuple[int, str, GetObjectOutputTypeDef]:
        """Read a whole object, in constant memory."""
        digest, size = hashlib.sha256(), 0
        with translated(self._requests.call("s3:GetObject", key)):
            answer = self._client.get_object(Bucket=self.name, Key=key)
            with contextlib.closing(answer["Body"]) as body:
                for piece in opened(body.iter_chunks(_READ_BYTES)):
                    check()
                    digest.update(piece)
                    size += len(piece)
        return size, digest.hexdigest(), answer

    def set_tags(self, key: str, tags: Mapping[str, str]) -> bool:
        """Give an object these tags and no others; tell whether the store takes them without its bytes."""
        tag_set: list[TagTypeDef] = [{"Key": name, "Value": value} for name, value in tags.items()]
        try:
            with translated(self._requests.call("s3:PutObjectTagging", key)):
                self._client.put_object_tagging(Bucket=self.name, Key=key, Tagging={"TagSet": tag_set})
        except StoreError as error:
            if error.code in {"STORE_UNSUPPORTED", "STORE_DENIED"}:
                return False
            raise
        return True

    def read_back(
        self, key: str, facts: ObjectFacts, opened: Callable[[Iterator[bytes]], Iterator[bytes]] = iter
    ) -> ReadBack:
        """Read a whole object, in constant memory, and compare its attributes, except for those that `notes` names.

        Parameters
        ----------
        opened
            Returns the bytes to measure and hash from the stored ones.

        Raises
        ------
        StoreError
            `OBJECT_MISSING`, `STORE_DENIED` ...
        """
        size, sha256, answer = self._digest(key, opened=opened)
        is_without_expires = self._requests.goes_without("Expires")
        others = [name for name in differing(facts, answer) if not (name == "expires" and is_without_expires)]
        is_without_tags = self._requests.goes_without("Tagging") or "tags" in facts.unknown
        has_tags = is_without_tags or self._tags(key, must_show=True) in (facts.tags, None)
        return ReadBack(size, sha256, (*others, *(() if has_tags else ("tags",))))

    def put(self, key: str, body: bytes, facts: ObjectFacts, *, sha256: str, if_absent: bool) -> None:
        """Write a small object in one request, checked on arrival.

        Raises
        ------
        StoreError
            `OBJECT_EXISTS` (only with `if_absent`) and whatever the store refuses with.
        """
        check = self._requests.checksum(body, sha256)

        def send(fields: dict[str, Any]) -> None:
            with (
                translated(self._requests.call("s3:PutObject", key)),
                self._requests.headers.taken_from(fields) as others,
            ):
                answer = self._client.put_object(Bucket=self.name, Key=key, Body=body, **check, **others)
            self._requests.see_key(facts.kms_key, answer.get("SSEKMSKeyId"))

        try:
            fields = {**fields_of(facts), **condition(if_absent=if_absent)}
            self._requests.adapting(fields, send, lambda: self._refuse_existing(key))
        except StoreError as error:
            # In its way may be what it has written itself, when the answer to that was lost.
            is_own = error.code == "OBJECT_EXISTS" and was_retried(error)
            if not is_own or self.compare(key, facts, size=len(body), sha256=sha256) is not Likeness.SAME:
                raise

    def upload(
        self,
        key: str,
        pieces: Callable[[int], Iterable[bytes]],
        facts: ObjectFacts,
        *,
        size: int,
        if_absent: bool,
        sha256: str | None = None,
        begun: BegunUpload | None = None,
        pauses: bool = False,
    ) -> BegunUpload | None:
        """Write a large object in parts: see `MultipartUpload.run`. It becomes visible when the last piece came."""
        upload = self._multipart(key, sha256)
        return upload.run(pieces, facts, size=size, if_absent=if_absent, begun=begun, pauses=pauses)

    def abort(self, begun: BegunUpload) -> str | None:
        """End an upload that was paused; return what may be left of it."""
        return self._multipart(begun.key).abort(begun.upload_id)

    def _multipart(self, key: str, sha256: str | None = None) -> MultipartUpload:
        def is_written(size: int, etag: str | None) -> bool:
            found = self.find(key)
            if found is None or found.size != size:
                return False
            return found.etag == etag or sha256 is None or self._digest(key)[1] == sha256

        return MultipartUpload(self._requests, key, lambda: self._refuse_existing(key), is_written)

    def _refuse_existing(self, key: str) -> None:
        if self.find(key) is not None:
            raise object_exists(self._requests.call("s3:PutObject", key))

    def delete(self, key: str) -> None:
        """Delete an object; quiet when there is none."""
        with translated(self._requests.call("s3:DeleteObject", key)):
            self._client.delete_object(Bucket=self.name, Key=key)

    def versioning(self) -> str:
        """Return whether the bucket keeps versions: `Enabled`, `Suspended`, `off`, or `unknown`."""
        return versioning_of(self._client, self.name)

    def habits(self) -> list[str]:
        """Describe what this bucket does with what is overwritten or deleted, as far as its settings can be read."""
        return habits_of(self._client, self.name)

    def _has_tags(self, key: str, facts: ObjectFacts) -> bool:
        if self._requests.goes_without("Tagging") or "tags" in facts.unknown:
            return True
        found = self._tags(key)
        if found is None and facts.tags and self._requests.goes_without("TagsUnknown"):
            self._requests.do_without("Tagging")
        return found in (facts.tags, None)

    def _tags(self, key: str, *, must_show: bool = False) -> dict[str, str] | None:
        """Return an object's tags; None when the store has none, or denies them (then `must_show` raises)."""
        if self._requests.goes_without("TagsUnknown") or self._requests.goes_without("TagsDenied"):
            return None
        try:
            with translated(self._requests.call("s3:GetObjectTagging", key)):
                found = self._client.get_object_tagging(Bucket=self.name, Key=key)
        except StoreError as error:
            refused = {"STORE_UNSUPPORTED": "TagsUnknown", "STORE_DENIED": "TagsDenied"}.get(error.code)
            if refused is None or (must_show and refused == "TagsDenied"):
                raise
            self._requests.do_without(refused)
            return None
        return {tag["Key"]: tag["Value"] for tag in found["TagSet"]}


def _listed(info: ObjectInfo) -> Listed:
    return Listed(info.key, info.size, info.etag, info.last_modified)
