"""The contract of an object store: named, whole, immutable-looking pieces of bytes.

Every store promises what `Store` says, and `tests/contract/test_store.py` holds each of them to it. What a store does
not promise: versions, metadata, locks, or that an object still exists because it existed a moment ago.

Retries live in the stores: a call that raises `StoreTransientError` was already tried several times.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from coffre.model.errors import StoreError
from coffre.model.locks import NO_LOCK, LockState
from coffre.stores.body import Body, pieces_of, sha256_of

# Objects are sent in one request, so that a store can check one SHA-256 and a reader sees all or nothing. 64 MiB is the
# size of a full pack (docs/format): small enough to hold one per worker in the memory of a function, and far below the
# 5 GB that S3 takes in one PUT. What is larger is cut into several objects by its writer.
MAX_OBJECT_BYTES: Final = 64 * 1024 * 1024

# S3's limit on a key, and the usual limit of a file system on one name in it. Both are in bytes of UTF-8.
MAX_KEY_BYTES: Final = 1024
MAX_SEGMENT_BYTES: Final = 255

OF_THE_WHOLE_STORE: Final = frozenset({"STORE_DENIED", "BUCKET_MISSING"})
"""Codes of a `StoreError` that say nothing of the one object that was asked for."""

_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\]")  # control characters, and the separator of other systems


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a store reports about one object.

    Parameters
    ----------
    key
        Its key in this store.
    size
        Bytes.
    sha256
        SHA-256 of the whole object in lower-case hex, when the store kept it; None otherwise, and always in listings.
    etag
        The store's change marker, without quotes; None when it has none. It is not always an MD5.
    last_modified
        When it was written, by the store's clock, aware; None when the store does not say.
    locked
        What protects it, where the store has locks and the caller may see them; empty otherwise and in listings.
    """

    key: str
    size: int
    sha256: str | None = None
    etag: str | None = None
    last_modified: datetime | None = None
    locked: LockState = NO_LOCK


