"""One object being read: its bytes in order, and then what is known about it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from coffre.buckets.changes import SourceObject
from coffre.buckets.object_facts import Listed, etag_of, facts_of, time_of
from coffre.buckets.reader import PIECE_BYTES, Piece, changed
from coffre.buckets.source import ObjectSource
from coffre.model.errors import StoreTransientError
from coffre.model.manifest import ObjectFacts

_MD5: Final = re.compile(r"[0-9a-f]{32}")


@dataclass
class ObjectReading:
    """Reads one object from pieces that were asked for already.

    Parameters
    ----------
    pieces
        In order; the first may show that the object is not what was listed.
    known_md5
        The MD5 that an earlier reading came to and that its etag does not have: twice the same is no damage on the way.
    start
        Where the pieces begin: an earlier invocation has read what is before.
    """

    reader: ObjectSource
    found: SourceObject
    pieces: Iterator[Future[Piece]]
    known_md5: str | None = None
    start: int = 0
    md5: str | None = field(default=None, init=False)
    _headers: Mapping[str, str] = field(default_factory=dict, init=False)

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes.

        Raises
        ------
        StoreTransientError
            `OBJECT_CHANGED`, `DOWNLOAD_CORRUPTED`: the reading is of no use; another one may be.
        CoffreError
        """
        received = self.start
        if received >= self.found.listed.size > 0:  # all was read; the headers are needed again
            listed = self.found.listed
            self._begin(self.reader.piece(self.found.bucket, listed, 0, etag=listed.etag))
        for number, future in enumerate(self.pieces):
            piece = future.result()
            if number == 0:
                self._begin(piece)
            elif _mark(piece.headers, piece.size) != _mark(self._headers, self.found.listed.size):
                raise self._changed()
            if len(piece.body) != min(PIECE_BYTES, self.found.listed.size - received):
                raise self._changed()  # what follows would be taken for another place of the object
            received += len(piece.body)
            if piece.body:
                yield piece.body
        if received != self.found.listed.size:
            raise self._changed()

    def facts(self) -> ObjectFacts:
        """Return what is known about the object that was read."""
        bucket, key = self.found.bucket, self.found.listed.key
        facts = facts_of(self.found.listed, self._headers)
        version = self.found.listed.version_id
        tags, acl = self._tags(bucket, key, version), self.reader.acl(bucket, key, version)
        unknown = tuple(name for name, found in (("tags", tags), ("acl", acl)) if found is None)
        return facts.model_copy(update={"tags": tags or {}, "acl": acl or (), "unknown": unknown})

    def _tags(self, bucket: str, key: str, version: str | None) -> dict[str, str] | None:
        count = self._headers.get("x-amz-tagging-count")
        if count is None:
            return {} if self.reader.tells_tags(bucket, key) else None
        return self.reader.tags(bucket, key, version) if count != "0" else {}

    @property
    def modified(self) -> datetime | None:
        """When the object was stored, as the answer says."""
        return time_of(self._headers)

    def _begin(self, piece: Piece) -> None:
        listed = self.found.listed.seen_as(piece.headers, piece.size)
        was_one_piece = self.found.listed.size <= PIECE_BYTES
        self.found = replace(self.found, listed=listed)
        self._headers = piece.headers
        if was_one_piece and len(piece.body) != piece.size:
            raise self._changed()
        if was_one_piece:
            self._check_md5(piece, listed)

    def _check_md5(self, piece: Piece, listed: Listed) -> None:
        """Compare with the etag, if it may be an MD5: those of parts and of some encryptions are none."""
        if listed.etag is None or not _MD5.fullmatch(listed.etag):
            return
        self.md5 = hashlib.md5(piece.body, usedforsecurity=False).hexdigest()
        if self.md5 not in {listed.etag, self.known_md5}:
            raise StoreTransientError(
                f"Other bytes came of {self._place} than the store has.", code="DOWNLOAD_CORRUPTED"
            )

    def _changed(self) -> StoreTransientError:
        return changed(self.reader.call("s3:GetObject", self.found.bucket, self.found.listed.key))

    @property
    def _place(self) -> str:
        return f"s3://{self.found.bucket}/{self.found.listed.key}"


def _mark(headers: Mapping[str, str], size: int) -> tuple[str | None, int]:
    """Return what tells two versions of an object apart: of a listing without etags, nothing was asked of the store."""
    return etag_of(headers) or headers.get("last-modified"), size


def refreshed(reader: ObjectSource, found: SourceObject) -> SourceObject:
    """Return an object as it is now: pieces of what it was when it was listed do not fit together any more."""
    seen = replace(found.listed, size=max(1, found.listed.size))
    piece = reader.piece(found.bucket, seen, 0)
    return replace(found, listed=found.listed.seen_as(piece.headers, piece.size))
