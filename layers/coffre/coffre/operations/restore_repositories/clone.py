"""A bare clone from the bundles of a backup, proven to be complete."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from coffre.buckets.repositories.lfs import place_of
from coffre.buckets.repositories.local_repository import Limited, LocalRepository
from coffre.buckets.repositories.remote import Refs
from coffre.model.errors import IntegrityError
from coffre.operations.restore_repositories.stored_repositories import StoredRepository
from coffre.vault.codec import FrameDecoder
from coffre.vault.vault import Vault


@dataclass(frozen=True)
class Cloned:
    """A clone that was made: how many refs, objects and LFS objects it has."""

    folder: Path
    refs: Refs
    objects: int
    lfs: int


def make_clone(
    vault: Vault,
    decoder: FrameDecoder,
    stored: StoredRepository,
    folder: Path,
    progress: Callable[[int, str], None] = lambda *_: None,
) -> Cloned:
    """Make a bare clone in a new directory, which is removed again if it is not complete.

    Raises
    ------
    IntegrityError
        `REPOSITORY_BROKEN`, or stored bytes that are damaged.
    StoreError
        `REPOSITORY_TOO_LARGE`
    CoffreError
    """
    try:
        with LocalRepository.make(folder, stored.name) as clone:
            refs = Refs({})
            for entry in stored.bundles:
                progress(entry.size, entry.name)
                refs = clone.add_bundle(vault.read_entry(entry, decoder))
            refs = _with_head(refs, stored)
            _refuse_other_refs(refs, stored)
            objects = len(clone.reached(refs.tips).objects)
            clone.set_refs(refs)
        for entry in stored.lfs:
            progress(entry.size, entry.name)
            place = place_of(folder, entry.name.rpartition("/")[2])
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("xb") as file:
                write = Limited(file.write, folder, stored.name)
                for piece in vault.read_entry(entry, decoder):
                    write(piece)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return Cloned(folder, refs, objects, len(stored.lfs))


def _with_head(refs: Refs, stored: StoredRepository) -> Refs:
    """Return the refs with the branch that HEAD stands for: a bundle names the commit alone, which others can share."""
    named = next((name for name in refs.ids if name.decode(errors="backslashreplace") == stored.head), None)
    return Refs(refs.ids, named)


def _refuse_other_refs(refs: Refs, stored: StoredRepository) -> None:
    """Refuse a newest bundle whose refs are not those that the backup lists."""
    found = {name.decode(errors="backslashreplace"): one.decode() for name, one in refs.ids.items()}
    different = sorted(name for name in {*found, *stored.refs} if found.get(name) != stored.refs.get(name))
    if different or not stored.bundles:
        raise IntegrityError(
            f"The bundles of {stored.name} do not lead to the refs that the backup lists.",
            code="REPOSITORY_BROKEN",
            detail=f"{len(different):,} refs differ, {different[0]} first." if different else "It has no bundle.",
            hint="Restore an older backup of it; take a new one with --full.",
        )
