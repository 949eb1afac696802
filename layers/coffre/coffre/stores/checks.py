"""What every store refuses in the same way, besides keys (`coffre.stores.store.check_key`)."""

from __future__ import annotations

import re

from coffre.model.errors import IntegrityError, StoreError, StoreTransientError
from coffre.stores.body import Body, sha256_of
from coffre.stores.store import MAX_OBJECT_BYTES

_SHA256 = re.compile(r"[0-9a-f]{64}")


def check_size(key: str, size: int) -> None:
    """Refuse an object that is too large for one put.

    Raises
    ------
    StoreError
        `OBJECT_TOO_LARGE`.
    """
    if size > MAX_OBJECT_BYTES:
        raise StoreError(
            f"The object {key} has {size:,} bytes; one put takes at most {MAX_OBJECT_BYTES:,}.",
            code="OBJECT_TOO_LARGE",
            hint="Cut it into several objects.",
        )


def check_range(offset: int, length: int) -> None:
    """Refuse a range that no object can have.

    Raises
    ------
    ValueError
        `offset` is negative, or `length` is less than 1.
    """
    if offset < 0 or length < 1:
        raise ValueError(f"a range of {length} bytes at offset {offset}")


def digest_of(sha256: str) -> bytes:
    """Return the 32 bytes that a SHA-256 in lower-case hex stands for.

    Raises
    ------
    ValueError
        It is not one.
    """
    if not _SHA256.fullmatch(sha256):
        raise ValueError(f"not a SHA-256 in lower-case hex: {sha256!r}")
    return bytes.fromhex(sha256)


def check_body(key: str, body: Body, sha256: str) -> None:
    """Refuse bytes that are not the ones that `sha256` names.

    Raises
    ------
    StoreTransientError
        `UPLOAD_CORRUPTED`.
    """
    if sha256_of(body) != sha256:
        raise StoreTransientError(
            f"The bytes for {key} are not the ones that were hashed before; nothing was stored.",
            code="UPLOAD_CORRUPTED",
            hint="Run it again; if it happens again, suspect the memory of this machine or a fault in Coffre.",
        )


def too_large(place: str, size: int, limit_bytes: int) -> StoreError:
    """Return the error of an object that is larger than the reader's limit."""
    return StoreError(
        f"{place} has {size:,} bytes; at most {limit_bytes:,} were expected.",
        code="OBJECT_TOO_LARGE",
        hint="Look whether something else wrote it.",
    )


def truncated(place: str, end: int, wanted: int) -> IntegrityError:
    """Return the error of an object that ends before the range that was asked for."""
    return IntegrityError(
        f"{place} ends at byte {end:,}; {wanted:,} were expected.",
        code="OBJECT_TRUNCATED",
        hint="Verify the backups that use it.",
    )
