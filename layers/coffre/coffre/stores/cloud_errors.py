"""What obstore says of Google Cloud Storage and Azure, in Coffre's errors: the one place where they are translated.

obstore reports an answer as text: the HTTP status, and the XML or JSON of the store. Only the store's code and message
are passed on. A URL loses its query, which can hold a signature (obstore 0.12 leaves such URLs out itself).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from obstore import exceptions as obstore

from coffre.model.errors import CoffreError, ObjectMissingError, StoreError, StoreTransientError

# A deletion is a batch of one: its parts report their status otherwise.
_STATUS: Final = re.compile(r"(?:status code: |\(code: )(\d{3})")
_CODE: Final = re.compile(r"<Code>(\w{1,80})</Code>")
_MESSAGE: Final = re.compile(r"<Message>([^<\n]{1,300})")
_QUERY: Final = re.compile(r"\?\S*")
_DEBUG: Final = "\n\nDebug source:"

_NO_BUCKET: Final = ("ContainerNotFound", "NoSuchBucket", "The specified container does not exist")
_BAD_KEY: Final = ("AuthenticationFailed", "InvalidAuthenticationInfo", "InvalidSecurity")
_KEPT: Final = (
    "BlobImmutableDueToPolicy",
    "BlobImmutableDueToLegalHold",
    "RetentionPolicyNotMet",
    "ObjectUnderActiveHold",
)
_BUSY: Final = frozenset({429, 503})


@dataclass(frozen=True, slots=True)
class CloudCall:
    """One request: what it does, the permission that it needs, and what it is about.

    `root` is the address of the bucket or container (`gs://bucket`), `where` its store, for a person. `key` is
    the start of one in a listing.
    """

    verb: str
    permission: str
    root: str
    where: str
    key: str

    @property
    def place(self) -> str:
        """The object's address, for a person."""
        return f"{self.root}/{self.key}"


@contextmanager
def translated(call: CloudCall) -> Iterator[None]:
    """Raise what `call` makes obstore raise as one of Coffre's errors, with the original as its cause."""
    try:
        yield
    except FileNotFoundError as error:
        raise _missing(call, str(error)) from error
    except obstore.AlreadyExistsError as error:
        raise _exists(call, str(error)) from error
    except obstore.PreconditionError as error:
        raise StoreTransientError(
            f"{call.place} was replaced while it was used.", code="OBJECT_CHANGED", hint="Run it again."
        ) from error
    except (obstore.PermissionDeniedError, obstore.UnauthenticatedError) as error:
        raise _denied(call, str(error)) from error
    except obstore.BaseError as error:
        raise _other(call, str(error)) from error


def says_which(error: CoffreError) -> bool:
    """Return whether the answer behind an error says what is missing: answers to HEAD have no body."""
    return _CODE.search(str(error.__cause__)) is not None


def status_of(error: CoffreError) -> int | None:
    """Return the HTTP status of the answer behind an error; None: no answer came."""
    return _status(str(error.__cause__))


def is_beyond_end(error: CoffreError) -> bool:
    """Return whether a range may begin after the end: the store says so, or answers with a range that cannot be."""
    text = str(error.__cause__)
    return _status(text) == 416 or "CONTENT_RANGE" in text or "Wanted range" in text


def summary(text: str) -> str:
    """Return the store's code and message, or the first line of what obstore says: no URL's query, no dump."""
    status, code, message = _STATUS.search(text), _CODE.search(text), _MESSAGE.search(text)
    if code is not None:
        return f"{code[1]}: {message[1] if message else ''}".strip(": ")
    line = _QUERY.sub("", text.partition(_DEBUG)[0].partition("\n")[0])[:300]
    return line if status is None or status[1] in line else f"HTTP {status[1]}: {line}"


def _status(text: str) -> int | None:
    found = _STATUS.search(text)
    return int(found[1]) if found else None


def _missing(call: CloudCall, text: str) -> StoreError:
    if any(word in text for word in _NO_BUCKET) or call.verb == "list":
        return _bucket_missing(call, text)
    return ObjectMissingError(f"There is no object {call.place}.", detail=summary(text))


def _bucket_missing(call: CloudCall, text: str) -> StoreError:
    return StoreError(
        f"The bucket {call.root} does not exist at {call.where}.",
        code="BUCKET_MISSING",
        detail=summary(text),
        hint="Check its name and account; one that was deleted has to be made again.",
    )


def _exists(call: CloudCall, text: str) -> StoreError:
    if call.verb != "write" or any(word in text for word in _KEPT):
        return _kept(call, text)
    return StoreError(
        f"The object {call.place} exists; it was left as it is.",
        code="OBJECT_EXISTS",
        hint="Every object is written once: look who else writes there.",
    )


def _kept(call: CloudCall, text: str) -> StoreError:
    return StoreError(
        f"The store refused to {call.verb} {call.place}: a policy keeps the object.",
        code="STORE_DENIED",
        detail=summary(text),
        hint="Look at the retention policy, the legal holds and the leases of the bucket.",
    )


def _denied(call: CloudCall, text: str) -> StoreError:
    if "status code: 401" in text or any(word in text for word in _BAD_KEY):
        return _bad_credentials(call, text)
    return StoreError(
        f"The store refused to {call.verb} {call.place}.",
        code="STORE_DENIED",
        detail=summary(text),
        hint=f"The credentials need the permission {call.permission} there (docs/destinations.md). "
        "Look also at the key itself, and at the firewall of the account.",
    )


def _bad_credentials(call: CloudCall, text: str) -> StoreError:
    return StoreError(
        f"The credentials for {call.root} were not accepted at {call.where}.",
        code="STORE_CREDENTIALS",
        detail=summary(text),
        hint="Check the secret, or the variables that the provider's tools read (docs/destinations.md); "
        "a SAS token has an end.",
    )


def _other(call: CloudCall, text: str) -> CoffreError:
    status = _status(text)
    if any(word in text for word in _KEPT):
        return _kept(call, text)
    if "token request" in text or "Error signing" in text:
        if status is None or status < 500:
            return _bad_credentials(call, text)
    elif status in {401, 403}:
        return _denied(call, text)
    elif status == 404 or any(word in text for word in _NO_BUCKET):
        return _bucket_missing(call, text)
    if status is not None:
        return _answered(call, text, status)
    if "certificate" in text:
        return StoreError(
            f"The store at {call.where} has no certificate that this machine trusts.",
            code="STORE_TLS",
            detail=summary(text),
            hint="Check the endpoint's name, and the certificates of this machine (SSL_CERT_FILE).",
        )
    return StoreTransientError(
        f"The store at {call.where} did not answer for {call.place}, after several attempts.",
        code="STORE_UNREACHABLE",
        detail=summary(text),
        hint="Check the names of account and bucket, the network and its firewall, then run it again.",
    )


def _answered(call: CloudCall, text: str, status: int) -> CoffreError:
    if status in _BUSY:
        return StoreTransientError(
            f"The store asked to slow down at {call.place}, after several attempts.",
            code="STORE_THROTTLED",
            detail=summary(text),
            hint="Run it again later, or with fewer workers.",
        )
    if status >= 500 or status == 408:
        return StoreTransientError(
            f"The store failed at {call.place}, after several attempts.",
            code="STORE_UNAVAILABLE",
            detail=summary(text),
            hint="Run it again later; look at the provider's status page.",
        )
    return StoreError(f"The store refused to {call.verb} {call.place}.", code="STORE_FAILED", detail=summary(text))
