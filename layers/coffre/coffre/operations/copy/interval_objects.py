"""One interval of a journal, as the vault and its copies have it, and what of it is put back."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from coffre.model.errors import IntegrityError, ObjectMissingError, StoreError
from coffre.operations.copy.from_copies import Copies
from coffre.operations.copy.put_back import stored_sha256
from coffre.stores.store import ObjectInfo
from coffre.vault.layout import interval_end_key, interval_key
from coffre.vault.vault import Vault


@dataclass(frozen=True)
class Repair:
    """An object that the vault has to have; `seen` is the SHA-256 of what the vault has instead, None: nothing.

    `is_proven`: something in the vault or in the catalog says that it is this one. Otherwise only a copy says so.
    """

    key: str
    sha256: str
    seen: str | None
    is_proven: bool = True


@dataclass(frozen=True)
class Unit:
    """What is put back together: packs, and then the record that names them.

    `of` is the key of that record; `record` is None where the vault has it.
    """

    of: str
    packs: tuple[Repair, ...] = ()
    record: Repair | None = None


@dataclass(frozen=True)
class IntervalObjects:
    """What the vault has of an interval, and the keys that copies have.

    Attributes
    ----------
    lost
        By key, why it cannot be put back.
    """

    vault: Vault
    copies: Copies
    target: str
    id: str
    own: Mapping[str, ObjectInfo]
    offered: Collection[str]
    lost: dict[str, str] = field(default_factory=dict)

    @property
    def begin_key(self) -> str:
        """The key of its record."""
        return interval_key(self.target, self.id)

    @property
    def end_key(self) -> str:
        """The key of the record of its end."""
        return interval_end_key(self.target, self.id)

    def body(self, key: str) -> bytes | None:
        """Return an object of the vault; None: it is missing, or is nothing that a reader takes."""
        if key not in self.own:
            return None
        try:
            return self.vault.store.get(key)
        except (ObjectMissingError, IntegrityError):
            return None
        except StoreError as error:
            if error.code != "OBJECT_TOO_LARGE":
                raise
            return None

    def exists(self, key: str) -> bool:
        """Return whether the vault has an object now."""
        try:
            self.vault.store.head(key)
        except ObjectMissingError:
            return False
        return True

    def seen(self, key: str, wanted: str = "") -> str | None:
        """Return the SHA-256 of an object of the vault; None: it is missing."""
        return stored_sha256(self.vault.store, key, wanted) if key in self.own else None
