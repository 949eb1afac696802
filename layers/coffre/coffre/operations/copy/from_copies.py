"""Objects of the copies of a vault: of each the first one that is what it has to be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from coffre.model.errors import CoffreError, IntegrityError, ObjectMissingError, StoreError, StoreTransientError
from coffre.stores.body import sha256_of
from coffre.stores.with_copies import Place

type Check = Callable[[bytes], object]
"""Raises `IntegrityError` for bytes that are not what they have to be."""


def same_as(key: str, sha256: str) -> Check:
    """Return the check that an object is the one with this SHA-256."""

    def check(body: bytes) -> None:
        if sha256_of(body) != sha256:
            raise IntegrityError(f"{key} is not the object that was stored.", code="OBJECT_SWAPPED")

    return check


@dataclass
class Copies:
    """The copies of a vault, those first that are asked first. What they have is trusted only as far as it is checked.

    Attributes
    ----------
    refused
        By key, which copy has something else there, and why that is not it.
    """

    places: Sequence[Place]
    report: Callable[[str, CoffreError], None] = lambda _, __: None
    refused: dict[str, str] = field(default_factory=dict)
    _silent: set[str] = field(default_factory=set)

    def keys(self, prefix: str) -> set[str]:
        """Return the keys that any copy has below a prefix.

        Raises
        ------
        StoreError, StoreTransientError
            None of them can be listed.
        """
        found, failed = set[str](), list[StoreError | StoreTransientError]()
        for place in self.places:
            try:
                found.update(info.key for info in place.store().list(prefix))
            except (StoreError, StoreTransientError) as error:
                self._leave_out(place, error)
                failed.append(error)
        if failed and len(failed) == len(self.places):
            raise failed[0]
        return found

    def find(self, key: str, check: Check, *, is_guess: bool = False) -> bytes:
        """Return an object from the first copy that has the right bytes.

        Parameters
        ----------
        is_guess
            It is not known to be this object that has to be there: a copy that has another one is not refused for it.

        Raises
        ------
        IntegrityError
            `COPY_LACKS`: no copy has it.
        """
        why = list[str]()
        for place in self.places:
            if place.name in self._silent:
                continue
            try:
                body = place.store().get(key)
                check(body)
            except ObjectMissingError:
                continue
            except IntegrityError as error:
                why.append(f"{place.words.capitalize()}: {error.message}")
                if not is_guess:
                    self._refuse(key, why[-1])
            except (StoreError, StoreTransientError) as error:
                why.append(f"{place.words.capitalize()}: {error.message}")
                if error.code != "OBJECT_TOO_LARGE":
                    self._leave_out(place, error)
            else:
                return body
        raise IntegrityError(" ".join(why) or "No copy has it.", code="COPY_LACKS")

    def _refuse(self, key: str, why: str) -> None:
        known = self.refused.get(key, "")
        if why not in known:
            self.refused[key] = f"{known} {why}".strip()

    def _leave_out(self, place: Place, error: StoreError | StoreTransientError) -> None:
        """Ask a place no more that refuses or does not answer: each of its errors takes several attempts."""
        if place.name not in self._silent:
            self._silent.add(place.name)
            self.report(place.name, error)