class Store(Protocol):
    """A place that keeps objects by key. Safe to use from several threads.

    Keys are checked by `check_key` in every method. A key and another below it (`a` and `a/b`) must not be used
    together: a directory cannot hold both.

    Every method raises, besides what it says itself, `StoreError` when the store refuses (`STORE_DENIED`,
    `BUCKET_MISSING`, `KEY_INVALID` ...: the same call would fail again), and `StoreTransientError` when the store did
    not answer or asked to slow down, after several attempts.
    """

    def put(self, key: str, body: Body, *, sha256: str, if_absent: bool = False) -> None:
        """Store an object whole, checked on arrival.

        A reader sees the object as it was before or as it is after, never a part. When the call returns, the bytes are
        durable and are the ones that `sha256` names. When it raises, the object may exist whole (the answer was
        lost) or not at all; calling again with the same bytes is right in both cases.

        Parameters
        ----------
        key
            Where; an existing object is replaced, unless `if_absent`.
        body
            At most `MAX_OBJECT_BYTES`; of several pieces one after another, which are never copied into one.
        sha256
            SHA-256 of `body` in lower-case hex.
        if_absent
            Leave an existing object untouched, and raise. Of several such calls at the same time, one wins. An object
            that an earlier attempt of this very call has written does not count, as far as the store lets one see it. A
            store that cannot do this in one step is asked first whether the object exists.

        Raises
        ------
        StoreError
            `OBJECT_EXISTS` (only with `if_absent`), `OBJECT_TOO_LARGE`, `DISK_FULL`, `KEY_CONFLICT`.
        StoreTransientError
            `UPLOAD_CORRUPTED`: other bytes than `sha256` names arrived, several times over. Nothing was stored.
        ValueError
            `sha256` is not 64 lower-case hexadecimal digits.
        """
        ...

    def get(self, key: str, *, limit_bytes: int = MAX_OBJECT_BYTES) -> bytes:
        """Return a whole small object.

        Parameters
        ----------
        key
            Which object.
        limit_bytes
            Refuse, without reading it, an object that is larger: memory stays bounded whatever is in the store.

        Raises
        ------
        ObjectMissingError
            No object has this key.
        StoreError
            `OBJECT_TOO_LARGE`.
        StoreTransientError
            `OBJECT_CHANGED`: it was replaced while it was read. The connection broke again and again.
        """
        ...

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset`, or raise.

        A connection that breaks in the middle is resumed at the byte reached, in the same object.

        Parameters
        ----------
        key
            Which object.
        offset
            Bytes from its start; 0 or more.
        length
            Bytes; 1 or more.

        Raises
        ------
        ObjectMissingError
            No object has this key.
        IntegrityError
            `OBJECT_TRUNCATED`: the object ends before `offset + length`.
        StoreTransientError
            As for `get`.
        ValueError
            `offset` or `length` is out of its range.
        """
        ...

    def head(self, key: str) -> ObjectInfo:
        """Return what the store knows about an object, without reading it.

        Raises
        ------
        ObjectMissingError
            No object has this key.
        """
        ...

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield every object whose key starts with `prefix`, sorted by key (by code point, as UTF-8 bytes sort).

        Memory is bounded. An object that is written or deleted while the listing runs may be in it or not; the others
        come exactly once. Foreign objects are listed too, under keys that `check_key` may refuse.

        Parameters
        ----------
        prefix
            The start of a key, which may end anywhere (`v1/ba` finds `v1/backups/...`); empty for everything.

        Raises
        ------
        StoreError
            `LISTING_BROKEN`: the store repeats itself, does not end, answers with other keys than it was asked for, or
            is large and does not sort. What was yielded before is then not the whole.
        """
        ...

    def delete(self, key: str) -> None:
        """Delete an object; quiet when there is none."""
        ...


def put_small(store: Store, key: str, body: bytes) -> str:
    """Store an object that is in memory, and return its SHA-256; raises what `Store.put` raises."""
    sha256 = sha256_of(body)
    store.put(key, body, sha256=sha256)
    return sha256


def put_new(store: Store, key: str, body: Body, sha256: str | None = None) -> str:
    """Store an object that is written once, and return its SHA-256. One that exists with these bytes is fine.

    Parameters
    ----------
    sha256
        Of `body`, if it was just computed.

    Raises
    ------
    StoreError
        `OBJECT_EXISTS`: with other bytes; it was left as it is. And what `Store.put` raises.
    """
    sha256 = sha256 or sha256_of(body)
    try:
        store.put(key, body, sha256=sha256, if_absent=True)
    except StoreError as error:
        if error.code != "OBJECT_EXISTS" or store.get(key) != b"".join(pieces_of(body)):
            raise
    return sha256


def check_key(key: str) -> str:
    """Return `key` if it means the same one object in every store, and nothing outside of it.

    A key has segments between single slashes. None is empty, `.` or `..`, or longer than 255 bytes; the whole is at
    most 1,024 bytes of UTF-8, without control characters and backslashes.

    Raises
    ------
    StoreError
        `KEY_INVALID`.
    """
    segments = key.split("/")
    if "" in segments or "." in segments or ".." in segments:
        raise _invalid(key, "has an empty, '.' or '..' segment, or starts or ends with '/'")
    _check_characters(key)
    if any(len(segment.encode()) > MAX_SEGMENT_BYTES for segment in segments):
        raise _invalid(key, f"has a segment of more than {MAX_SEGMENT_BYTES} bytes")
    return key


def check_prefix(prefix: str) -> str:
    """Return `prefix` if some valid key can start with it, or if it is empty.

    Raises
    ------
    StoreError
        `KEY_INVALID`.
    """
    *folders, start = prefix.split("/")
    if folders:
        check_key("/".join(folders))
    _check_characters(start)
    return prefix


def _check_characters(key: str) -> None:
    if _UNSAFE.search(key):
        raise _invalid(key, "has a control character or a backslash")
    try:
        size = len(key.encode())
    except UnicodeEncodeError as error:
        raise _invalid(key, "is not Unicode text") from error
    if size > MAX_KEY_BYTES:
        raise _invalid(key, f"has more than {MAX_KEY_BYTES} bytes")


def _invalid(key: str, reason: str) -> StoreError:
    return StoreError(
        f"The key {key[:200]!a} {reason}.",
        code="KEY_INVALID",
        hint="Use segments of plain text between single slashes.",
    )
