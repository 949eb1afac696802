"""What a file system says, in Coffre's errors: the one place where they are translated."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from coffre.model.errors import CoffreError, ObjectMissingError, StoreError, StoreTransientError

# What link(2) answers on FAT, exFAT and some network file systems.
NO_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})

_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_DENIED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_NOT_THERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO})
_IN_THE_WAY: Final = frozenset({errno.ENOTDIR, errno.ELOOP, errno.EISDIR})
_BAD_NAME: Final = frozenset({errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ})


@contextmanager
def reading(place: str) -> Iterator[None]:
    """Translate the errors of a call that needs `place` to exist."""
    try:
        yield
    except OSError as error:
        if error.errno in _NOT_THERE:
            raise missing(place) from error
        raise _error(place, error) from error


@contextmanager
def writing(place: str) -> Iterator[None]:
    """Translate the errors of a call that makes `place`."""
    try:
        yield
    except OSError as error:
        if error.errno in _IN_THE_WAY:
            raise StoreError(
                f"{place} cannot be written: a file, a directory or a link is in its way.",
                code="KEY_CONFLICT",
                detail=str(error),
                hint="A directory cannot hold both `a` and `a/b`; remove what does not belong there.",
            ) from error
        raise _error(place, error) from error


def missing(place: str) -> ObjectMissingError:
    """Return the error of a missing object."""
    return ObjectMissingError(f"There is no object {place}.")


def exists(place: str) -> StoreError:
    """Return the error of an object that was to be new."""
    return StoreError(
        f"The object {place} exists; it was left as it is.",
        code="OBJECT_EXISTS",
        hint="Every object is written once: look who else writes there.",
    )


def root_missing(root: str) -> StoreError:
    """Return the error of a store whose directory is missing."""
    return StoreError(
        f"There is no directory {root}.", code="BUCKET_MISSING", hint="Mount the disk, or make the directory."
    )


def _error(place: str, error: OSError) -> CoffreError:
    detail = str(error)
    if error.errno in _NO_ROOM:
        return StoreError(f"No room for {place}.", code="DISK_FULL", detail=detail, hint="Free space on the disk.")
    if error.errno in _DENIED:
        hint = "Give this user the right to read and write there; look whether the disk is mounted read-only."
        return StoreError(f"Access to {place} was denied.", code="STORE_DENIED", detail=detail, hint=hint)
    if error.errno in _BAD_NAME:
        hint = "Use a file system that takes any name of up to 255 bytes (ext4, xfs, btrfs, APFS)."
        return StoreError(f"The disk refuses the name {place}.", code="KEY_INVALID", detail=detail, hint=hint)
    hint = "Look at the disk, or at the network if it is a remote one; then run it again."
    return StoreTransientError(f"The disk failed at {place}.", code="STORE_UNAVAILABLE", detail=detail, hint=hint)
