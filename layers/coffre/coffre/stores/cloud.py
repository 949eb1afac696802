"""Objects in Google Cloud Storage and in Azure Blob Storage, by the library obstore (docs/adr/0035)."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import obstore

from coffre.model.errors import CoffreError, ObjectMissingError, StoreError, StoreTransientError
from coffre.stores.body import Body, pieces_of, sha256_of, size_of
from coffre.stores.checks import check_body, check_range, check_size, digest_of, too_large, truncated
from coffre.stores.cloud_errors import CloudCall, is_beyond_end, says_which, status_of, translated
from coffre.stores.listing_order import in_order
from coffre.stores.request_counts import Tally
from coffre.stores.store import MAX_OBJECT_BYTES, ObjectInfo, Store, check_key, check_prefix

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult, ObjectMeta, PutMode
    from obstore.store import AzureStore, GCSStore

# Sent again so often in all: uploads that arrived otherwise or whose answer got lost, and bodies that broke off.
# obstore itself repeats requests that a store refused for the moment.
_ATTEMPTS: Final = 3
_PAUSE_SECONDS: Final = 0.2

_PAGE: Final = 1000

# User metadata. Azure takes names that are identifiers of C#: no dashes.
_SHA256: Final = "coffresha256"
_UPLOAD: Final = "coffreupload"


class ConfirmsMd5(Protocol):
    """How a provider confirms which bytes have arrived."""

    def __call__(self, key: str, etag: str, md5: bytes, /) -> bool | None:
        """Return whether the object with this change marker has this MD5; None: the provider does not say."""


@dataclass(frozen=True, slots=True)
class Cloud:
    """One bucket or container: how to reach it, and its words.

    Parameters
    ----------
    root
        Its address, for a person: `gs://bucket`, `azure://account/container`.
    where
        The store's name or host, for a person.
    permissions
        What `write`, `read`, `list` and `delete` need.
    """

    client: GCSStore | AzureStore
    root: str
    where: str
    permissions: Mapping[str, str]
    confirms_md5: ConfirmsMd5


class CloudStore(Store):
    """The objects of one bucket or container below one prefix.

    Parameters
    ----------
    cloud
        From `google_cloud` or `azure_cloud` (`coffre.stores.cloud_clients`).
    prefix
        As of `S3Store`.
    tally
        Counts requests (as obstore is asked: those that it repeats are not counted) and bytes.

    Notes
    -----
    The bytes are hashed before they are sent, and again with MD5. When they have arrived, the MD5 that the provider
    computed over what it stored is compared. Where it states none (Google with a key of one's own, Azure without an
    account key or SAS token), the object is read back and its SHA-256 compared. What differs is replaced, three times
    over, and then deleted: unlike in S3, wrong bytes can be seen for that moment.

    `if_absent` is the provider's own condition (`x-goog-if-generation-match: 0`, `If-None-Match: *`). Each upload has a
    random number in its metadata: one whose answer got lost is recognized by it.

    A listing is asked for by whole segments of a key; the rest of a prefix is filtered here.
    """

    def __init__(self, cloud: Cloud, *, prefix: str = "", tally: Tally | None = None) -> None:
        folder = prefix.removesuffix("/")
        self._prefix = check_key(folder) + "/" if folder else ""
        self._cloud = cloud
        self._tally = tally

    def put(self, key: str, body: Body, *, sha256: str, if_absent: bool = False) -> None:
        call = self._call("write", check_key(key))
        digest_of(sha256)
        check_size(key, size_of(body))
        check_body(call.place, body, sha256)
        upload = _Upload(body, sha256, secrets.token_hex(16))
        mode: PutMode = "create" if if_absent else "overwrite"
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                written = self._send(call, upload, mode)
            except StoreTransientError as error:
                # obstore repeats by itself what may be repeated blindly; a condition has to be looked at in between.
                if attempt == _ATTEMPTS or not if_absent or status_of(error) is not None:
                    raise
                time.sleep(_PAUSE_SECONDS * attempt)
                continue
            except StoreError as error:
                if error.code == "OBJECT_EXISTS" and self._is_own(call, upload):
                    return
                raise
            if self._has_arrived(call, written["e_tag"], upload):
                return
            # Exactly the object that is wrong is replaced, never one of another writer.
            mode = {name: value for name, value in written.items() if value}  # type: ignore[assignment]
        with suppress(CoffreError):
            self.delete(key)
        raise StoreTransientError(
            f"Other bytes arrived for {call.place} than were sent, several times over; the object was deleted.",
            code="UPLOAD_CORRUPTED",
            hint="Run it again; if it happens again, suspect the network or the memory of this machine.",
        )

    def _send(self, call: CloudCall, upload: _Upload, mode: PutMode) -> Any:
        self._count(source_writes=1, source_sent_bytes=upload.size, outside_bytes=upload.size)
        with translated(call):
            return obstore.put(
                self._cloud.client,
                call.key,
                list(pieces_of(upload.body)),
                attributes={_SHA256: upload.sha256, _UPLOAD: upload.number},
                mode=mode,
                use_multipart=False,
            )

    def _is_own(self, call: CloudCall, upload: _Upload) -> bool:
        """Return whether an object that exists is this upload, as far as these credentials let one see it."""
        try:
            with translated(call):
                return self._head(call).attributes.get(_UPLOAD) == upload.number
        except CoffreError:
            return False

    def _has_arrived(self, call: CloudCall, etag: str | None, upload: _Upload) -> bool:
        confirmed = self._cloud.confirms_md5(call.key, etag, upload.md5) if etag else None
        if confirmed is not None:
            return confirmed
        options: GetOptions = {"if_match": etag} if etag else {}
        try:
            body, _ = self._read(self._call("read", call.key.removeprefix(self._prefix)), options, MAX_OBJECT_BYTES)
        except ObjectMissingError:
            return True  # it arrived, or no one could have deleted it
        except StoreTransientError as error:
            if error.code == "OBJECT_CHANGED":
                return True  # another writer has replaced it since
            raise
        return sha256_of(body) == upload.sha256

    def get(self, key: str, *, limit_bytes: int = MAX_OBJECT_BYTES) -> bytes:
        body, _ = self._read(self._call("read", check_key(key)), {}, limit_bytes)
        return body

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        check_range(offset, length)
        call = self._call("read", check_key(key))
        end = offset + length
        try:
            body, size = self._read(call, {"range": (offset, end)}, None)
        except CoffreError as error:
            if is_beyond_end(error):
                size = self.head(key).size
                if size < end:
                    raise truncated(call.place, size, end) from error
            raise
        if len(body) != length:
            raise truncated(call.place, size, end)
        return body

    def head(self, key: str) -> ObjectInfo:
        call = self._call("read", check_key(key))
        self._count(source_reads=1)
        try:
            with translated(call):
                found = self._head(call)
        except ObjectMissingError as error:
            if not says_which(error):
                self._require_bucket(key)
            raise
        return self._info(found.meta, found.attributes.get(_SHA256))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        call = self._call("list", check_prefix(prefix))
        return in_order(self._listed(call), call.place)

    def delete(self, key: str) -> None:
        call = self._call("delete", check_key(key))
        with suppress(ObjectMissingError), translated(call):
            obstore.delete(self._cloud.client, call.key)

    # --- requests ---

    def _head(self, call: CloudCall) -> GetResult:
        return obstore.get(self._cloud.client, call.key, options={"head": True})

    def _read(self, call: CloudCall, options: GetOptions, limit_bytes: int | None) -> tuple[bytes, int]:
        """Return a body, and the size of the whole object; one that breaks off is asked for again."""
        for attempt in range(1, _ATTEMPTS + 1):
            self._count(source_reads=1)
            with translated(call):
                found = obstore.get(self._cloud.client, call.key, options=options)
            size = found.meta["size"]
            if limit_bytes is not None and size > limit_bytes:
                raise too_large(call.place, size, limit_bytes)
            try:
                with translated(call):
                    body = bytes(found.bytes())
            except StoreTransientError:
                if attempt == _ATTEMPTS:
                    raise
                continue
            self._count(source_received_bytes=len(body))
            return body, size
        raise AssertionError  # the last attempt returns or raises

    def _listed(self, call: CloudCall) -> Iterator[ObjectInfo]:
        folder = call.key.rpartition("/")[0]
        with translated(call):
            pages = obstore.list(self._cloud.client, folder or None, chunk_size=_PAGE)
        while True:
            self._count(source_writes=1)
            with translated(call):
                page = next(pages, None)
            if page is None:
                return
            yield from (self._info(found) for found in page if found["path"].startswith(call.key))

    def _require_bucket(self, key: str) -> None:
        """Distinguish a missing bucket from a missing object, as far as these credentials let one see it."""
        try:
            next(self.list(key), None)
        except CoffreError as error:
            if error.code == "BUCKET_MISSING":
                raise

    def _info(self, found: ObjectMeta, sha256: str | None = None) -> ObjectInfo:
        etag = found["e_tag"]
        return ObjectInfo(
            key=found["path"].removeprefix(self._prefix),
            size=found["size"],
            sha256=sha256,
            etag=etag.strip('"') if etag else None,
            last_modified=found["last_modified"],
        )

    def _call(self, verb: str, key: str) -> CloudCall:
        cloud = self._cloud
        return CloudCall(verb, cloud.permissions[verb], cloud.root, cloud.where, self._prefix + key)

    def _count(self, **counts: int) -> None:
        if self._tally is not None:
            self._tally.add(**counts)


class _Upload:
    """What is sent: the bytes, their hashes, and the number that its metadata carries."""

    def __init__(self, body: Body, sha256: str, number: str) -> None:
        self.body, self.sha256, self.number = body, sha256, number
        self.size = size_of(body)
        md5 = hashlib.md5(usedforsecurity=False)
        for piece in pieces_of(body):
            md5.update(piece)
        self.md5 = md5.digest()
