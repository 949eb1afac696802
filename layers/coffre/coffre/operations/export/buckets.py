"""Export objects of a backup of buckets: as one tar stream, or as files below a directory."""

from __future__ import annotations

import errno
import json
import os
import tarfile
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain, groupby
from pathlib import Path
from typing import Final

from coffre.model.manifest import Entry, Manifest, ObjectFacts
from coffre.model.storage import ObjectChoice
from coffre.operations.stored_backup.object_selection import chosen_entries
from coffre.policy.file_names import LIST, FileNames
from coffre.vault.codec import FrameDecoder
from coffre.vault.read_ahead import Piece, read_ahead
from coffre.vault.vault import Vault

_BLOCK: Final = tarfile.BLOCKSIZE
# Extended attributes as tar programs know them; they ignore those that they cannot set.
_ATTRIBUTE: Final = "SCHILY.xattr.user"
# Errors of file systems that do not accept a name, although others would.
_NOT_TAKEN: Final = frozenset(
    {errno.EEXIST, errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.ENOTDIR, errno.EISDIR}
)

type Progress = Callable[[int, str], None]
"""Gets the number of bytes that were read, and the object."""


@dataclass
class Exported:
    """What an export has written until now. `unread` objects are listed in the backup, but without their bytes."""

    objects: int = 0
    size_bytes: int = 0
    renamed: int = 0
    unread: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ObjectExporter:
    """Writes the chosen objects, checked, and counts them in `exported`.

    Objects of one bucket are written under their keys, those of several buckets below their bucket's name.
    """

    vault: Vault
    manifest: Manifest
    decoder: FrameDecoder
    choice: ObjectChoice
    progress: Progress
    exported: Exported

    def tar(self) -> Generator[bytes]:
        """Yield a tar archive (PAX) in constant memory per object.

        Keys that tar programs cannot use as names are renamed; the file `coffre-names.jsonl` at the end maps the new
        names to the keys.
        """
        names, renamed = FileNames(), list[bytes]()
        with closing(self._objects()) as objects:
            for entry, pieces in objects:
                key = self._key(entry)
                folder = names.folder_of(key) if key.endswith("/") and not entry.size else None
                path = folder or names.path_of(key)
                if path != key and folder is None:
                    renamed.append(_line(path, key))
                yield _header(path, entry, is_folder=folder is not None)
                for piece in pieces:
                    yield bytes(piece.plaintext)
                yield b"\0" * (-entry.size % _BLOCK)
        self.exported.renamed = len(renamed)
        if renamed:
            body = b"".join(renamed)
            yield _info(LIST, len(body)).tobuf(tarfile.PAX_FORMAT)
            yield body + b"\0" * (-len(body) % _BLOCK)
        yield b"\0" * 2 * _BLOCK

    def directory(self, root: Path) -> None:
        """Write files below an existing, empty directory; see `tar` for their names."""
        names, renamed = FileNames(), root / LIST
        with closing(self._objects()) as objects:
            for entry, pieces in objects:
                key = self._key(entry)
                folder = names.folder_of(key) if key.endswith("/") and not entry.size else None
                if folder is not None:
                    (root / folder).mkdir(parents=True, exist_ok=True)
                    continue
                path = self._write(root, names, key, pieces, entry)
                if path != key:
                    self.exported.renamed += 1
                    with renamed.open("ab") as file:
                        file.write(_line(path, key))

    def _write(self, root: Path, names: FileNames, key: str, pieces: Iterator[Piece], entry: Entry) -> str:
        path = names.path_of(key)
        try:
            descriptor = _create(root / path)
        except OSError as error:
            if error.errno not in _NOT_TAKEN:
                raise
            path = names.made_up(key)
            descriptor = _create(root / path)
        with os.fdopen(descriptor, "wb") as file:
            for piece in pieces:
                file.write(piece.plaintext)
        if entry.object is not None and entry.object.last_modified is not None:
            time = entry.object.last_modified.timestamp()
            os.utime(root / path, (time, time), follow_symlinks=False)
        return path

    def _key(self, entry: Entry) -> str:
        is_one = self.choice.bucket is not None or len(self.manifest.storage.buckets) == 1
        return entry.name.partition("/")[2] if is_one else entry.name

    def _objects(self) -> Generator[tuple[Entry, Iterator[Piece]]]:
        """Yield each object with its pieces, which must be consumed before the next object."""
        pairs = read_ahead(self.vault, self.decoder, self._entries())
        try:
            for _, group in groupby(pairs, key=lambda pair: pair[0].name):
                yield self._opened(group)
        finally:
            pairs.close()

    def _opened(self, pairs: Iterator[tuple[Entry, Piece]]) -> tuple[Entry, Iterator[Piece]]:
        entry, first = next(pairs)
        self.exported.objects += 1
        return entry, (self._count(entry, piece) for piece in chain([first], (piece for _, piece in pairs)))

    def _count(self, entry: Entry, piece: Piece) -> Piece:
        self.exported.size_bytes += len(piece.plaintext)
        self.progress(len(piece.plaintext), entry.name)
        return piece

    def _entries(self) -> Iterator[Entry]:
        for _, entry in chosen_entries(self.vault, self.manifest, self.choice):
            if entry is None:
                continue
            if entry.object is not None and entry.object.unread is not None:
                self.exported.unread.append(f"{entry.name}: {entry.object.unread}")
            else:
                yield entry


def _create(path: Path) -> int:
    """Create a new file, without following links."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)


def _line(path: str, key: str) -> bytes:
    return json.dumps({"file": path, "key": key}).encode() + b"\n"


def _info(path: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(path)
    info.size, info.mode = size, 0o644
    return info


def _header(path: str, entry: Entry, *, is_folder: bool) -> bytes:
    info = _info(path, entry.size)
    if is_folder:
        info.type, info.mode = tarfile.DIRTYPE, 0o755
    facts = entry.object or ObjectFacts()
    if facts.last_modified is not None:
        info.mtime = int(facts.last_modified.timestamp())
    info.pax_headers = dict(_records(facts))
    return info.tobuf(tarfile.PAX_FORMAT, errors="surrogateescape")


def _records(facts: ObjectFacts) -> Iterator[tuple[str, str]]:
    """Yield the attributes of an object as extended attributes; names with `=` are impossible."""
    if facts.content_type:
        yield f"{_ATTRIBUTE}.mime_type", facts.content_type
    headers = {
        "content-encoding": facts.content_encoding,
        "content-disposition": facts.content_disposition,
        "content-language": facts.content_language,
        "cache-control": facts.cache_control,
        "expires": facts.expires,
        "storage-class": facts.storage_class,
    }
    named: dict[str, Mapping[str, str | None]] = {"s3": headers, "s3.meta": facts.metadata, "s3.tag": facts.tags}
    for group, values in named.items():
        for name, value in values.items():
            if value is not None and "=" not in name:
                yield f"{_ATTRIBUTE}.{group}.{name}", value
