"""What sources that are no buckets have in common: their objects have no versions, tags or grants."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from coffre.buckets.object_facts import Listed
from coffre.buckets.source_notes import Remarks
from coffre.stores.s3_errors import Call


@dataclass
class PlainSource(Remarks, ABC):
    """See `ObjectSource`."""

    @property
    @abstractmethod
    def url(self) -> str:
        """Where the objects are."""

    def rest_of_page(self, bucket: str, after: str) -> Sequence[Listed] | None:  # noqa: ARG002 - of the contract
        """Return None: each object is read for itself, and can be listed again."""
        return None

    def take_up(self, rest: Sequence[Listed]) -> None:
        """Take nothing: no page is kept."""

    def versions(self, bucket: str, key: str) -> list[Listed] | None:  # noqa: ARG002 - of the contract
        """Return none: the newest value is what is backed up, and a bundle holds the whole history."""
        return None

    def tags(self, bucket: str, key: str, version: str | None = None) -> dict[str, str]:  # noqa: ARG002 - of the contract
        """Return none: a setting's tags are stored with its value, encrypted; repositories have none."""
        return {}

    def acl(self, bucket: str, key: str, version: str | None = None) -> tuple[str, ...]:  # noqa: ARG002 - of the contract
        """Return none."""
        return ()

    def tells_tags(self, bucket: str, key: str) -> bool:  # noqa: ARG002 - of the contract
        """Return that there are none to tell."""
        return True

    def call(self, action: str, bucket: str, key: str) -> Call:
        """Return what a request is about."""
        return Call(action, bucket, key, self.url)
