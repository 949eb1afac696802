"""What the previous backup stored, so that unchanged bytes are pointed at instead of stored again.

A small entry is known by its name and SHA-256; a large one frame by frame. Only frames that certainly exist are
used: their pack is in the vault with its recorded length, nothing is known to be wrong with it, its lock can be
extended, and enough of it is still in use.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from coffre.model.manifest import Entry, Manifest, PackReference
from coffre.vault.damage import read_damage
from coffre.vault.entries import read_lines, write_lines
from coffre.vault.vault import Vault

# When less of a pack than this is still in use, what is left of it is stored again, and the pack can go: stored bytes
# stay below twice what is needed.
_LEAST_LIVE_SHARE: Final = 0.5


@dataclass(frozen=True)
class History:
    """The previous backup's entries in one file for each part of the new one, and the packs that they may point at."""

    files: Mapping[int, Path] = field(default_factory=dict)
    packs: Mapping[str, PackReference] = field(default_factory=dict)

    def known(self, part: int) -> dict[str, Entry]:
        """Return the previous entries with the names of this part, by name."""
        if part not in self.files:
            return {}
        return {entry.name: entry for entry in read_lines(self.files[part])}


NO_HISTORY: Final = History()


def open_history(
    vault: Vault, previous: Manifest, firsts: Sequence[tuple[int, str]], scratch: Path, last_end: str | None = None
) -> History:
    """Divide the previous backup's usable entries among the parts of the new one, in constant memory.

    Parameters
    ----------
    previous
        The previous backup, whose frames the same recipients can open.
    firsts
        Number and first name of each part, in the order of the names.
    scratch
        Where the files go.
    last_end
        Where the names of the last part end; None: with the backup.
    """
    packs = usable_packs(vault, previous)
    start = firsts[0][1]
    entries = (
        entry
        for entry in vault.entries(previous, start)
        if entry.name >= start and all(frame.pack in packs for frame in entry.frames)
    )
    waiting = next(entries, None)

    def up_to(end: str | None) -> Iterator[Entry]:
        nonlocal waiting
        while waiting is not None and (end is None or waiting.name < end):
            yield waiting
            waiting = next(entries, None)

    ends = [name for _, name in firsts[1:]]
    files: dict[int, Path] = {}
    for (number, _), end in zip(firsts, [*ends, last_end], strict=True):
        files[number] = scratch / f"known-{number:06d}.jsonl"
        write_lines(up_to(end), files[number])
    return History(files, packs)


def usable_packs(vault: Vault, previous: Manifest) -> dict[str, PackReference]:
    """Return the packs of a backup that the next one may point at, by key."""
    stored = vault.pack_lengths(previous.packs)
    known = read_damage(vault, previous.target, previous.backup_id)
    damaged = frozenset(known.packs if known else ())
    return {
        pack.key: pack
        for pack in previous.packs
        if stored.get(pack.key) == pack.length
        and pack.key not in damaged
        and (vault.locks is None or vault.locks.fits(pack))
        and pack.live_bytes >= _LEAST_LIVE_SHARE * pack.length
    }
