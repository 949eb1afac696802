"""What a bucket says about an object besides its bytes: as headers to send, and compared with the existing ones."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.charset import BASE64, Charset
from email.header import Header
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from coffre.model.manifest import ObjectFacts

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef, HeadObjectOutputTypeDef

# Stores answer one of these, or guess, when they were sent nothing.
_SENT_FOR_NOTHING: Final = frozenset({None, "", "binary/octet-stream"})
# The framing of an upload, which some stores keep as if it were the object's.
_FRAMING: Final = "aws-chunked"
_WRITES: Final = ("PutObject", "CreateMultipartUpload")
_EXACT: Final = ("Expires",)


class ExactHeaders:
    """Sends headers as they were recorded, where the library would make something else of them (`Expires: 0`)."""

    def __init__(self, client: S3Client) -> None:
        self._mine = threading.local()
        for operation in _WRITES:
            client.meta.events.register(f"before-call.s3.{operation}", self._add)

    @contextmanager
    def taken_from(self, fields: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Send what is exact among the fields with the requests of this thread; give the other fields."""
        self._mine.headers = {name: fields[name] for name in _EXACT if name in fields}
        try:
            yield {name: value for name, value in fields.items() if name not in _EXACT}
        finally:
            self._mine.headers = {}

    def _add(self, params: dict[str, Any], **_: object) -> None:
        params["headers"].update(getattr(self._mine, "headers", {}))


def fields_of(facts: ObjectFacts) -> dict[str, Any]:
    """Return the parameters of a put that bring an object's attributes back."""
    fields: dict[str, Any] = {
        "ContentType": facts.content_type,
        "ContentEncoding": _encoding(facts.content_encoding),
        "ContentDisposition": facts.content_disposition,
        "ContentLanguage": facts.content_language,
        "CacheControl": facts.cache_control,
        "Expires": facts.expires,
        "StorageClass": None if facts.storage_class == "STANDARD" else facts.storage_class,
        "WebsiteRedirectLocation": facts.redirect,
        "Metadata": {name: _header(value) for name, value in facts.metadata.items()},
        "Tagging": urlencode(facts.tags),
    }
    # An empty content type is sent: without one, stores make one up.
    return {name: value for name, value in fields.items() if value or (name == "ContentType" and value is not None)}


def differing(
    facts: ObjectFacts, head: HeadObjectOutputTypeDef | GetObjectOutputTypeDef, *, knows_redirects: bool = False
) -> list[str]:
    """Return the names of the attributes that an object has otherwise.

    Tags and storage class are not among them: a head does not have the ones, the others move. Redirects are only where
    the store is known to keep them.
    """
    found = {
        "content_type": head.get("ContentType"),
        "content_encoding": _encoding(head.get("ContentEncoding")),
        "content_disposition": head.get("ContentDisposition"),
        "content_language": head.get("ContentLanguage"),
        "cache_control": head.get("CacheControl"),
        "expires": head.get("ExpiresString"),
        **({"redirect": head.get("WebsiteRedirectLocation")} if knows_redirects else {}),
    }
    wanted = {**facts.model_dump(include=set(found)), "content_encoding": _encoding(facts.content_encoding)}
    if wanted["content_type"] in _SENT_FOR_NOTHING:
        found["content_type"] = wanted["content_type"]
    metadata = {name: _header(value) for name, value in facts.metadata.items()}
    others = [name for name in found if (found[name] or None) != (wanted[name] or None)]
    return [*others, *(["metadata"] if head.get("Metadata", {}) != metadata else [])]


def _encoding(text: str | None) -> str | None:
    kept = [part.strip() for part in (text or "").split(",") if part.strip() not in ("", _FRAMING)]
    return ",".join(kept) or None


def _header(value: str) -> str:
    """Return a value of user metadata as S3 itself shows one that is not ASCII (RFC 2047)."""
    if value.isascii():
        return value
    charset = Charset("utf-8")
    charset.header_encoding = BASE64
    return Header(_read_as_utf8(value), charset, maxlinelen=10_000).encode()


def _read_as_utf8(value: str) -> str:
    """Undo what HTTP's Latin-1 makes of UTF-8."""
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value
