"""What a bucket says about its objects: in a listing, and in the headers of an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final

from coffre.model.manifest import ObjectFacts

_HEADERS: Final = {
    "content_type": "content-type",
    "content_encoding": "content-encoding",
    "content_disposition": "content-disposition",
    "content_language": "content-language",
    "cache_control": "cache-control",
    "expires": "expires",
    "storage_class": "x-amz-storage-class",
    "version_id": "x-amz-version-id",
    "redirect": "x-amz-website-redirect-location",
    "kms_key": "x-amz-server-side-encryption-aws-kms-key-id",
}
_USERS: Final = "x-amz-meta-"


@dataclass(frozen=True, slots=True)
class Listed:
    """An object as a listing shows it.

    `etag` is without quotes; without a `version_id` it is the newest version. `is_sized`: the listing shows sizes.
    """

    key: str
    size: int
    etag: str | None = None
    last_modified: datetime | None = None
    storage_class: str | None = None
    version_id: str | None = None
    is_sized: bool = True

    def is_same(self, size: int, facts: ObjectFacts) -> bool:
        """Return whether this is still the object that a backup recorded; without any marker of change it is not known.

        Times are compared to the second: an answer's headers have no more, a listing of some stores has.
        """
        if (self.is_sized and self.size != size) or (self.etag is None and self.last_modified is None):
            return False
        return self.etag == facts.etag and _second(self.last_modified) == _second(facts.last_modified)

    def seen_as(self, headers: Mapping[str, str], size: int) -> Listed:
        """Return the object as an answer shows it: it may have been replaced since it was listed."""
        etag = etag_of(headers)
        if (etag, size) == (self.etag, self.size):
            return self
        return replace(self, size=size, etag=etag, last_modified=time_of(headers))


def etag_of(headers: Mapping[str, str]) -> str | None:
    """Return the change marker of an answer, without quotes."""
    return headers["etag"].strip('"') if headers.get("etag") else None


def time_of(headers: Mapping[str, str]) -> datetime | None:
    """Return when the object of an answer was stored."""
    return _time(headers.get("last-modified"))


def facts_of(listed: Listed, headers: Mapping[str, str]) -> ObjectFacts:
    """Return what is known about an object from the listing and from the answer that brought its bytes."""
    said = {name: _text(headers[header]) for name, header in _HEADERS.items() if headers.get(header)}
    own = {name.removeprefix(_USERS): _text(value) for name, value in headers.items() if name.startswith(_USERS)}
    if headers.get("content-type") == "":  # others that are empty are as good as none
        said["content_type"] = ""
    if listed.storage_class not in {None, "STANDARD"}:
        said.setdefault("storage_class", listed.storage_class or "")
    if said.get("version_id") == "null":
        del said["version_id"]
    return ObjectFacts(etag=listed.etag, last_modified=listed.last_modified, metadata=own, **said)


def _text(value: str) -> str:
    """Return a header's text: it is UTF-8 where an application stored UTF-8, and came as Latin-1."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


def _second(time: datetime | None) -> int | None:
    return int(time.timestamp()) if time else None


def _time(value: str | None) -> datetime | None:
    try:
        return parsedate_to_datetime(value) if value else None
    except ValueError:
        return None
