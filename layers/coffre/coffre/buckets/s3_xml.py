"""The XML of S3's answers: pages of listings, tags, grants.

XML cannot hold most control characters, and stores that ignore `encoding-type` send them nevertheless. They are kept in
private characters while a page is parsed; a key that cannot be understood even so costs no other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final
from urllib.parse import unquote_plus
from xml.etree import ElementTree

from coffre.buckets.object_facts import Listed
from coffre.model.errors import StoreError
from coffre.stores.answer_xml import parse_xml
from coffre.stores.s3_errors import Call
from coffre.stores.s3_listing import broken

# Control characters but tab and newline, as bytes (a carriage return becomes a newline in XML) and as references, and
# the two characters that are none.
_NOT_XML: Final = re.compile(rb"[\x00-\x08\x0b-\x1f]|&#(?:0*[0-9]{1,2}|[xX]0*[01]?[0-9a-fA-F]);|\xef\xbf[\xbe\xbf]")
_CONTROLS: Final = 0x20
# The first of private characters, 64 each, whose UTF-8 differs in the last byte alone: one of them is in no key.
_HELD: Final = range(0x10FC00, 0x10FE00, 64)
_CONTENTS: Final = re.compile(rb"<Contents\b.*?</Contents>", re.DOTALL)
_KEY: Final = re.compile(rb"<Key>(.*?)</Key>", re.DOTALL)
_FIRST_TAG: Final = re.compile(rb"<([A-Za-z_][\w:.-]*)[^<>]*>")
_KEY_SHOWN_BYTES: Final = 200


@dataclass(frozen=True, slots=True)
class ListingPage:
    """Objects of a listing in the store's order; `token` asks for the next page, None ends it.

    `unreadable` says of each object that cannot be understood which it is and what its neighbours are.
    """

    objects: list[Listed]
    token: str | None
    is_truncated: bool
    unreadable: tuple[str, ...] = ()


def parse_page(body: bytes, call: Call) -> ListingPage:
    """Read a page of a listing.

    Raises
    ------
    StoreError
        `LISTING_BROKEN`: it is no listing.
    """
    held = _Held.of(body)
    try:
        root = parse_xml(held.body)
        encoded = _text_of(root, "EncodingType") == "url"
        objects = [_listed(item, held, encoded=encoded) for item in root.iterfind(f"{_space(root)}Contents")]
        return _page(root, objects, held)
    except (ElementTree.ParseError, KeyError, ValueError) as error:
        found = _piecewise(held)
        if found is None:
            raise _no_listing(call, error) from error
        return found


@dataclass(frozen=True)
class _Held:
    """A page whose characters that XML cannot hold are private ones, from `first` on (None: it has no such)."""

    body: bytes
    first: int | None

    @classmethod
    def of(cls, body: bytes) -> _Held:
        if not _NOT_XML.search(body):
            return cls(body, None)
        first = next((first for first in _HELD if chr(first).encode()[:3] not in body), None)
        if first is None:
            return cls(body, None)
        return cls(_NOT_XML.sub(lambda found: _private(found[0], first), body), first)

    def given_back(self, text: str) -> str:
        """Return a text of the page as the store has it."""
        first = self.first
        if first is None or text.isascii():
            return text
        return re.sub(f"[{chr(first)}-{chr(first + 63)}]", lambda found: _original(ord(found[0]) - first), text)


def _private(what: bytes, first: int) -> bytes:
    if what.startswith(b"&"):
        number = int(what[3:-1], 16) if what[2:3] in b"xX" else int(what[2:-1])
        return chr(first + number).encode() if number < _CONTROLS else what
    if len(what) > 1:
        return chr(first + _CONTROLS + what[-1] - 0xBE).encode()
    return chr(first + what[0]).encode()


def _original(number: int) -> str:
    return chr(number if number < _CONTROLS else 0xFFFE + number - _CONTROLS)


def _page(
    root: ElementTree.Element, objects: list[Listed], held: _Held, unreadable: tuple[str, ...] = ()
) -> ListingPage:
    token = held.given_back(_text_of(root, "NextContinuationToken"))
    return ListingPage(objects, token or None, _text_of(root, "IsTruncated") == "true", unreadable)


def _piecewise(held: _Held) -> ListingPage | None:
    """Read a page object by object; None when it is no listing, or none in a form that is known."""
    items = [found[0] for found in _CONTENTS.finditer(held.body)]
    tag = _FIRST_TAG.search(held.body)
    try:
        root = parse_xml(_CONTENTS.sub(b"", held.body))
    except (ElementTree.ParseError, ValueError):
        return None
    if not items or tag is None:
        return None
    encoded = _text_of(root, "EncodingType") == "url"
    objects: list[Listed | None] = []
    for item in items:
        try:
            one = parse_xml(tag[0] + item + b"</%s>" % tag[1])
            objects.append(_listed(one[0], held, encoded=encoded))
        except (ElementTree.ParseError, UnicodeError):
            objects.append(None)
        except (KeyError, ValueError):  # not a character, but something that a listing always has
            return None
    read = [found for found in objects if found is not None]
    return _page(root, read, held, tuple(_neighbours(items, objects)))


def _neighbours(items: list[bytes], objects: list[Listed | None]) -> Iterator[str]:
    for at, found in enumerate(objects):
        if found is not None:
            continue
        key = _KEY.search(items[at])
        before = next((one.key for one in reversed(objects[:at]) if one), None)
        after = next((one.key for one in objects[at + 1 :] if one), None)
        where = [f"after {before!a}"] * (before is not None) + [f"before {after!a}"] * (after is not None)
        shown = str(key[1][:_KEY_SHOWN_BYTES])[1:] if key else "without a key"
        yield f"object {at + 1} ({', '.join([shown, *where])})"


def _listed(item: ElementTree.Element, held: _Held, *, encoded: bool) -> Listed:
    skip = len(_space(item))
    said = {child.tag[skip:]: child.text or "" for child in item}
    modified = said.get("LastModified")
    key = held.given_back(said["Key"])
    return Listed(
        key=unquote_plus(key, errors="strict") if encoded else key,
        size=int(said["Size"]),
        etag=said["ETag"].strip('"') or None if "ETag" in said else None,
        last_modified=_aware(datetime.fromisoformat(modified)) if modified else None,
        storage_class=said.get("StorageClass") or None,
    )


def _space(element: ElementTree.Element) -> str:
    """Return the namespace of an element, in braces, as the names of its children begin."""
    return element.tag[: element.tag.rindex("}") + 1] if "}" in element.tag else ""


@dataclass(frozen=True, slots=True)
class VersionsPage:
    """Versions of objects, each key's newest first, without marks of deletions; `next` asks for the next page."""

    objects: list[Listed]
    next: dict[str, str]


