"""Stores that speak S3 and refuse much of it, as Cloudflare R2 and Backblaze B2 do: in front of a real one."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

from tests.contract.faults import Answer, FaultyStore, Request

STORES = ("r2", "b2")
_SUBRESOURCES = {"tagging", "acl", "ownershipControls", "object-lock", "versioning"}
_HEADERS = ("x-amz-tagging", "x-amz-acl", "x-amz-grant-", "x-amz-website-redirect-location")
_CHECKSUMS = ("x-amz-checksum-", "x-amz-sdk-checksum-algorithm", "x-amz-trailer")


@contextmanager
def refusing(upstream: str, kind: str) -> Iterator[FaultyStore]:
    """Open an endpoint that refuses as a kind of store does, with a real store behind it."""
    with FaultyStore(upstream) as store:
        store.script = lambda request: refusal_of(request, kind)  # type: ignore[assignment,return-value]
        yield store


def refusal_of(request: Request, kind: str) -> Answer | None:
    """Return what the store answers to a request that it does not know; None: it knows it."""
    asked = parse_qs(urlsplit(request.path).query, keep_blank_values=True).keys() & _SUBRESOURCES
    if asked:
        return Answer.error(501, "NotImplemented", f"{sorted(asked)[0]} is not implemented")
    if request.headers.get("x-amz-content-sha256", "").startswith("STREAMING-"):
        return Answer.error(501, "NotImplemented", "STREAMING signatures are not implemented")
    for name in request.headers:
        if name.startswith((*_HEADERS, *_CHECKSUMS)) and name != "x-amz-checksum-mode":
            if kind == "b2":
                return Answer.error(400, "InvalidArgument", f"Unsupported header '{name}' received for this API call.")
            return Answer.error(501, "NotImplemented", f"Header '{name}' not implemented")
    return None
