"""Objects as files below a directory: a disk, or a network file system that has hard links."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from coffre.model.errors import ObjectMissingError, StoreError
from coffre.stores.body import Body, pieces_of, size_of
from coffre.stores.checks import check_body, check_range, check_size, digest_of, too_large, truncated
from coffre.stores.directory_errors import NO_LINKS, exists, missing, reading, root_missing, writing
from coffre.stores.store import MAX_OBJECT_BYTES, ObjectInfo, Store, check_key, check_prefix

# Where files are written before they are published: on the same file system, and never listed.
_INCOMING: Final = ".coffre-incoming"

# An older file in it was left by a process that died: no put of at most 64 MiB takes as long.
_ABANDONED_SECONDS: Final = 24 * 60 * 60

_PUBLISH_ATTEMPTS: Final = 10

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe in the way must not stop us


class DirectoryStore(Store):
    """The files below one directory, each named by its key.

    Parameters
    ----------
    path
        The directory. It exists (else `BUCKET_MISSING`): a disk that is not mounted must not become an empty store.

    Notes
    -----
    Every name is opened relative to the directory that holds it and without following links, so that no key and no link
    leads out. A link, a pipe or a device below the directory is no object. Directories that become empty are removed.
    `head` knows no SHA-256.

    A new object gets its name by a hard link, in one step. On a file system without them (FAT, some network shares) it
    is looked up first: of two writers at the same time both may win there.
    """

    def __init__(self, path: Path | str) -> None:
        self._root = Path(path)
        self._swept = False

    def put(self, key: str, body: Body, *, sha256: str, if_absent: bool = False) -> None:
        _own_key(key)
        digest_of(sha256)
        check_size(key, size_of(body))
        check_body(key, body, sha256)
        with writing(self._place(key)), self._folder([_INCOMING], create=True) as incoming:
            self._sweep(incoming)
            temporary = secrets.token_hex(16)
            try:
                _write(incoming, temporary, body)
                self._publish(incoming, temporary, key, if_absent=if_absent)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=incoming)

    def get(self, key: str, *, limit_bytes: int = MAX_OBJECT_BYTES) -> bytes:
        with reading(self._place(key)), self._file(key) as (descriptor, status):
            if status.st_size > limit_bytes:
                raise too_large(self._place(key), status.st_size, limit_bytes)
            return self._read(key, descriptor, 0, status.st_size)

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        check_range(offset, length)
        with reading(self._place(key)), self._file(key) as (descriptor, status):
            if offset + length > status.st_size:
                raise truncated(self._place(key), status.st_size, offset + length)
            return self._read(key, descriptor, offset, length)

    def head(self, key: str) -> ObjectInfo:
        with reading(self._place(key)), self._file(key) as (_, status):
            return _info(key, status)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        *folders, start = check_prefix(prefix).split("/")
        return self._listed(folders, start)

    def delete(self, key: str) -> None:
        *folders, name = _own_key(key).split("/")
        with suppress(ObjectMissingError), reading(self._place(key)), self._folder(folders) as folder:
            if stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                os.unlink(name, dir_fd=folder)
                os.fsync(folder)
                self._prune(folders)

    def _prune(self, folders: Sequence[str]) -> None:
        """Remove directories that hold nothing any more: they would be in the way of an object of their name."""
        for depth in range(len(folders) - 1, -1, -1):
            try:
                with self._folder(folders[:depth]) as parent:
                    os.rmdir(folders[depth], dir_fd=parent)
            except OSError:  # not empty, or already gone: either way nothing is left to do here
                return

    def _publish(self, incoming: int, temporary: str, key: str, *, if_absent: bool) -> None:
        for _ in range(_PUBLISH_ATTEMPTS - 1):
            # A delete elsewhere may remove the directory between the look and the step: it was empty until then.
            with suppress(FileNotFoundError):
                return self._name(incoming, temporary, key, if_absent=if_absent)
        return self._name(incoming, temporary, key, if_absent=if_absent)

    def _name(self, incoming: int, temporary: str, key: str, *, if_absent: bool) -> None:
        """Give a complete file its name, in one step, and make the name durable."""
        *folders, name = key.split("/")
        with self._folder(folders, create=True) as folder:
            if if_absent:
                self._link(incoming, temporary, folder, key)
            else:
                os.replace(temporary, name, src_dir_fd=incoming, dst_dir_fd=folder)
            os.fsync(folder)

    def _link(self, incoming: int, temporary: str, folder: int, key: str) -> None:
        name = key.rpartition("/")[2]
        try:
            os.link(temporary, name, src_dir_fd=incoming, dst_dir_fd=folder, follow_symlinks=False)
        except FileExistsError as error:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                raise IsADirectoryError(errno.EISDIR, "a directory has this name", key) from error
            # A network file system may send a request again whose answer was lost: then this is our own file.
            if not os.path.samestat(found, os.stat(temporary, dir_fd=incoming, follow_symlinks=False)):
                raise exists(self._place(key)) from error
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            with suppress(FileNotFoundError):
                os.stat(name, dir_fd=folder, follow_symlinks=False)
                raise exists(self._place(key)) from error
            os.replace(temporary, name, src_dir_fd=incoming, dst_dir_fd=folder)

    def _sweep(self, incoming: int) -> None:
        if self._swept:
            return
        self._swept = True
        with os.scandir(incoming) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    if entry.stat(follow_symlinks=False).st_mtime < time.time() - _ABANDONED_SECONDS:
                        os.unlink(entry.name, dir_fd=incoming)

    @contextmanager
    def _folder(self, folders: Iterable[str], *, create: bool = False) -> Iterator[int]:
        """Open a directory below the root, one name at a time, never through a link."""
        descriptor = self._open_root()
        try:
            for name in folders:
                if create:
                    _make_folder(descriptor, name)
                below = os.open(name, _FOLDER, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = below
            yield descriptor
        finally:
            os.close(descriptor)

    def _open_root(self) -> int:
        try:
            return os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise root_missing(str(self._root)) from error

    @contextmanager
    def _file(self, key: str) -> Iterator[tuple[int, os.stat_result]]:
        *folders, name = _own_key(key).split("/")
        with self._folder(folders) as folder:
            descriptor = os.open(name, _FILE, dir_fd=folder)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise missing(self._place(key))
            yield descriptor, status
        finally:
            os.close(descriptor)

    def _read(self, key: str, descriptor: int, offset: int, length: int) -> bytes:
        data = os.pread(descriptor, length, offset)
        while len(data) < length:  # a signal, or more than the system reads in one call
            more = os.pread(descriptor, length - len(data), offset + len(data))
            if not more:
                raise truncated(self._place(key), offset + len(data), offset + length)
            data += more
        return data

    def _listed(self, folders: Sequence[str], start: str) -> Iterator[ObjectInfo]:
        if folders[:1] == [_INCOMING]:
            return
        path = "".join(f"{name}/" for name in folders)
        with suppress(ObjectMissingError), reading(self._place(path)), self._folder(folders) as folder:
            yield from _walk(folder, path, start)

    def _place(self, key: str) -> str:
        return str(self._root / key)


def _own_key(key: str) -> str:
    if check_key(key).split("/")[0] == _INCOMING:
        raise StoreError(
            f"The key {key} is reserved for files that are not complete.", code="KEY_INVALID", hint="Use another name."
        )
    return key


def _make_folder(parent: int, name: str) -> None:
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=parent)
        os.fsync(parent)


def _write(folder: int, name: str, body: Body) -> None:
    descriptor = os.open(name, _NEW_FILE, 0o600, dir_fd=folder)
    try:
        for piece in pieces_of(body):
            rest = memoryview(piece)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _walk(folder: int, path: str, start: str) -> Iterator[ObjectInfo]:
    """Yield the files of a directory whose names begin with `start`, and those below, in the order of their keys."""
    for name in _names(folder, path, start):
        # What vanished since the directory was read is left out.
        with suppress(FileNotFoundError, NotADirectoryError):
            if name.endswith("/"):
                below = os.open(name[:-1], _FOLDER, dir_fd=folder)
                try:
                    yield from _walk(below, path + name, "")
                finally:
                    os.close(below)
            else:
                yield _info(path + name, os.stat(name, dir_fd=folder, follow_symlinks=False))


def _names(folder: int, path: str, start: str) -> Sequence[str]:
    """Return the sorted names of files and, with a slash, directories: `a-b/x` comes before `a/x`, as keys do."""
    names = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                names.append(entry.name + "/")
            elif entry.is_file(follow_symlinks=False):
                names.append(entry.name)
    return sorted(name for name in names if name.startswith(start) and _is_ours(path + name))


def _is_ours(path: str) -> bool:
    """Leave out what is not published, and names that are not text: no key leads to either."""
    return not path.startswith(f"{_INCOMING}/") and not any("\ud800" <= character <= "\udfff" for character in path)


def _info(key: str, status: os.stat_result) -> ObjectInfo:
    return ObjectInfo(key=key, size=status.st_size, last_modified=datetime.fromtimestamp(status.st_mtime, UTC))