def parse_versions(body: bytes, call: Call) -> VersionsPage:
    """Read a page of a listing of versions.

    Raises
    ------
    StoreError
        `LISTING_BROKEN`: it is none.
    """
    held = _Held.of(body)
    try:
        root = parse_xml(held.body)
        encoded = _text_of(root, "EncodingType") == "url"
        found = []
        for item in root.iterfind(f"{_space(root)}Version"):
            # An object from before its bucket had versions has none to ask for, as long as it is the newest.
            version, is_newest = _text_of(item, "VersionId"), _text_of(item, "IsLatest") == "true"
            known = None if version in ("", "null") and is_newest else version or None
            found.append(replace(_listed(item, held, encoded=encoded), version_id=known))
    except (ElementTree.ParseError, KeyError, ValueError) as error:
        raise _no_listing(call, error) from error
    key, version = _text_of(root, "NextKeyMarker"), _text_of(root, "NextVersionIdMarker")
    marks = {"key-marker": unquote_plus(key) if encoded else key, "version-id-marker": version}
    return VersionsPage(found, marks if _text_of(root, "IsTruncated") == "true" and key else {})


def _text_of(root: ElementTree.Element, name: str) -> str:
    return root.findtext(f"{_space(root)}{name}") or ""


def _aware(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def parse_pairs(
    body: bytes, each: str, name: str | tuple[str, ...], value: str, call: Call
) -> Iterator[tuple[str, str]]:
    """Yield two texts of each element of a kind: the first of the names that the element has, and the value.

    Raises
    ------
    StoreError
        `ANSWER_BROKEN`: it is no XML.
    """
    names = (name,) if isinstance(name, str) else name
    try:
        root = parse_xml(body)
    except ElementTree.ParseError as error:
        raise StoreError(
            f"The store's answer about {call.place} cannot be read.",
            code="ANSWER_BROKEN",
            detail=str(error),
            hint="Run it again; if it happens again, look for a proxy in between that answers for the store.",
        ) from error
    for element in root.iter():
        if element.tag.rpartition("}")[2] == each:
            said = {child.tag.rpartition("}")[2]: child.text or "" for child in element.iter()}
            yield next((said[known] for known in names if known in said), "?"), said.get(value, "")


def _no_listing(call: Call, error: Exception) -> StoreError:
    return broken(call, f"a page cannot be read ({error})")
