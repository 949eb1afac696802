"""What a backup of objects lists and reads: buckets, or what is named like the objects of one (settings)."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from coffre.buckets.object_facts import Listed
from coffre.buckets.s3_xml import ListingPage
from coffre.stores.s3_errors import Call

if TYPE_CHECKING:
    from coffre.buckets.reader import Piece


class ObjectSource(Protocol):
    """The objects of a target, each named by a bucket (or what stands for one) and a key.

    Its methods raise `CoffreError`s and are called from several threads. `stopping` ends every request soon. `notes`
    and `missing` are as those of `BucketReader`, `requests` are counted by operation. `url` and `region` say where the
    objects are.
    """

    notes: Counter[str]
    missing: Counter[str]

    @property
    def url(self) -> str: ...

    @property
    def region(self) -> str: ...

    @property
    def requests(self) -> Counter[str]: ...

    @property
    def received_bytes(self) -> int: ...

    @property
    def stopping(self) -> threading.Event: ...

    def page(self, bucket: str, prefix: str, *, token: str | None = None, after: str | None = None) -> ListingPage:
        """Return a page of the objects whose keys start with `prefix`."""

    def rest_of_page(self, bucket: str, after: str) -> Sequence[Listed] | None:
        """Return what follows a key in its page, if a page has to be of one look; None: it can be listed again."""

    def take_up(self, rest: Sequence[Listed]) -> None:
        """Take what an earlier invocation has listed for the rest of the page that it ended in."""

    def piece(self, bucket: str, listed: Listed, offset: int, *, etag: str | None = None) -> Piece:
        """Return up to `PIECE_BYTES` of an object from `offset`; its headers say what else is known about it."""

    def is_listed(self, bucket: str, key: str) -> bool:
        """Return whether an object still exists."""

    def versions(self, bucket: str, key: str) -> list[Listed] | None:
        """Return the versions of an object, the newest first; None when they cannot be listed, which is recorded."""

    def tags(self, bucket: str, key: str, version: str | None = None) -> dict[str, str] | None:
        """Return an object's tags; None when they cannot be read, which is recorded."""

    def acl(self, bucket: str, key: str, version: str | None = None) -> tuple[str, ...] | None:
        """Return the grants of an object; None as `tags` does."""

    def tells_tags(self, bucket: str, key: str) -> bool:
        """Return whether an answer about an object would tell that it has tags; if not, which is recorded, it may."""

    def call(self, action: str, bucket: str, key: str) -> Call:
        """Return what a request is about, for errors."""

    def note(self, text: str, times: int = 1) -> None:
        """Record what is worth knowing."""

    def miss(self, text: str) -> None:
        """Record what is not in the backup."""

    def denied_hint(self, bucket: str) -> str:
        """Return what to do when none of a bucket's objects may be read."""
