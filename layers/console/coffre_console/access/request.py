"""A request and an answer as the console's pure functions see them."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self
from urllib.parse import parse_qsl, urlsplit

UNSAFE_METHODS: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
# Lambda's own limit is 6 MB; no form and no event of the console has a hundredth of it.
LONGEST_BODY: Final = 64 * 1024
_MOST_FIELDS: Final = 200
_LOCAL: Final = re.compile(r"/(?![/\\])[!-\[\]-~]{0,2000}")


class BadRequestError(ValueError):
    """A request that cannot be read; the message is a sentence for who sent it."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request of an HTTP API (payload format 2.0).

    `path` begins with `/` and has no prefix. Names of `headers` are in lower case. Of a query field or a cookie that
    comes twice, nothing is chosen: such a request is refused. `address` is who is connected, an IP address.
    `origin` is the console's own, such as `https://backups.example.com`, and `prefix` what comes before each path in a
    browser: empty, or `/prod`. Both are from the console's known address, never from the header `Host`.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    cookies: Mapping[str, str]
    body: str
    address: str
    origin: str
    prefix: str = ""
    event: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of_event(cls, event: Mapping[str, Any], *, base: str) -> Self:
        """Read an event of an HTTP API.

        Parameters
        ----------
        base
            The console's address as browsers use it: an origin, and perhaps a path (a stage, a mapping of a domain).

        Raises
        ------
        BadRequestError
            A body that is too long or no text, a field or a cookie that comes twice.
        """
        http = event["requestContext"]["http"]
        parts = urlsplit(base)
        prefix = parts.path.rstrip("/")
        path = str(event.get("rawPath") or "/")
        if prefix and (path == prefix or path.startswith(f"{prefix}/")):
            path = path.removeprefix(prefix) or "/"
        headers = {name.lower(): str(value) for name, value in (event.get("headers") or {}).items()}
        return cls(
            method=str(http["method"]).upper(),
            path=path,
            headers=headers,
            query=fields_of(str(event.get("rawQueryString") or "")),
            # AWS moves cookies out of the headers; the local AWS (ministack 1.5.33) leaves them there.
            cookies=_cookies(event.get("cookies") or (headers.get("cookie", ""),)),
            body=_body(event),
            address=str(http.get("sourceIp", "")),
            origin=f"{parts.scheme}://{parts.netloc}",
            prefix=prefix,
            event=event,
        )

    @property
    def base(self) -> str:
        """The console's address without a slash at its end: what comes before each path in a browser."""
        return f"{self.origin}{self.prefix}"

    @property
    def form(self) -> Mapping[str, str]:
        """The fields of a form in the body; raises BadRequestError for a field that comes twice."""
        return fields_of(self.body)


@dataclass(frozen=True, slots=True)
class Response:
    """One answer; `cookies` are whole values of Set-Cookie."""

    status: int
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: tuple[str, ...] = ()

    def as_event(self) -> dict[str, Any]:
        """Return the answer in the payload format 2.0 of an HTTP API."""
        return {
            "statusCode": self.status,
            "headers": dict(self.headers),
            "cookies": list(self.cookies),
            "body": self.body,
        }


def fields_of(text: str) -> dict[str, str]:
    """Return the fields of a query or a form; raises BadRequestError for a field that comes twice, or too many."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except (ValueError, UnicodeDecodeError) as error:
        raise BadRequestError("The fields of the request cannot be read.") from error
    return _once(pairs, "field")


def local_path(path: str) -> str:
    """Return a path of this console: never another site, and `/` for what is none."""
    return path if _LOCAL.fullmatch(path) else "/"


def _cookies(sent: Any) -> dict[str, str]:
    pairs = [one.strip().partition("=") for whole in sent for one in str(whole).split(";")]
    return _once([(name, value) for name, _, value in pairs if name.startswith("__Host-")], "cookie")


def _once(pairs: list[tuple[str, str]], what: str) -> dict[str, str]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadRequestError(f"A {what} of the request comes twice.")
    return found


def _body(event: Mapping[str, Any]) -> str:
    body = event.get("body") or ""
    if len(body) > LONGEST_BODY * 4 // 3 + 4:
        raise BadRequestError("The body of the request is too long.")
    if event.get("isBase64Encoded"):
        try:
            body = base64.b64decode(body, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise BadRequestError("The body of the request is no text.") from error
    if len(body.encode()) > LONGEST_BODY:
        raise BadRequestError("The body of the request is too long.")
    return str(body)
