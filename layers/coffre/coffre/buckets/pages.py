"""The XML of S3's answers: pages of listings, tags, grants."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import unquote_plus
from xml.etree import ElementTree

from coffre.buckets.facts import Listed
from coffre.model.errors import StoreError
from coffre.stores.s3_errors import Call
from coffre.stores.s3_listing import broken


@dataclass(frozen=True, slots=True)
class Page:
    """Objects of a listing in the store's order; `token` asks for the next page, None ends it."""

    objects: list[Listed]
    token: str | None
    is_truncated: bool


def parse_page(body: bytes, call: Call) -> Page:
    """Read a page of a listing.

    Raises
    ------
    StoreError
        `LISTING_BROKEN`: it is no listing, or has a key that is not UTF-8 and could never be asked for.
    """
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 - see the import
        space = root.tag[: root.tag.rindex("}") + 1] if "}" in root.tag else ""
        encoded = root.findtext(f"{space}EncodingType") == "url"
        objects = [_listed(item, len(space), encoded=encoded) for item in root.iterfind(f"{space}Contents")]
    except (ElementTree.ParseError, KeyError, ValueError) as error:
        raise _no_listing(call, error) from error
    is_truncated = root.findtext(f"{space}IsTruncated") == "true"
    return Page(objects, root.findtext(f"{space}NextContinuationToken") or None, is_truncated)


def _listed(item: ElementTree.Element, skip: int, *, encoded: bool) -> Listed:
    said = {child.tag[skip:]: child.text or "" for child in item}
    modified = said.get("LastModified")
    return Listed(
        key=unquote_plus(said["Key"], errors="strict") if encoded else said["Key"],
        size=int(said["Size"]),
        etag=said["ETag"].strip('"') or None if "ETag" in said else None,
        last_modified=_aware(datetime.fromisoformat(modified)) if modified else None,
        storage_class=said.get("StorageClass") or None,
    )


def _aware(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def parse_pairs(body: bytes, each: str, name: str | tuple[str, ...], value: str) -> Iterator[tuple[str, str]]:
    """Yield two texts of each element of a kind: the first of the names that is there, and the value."""
    names = (name,) if isinstance(name, str) else name
    for element in ElementTree.fromstring(body).iter():  # noqa: S314 - see the import
        if element.tag.rpartition("}")[2] == each:
            said = {child.tag.rpartition("}")[2]: child.text or "" for child in element.iter()}
            yield next((said[known] for known in names if known in said), "?"), said.get(value, "")


def _no_listing(call: Call, error: Exception) -> StoreError:
    return broken(call, f"a page cannot be read ({error})")
