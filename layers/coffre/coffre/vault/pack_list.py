"""The packs that a manifest names, read one at a time: the largest manifests name hundreds of thousands.

An object for each would take ten times the memory of the manifest itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self

from pydantic import ValidationError

from coffre.model.errors import IntegrityError
from coffre.model.manifest import Manifest, PackReference

# As `Vault.commit` writes it: no text in JSON has a line feed, so that this is the field itself.
_BEGIN: Final = b'\n "packs": ['
_END: Final = b"\n ]"
_PACK: Final = re.compile(rb"\{[^{}]*\}")


@dataclass(frozen=True)
class PackList:
    """The packs of one manifest, in its order. `place` is the offset at which a pack's record begins.

    Parameters
    ----------
    manifest
        Everything but the packs, which it seems to have none of.
    """

    manifest: Manifest
    _body: bytes
    _start: int
    _end: int

    @classmethod
    def of(cls, body: bytes, key: str) -> Self:
        """Read the manifest in these bytes; `key` is for the message.

        Raises
        ------
        IntegrityError
            `MANIFEST_DAMAGED`
        """
        try:
            start = body.find(_BEGIN)
            if start < 0:  # laid out by another writer
                body = Manifest.model_validate_json(body).model_dump_json(indent=1).encode()
                start = body.index(_BEGIN)
            start += len(_BEGIN)
            end = start if body.startswith(b"]", start) else body.index(_END, start)
            return cls(Manifest.model_validate_json(body[:start] + body[end:]), body, start, end)
        except ValueError as error:  # pydantic's errors are some too
            raise _damaged(key) from error

    def __iter__(self) -> Iterator[tuple[int, PackReference]]:
        """Yield each pack with its place.

        Raises
        ------
        IntegrityError
            `MANIFEST_DAMAGED`
        """
        for found in _PACK.finditer(self._body, self._start, self._end):
            yield found.start(), self._read(found[0])

    def at(self, place: int) -> PackReference:
        """Return the pack at a place; raises what iterating raises."""
        return self._read(self._body[place : self._body.index(b"}", place) + 1])

    def _read(self, record: bytes) -> PackReference:
        try:
            return PackReference.model_validate_json(record)
        except ValidationError as error:
            raise _damaged(f"of {self.manifest.backup_id}") from error


def _damaged(key: str) -> IntegrityError:
    return IntegrityError(
        f"The manifest {key} cannot be read.",
        code="MANIFEST_DAMAGED",
        hint="This backup cannot be trusted. Restore an older one (`coffre list`) and keep the vault as it is.",
    )
