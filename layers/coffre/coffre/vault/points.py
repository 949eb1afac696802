"""Restore points in the vault (docs/format/v1.md): lists of what rows refer to, and the seal of a point.

The lists are not encrypted: the function that backs up buckets needs them, and has no private key. They say no more
than entries do.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from backports import zstd
from pydantic import ValidationError

from coffre.model.errors import IntegrityError, ObjectMissingError, StoreError
from coffre.model.points import PointRecord, ReferenceList
from coffre.stores.store import OF_THE_WHOLE_STORE, Store, put_new
from coffre.vault.entry_lines import lines_of
from coffre.vault.layout import POINTS, PointKey, point_key, point_list_key, point_of

# Compressed: some 100,000 references. Readers take 64 MiB.
_FILE_BYTES: Final = 4 * 1024 * 1024
_LIMIT_BYTES: Final = 64 * 1024 * 1024
_LEVEL: Final = 3


@dataclass(frozen=True, slots=True)
class Reference:
    """An object that a row refers to, by the name of its entry (`<bucket>/<key>`).

    `version` is an id of S3's versions, `etag` is without quotes; what the row does not say is None. `others` counts
    rows that mean other versions of the same object.
    """

    name: str
    version: str | None = None
    size: int | None = None
    etag: str | None = None
    others: int = 0

    @property
    def bucket(self) -> str:
        """The bucket of the object."""
        return self.name.partition("/")[0]

    @property
    def key(self) -> str:
        """The key of the object."""
        return self.name.partition("/")[2]


def write_references(
    store: Store, name: str, point_id: str, references: Iterable[Reference], *, file_bytes: int = _FILE_BYTES
) -> tuple[ReferenceList, ...]:
    """Store references, sorted by name, in numbered files, in bounded memory; return the files.

    Raises
    ------
    IntegrityError
        `ENTRIES_UNSORTED`: they are not sorted by name.
    """
    files: list[ReferenceList] = []
    compressor, body, count, first, last = zstd.ZstdCompressor(level=_LEVEL), bytearray(), 0, "", ""

    def keep() -> None:
        nonlocal compressor, body, count
        stored = bytes(body + compressor.flush())
        key = point_list_key(name, point_id, len(files))
        sha256 = put_new(store, key, stored)
        files.append(ReferenceList(key=key, sha256=sha256, length=len(stored), count=count, first=first))
        compressor, body, count = zstd.ZstdCompressor(level=_LEVEL), bytearray(), 0

    for reference in references:
        if reference.name <= last:
            raise IntegrityError(
                "The references of this point are not in order.",
                code="ENTRIES_UNSORTED",
                detail=f"{reference.name!r} follows {last!r}",
                hint="This is a defect of Coffre: please report it.",
            )
        first, last = first if count else reference.name, reference.name
        body += compressor.compress(_line(reference))
        count += 1
        if len(body) >= file_bytes:
            keep()
    if count:
        keep()
    return tuple(files)


def read_references(store: Store, lists: Iterable[ReferenceList], after: str = "") -> Iterator[Reference]:
    """Yield the references whose names come after `after`, sorted, after checking each file.

    Raises
    ------
    IntegrityError
        `POINT_DAMAGED`
    """
    lists = tuple(lists)
    begin = max((number for number, one in enumerate(lists) if one.first <= after), default=0)
    for one in lists[begin:]:
        try:
            body = store.get(one.key, limit_bytes=_LIMIT_BYTES)
        except ObjectMissingError as error:
            raise _damaged(one.key, "it is not in the vault") from error
        if hashlib.sha256(body).hexdigest() != one.sha256:
            raise _damaged(one.key, "it is not the one that was recorded")
        try:
            for line in lines_of(body):
                reference = _reference(json.loads(line))
                if reference.name > after:
                    yield reference
        except (zstd.ZstdError, ValueError, KeyError, TypeError, EOFError) as error:
            raise _damaged(one.key, "it cannot be read") from error


def write_seal(store: Store, point: PointRecord) -> None:
    """Store the record of a point whose parts are all COMPLETED: with this it exists. It is written once."""
    put_new(store, point_key(point.name, point.id), point.model_dump_json(indent=1).encode())


def read_seal(store: Store, name: str, point_id: str) -> PointRecord | None:
    """Return a sealed point; None: it is not sealed.

    Raises
    ------
    IntegrityError
        `POINT_DAMAGED`
    """
    key = point_key(name, point_id)
    try:
        point = PointRecord.model_validate_json(store.get(key, limit_bytes=_LIMIT_BYTES))
    except ObjectMissingError:
        return None
    except ValidationError as error:
        raise _damaged(key, "it cannot be read") from error
    if (point.name, point.id) != (name, point_id) or point.sealed_at is None:
        raise _damaged(key, "it is another point's")
    return point


class SealedPoints:
    """The restore points of a vault alone: the sealed ones. It answers as the catalog's `Points` does.

    Attributes
    ----------
    problems
        Why seals cannot be read, by the ids of their points; only of those that were looked at.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.problems: dict[str, str] = {}

    def all(self, name: str | None = None) -> Iterator[PointRecord]:
        """Yield the points of one name, or all, the newest first: one that cannot be read hides no other."""
        for key in self._seals():
            if name not in (None, key.name):
                continue
            try:
                point = read_seal(self._store, key.name, key.id)
            except (IntegrityError, StoreError) as error:
                if error.code in OF_THE_WHOLE_STORE:
                    raise
                self.problems[key.id] = f"{error.message} [{error.code}]"
                continue
            if point is not None:
                yield point

    def find(self, point_id: str) -> PointRecord | None:
        """Return the point with this id; raises what `read_seal` raises."""
        key = next((key for key in self._seals() if key.id == point_id), None)
        return read_seal(self._store, key.name, key.id) if key is not None else None

    def _seals(self) -> list[PointKey]:
        keys = [key for info in self._store.list(POINTS) if (key := point_of(info.key)) is not None and key.is_seal]
        return sorted(keys, key=lambda key: key.id, reverse=True)


def _line(reference: Reference) -> bytes:
    fields: dict[str, Any] = {"name": reference.name}
    for field in ("version", "size", "etag"):
        if (value := getattr(reference, field)) is not None:
            fields[field] = value
    if reference.others:
        fields["others"] = reference.others
    return json.dumps(fields, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"


def _reference(fields: dict[str, Any]) -> Reference:
    name, version, size, etag = fields["name"], fields.get("version"), fields.get("size"), fields.get("etag")
    if not isinstance(name, str):
        raise TypeError("name")
    return Reference(name, version, size, etag, fields.get("others", 0))


def _damaged(key: str, why: str) -> IntegrityError:
    return IntegrityError(
        f"{key} of a restore point is damaged: {why}.",
        code="POINT_DAMAGED",
        hint="Take another point: coffre backup point. The backups themselves do not depend on it.",
    )
