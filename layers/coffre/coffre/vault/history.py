"""What earlier runs stored, so that unchanged bytes are pointed at instead of stored again.

A small entry is known by its name and SHA-256; a large one frame by frame. Only frames that certainly exist are
used: their pack is in the vault with its recorded length, nothing is known to be wrong with it, its lock can be
extended, and enough of it is still in use.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Final

from coffre.model.manifest import Entry, Manifest, PackReference
from coffre.vault.damage import read_damage
from coffre.vault.entry_lines import read_lines, write_lines
from coffre.vault.vault import Vault

# When less of a pack than this is still in use, what is left of it is stored again, so that the pack can go: stored
# bytes stay below twice what is needed. But only while the dead bytes of all packs are more than this share of what is
# needed: the pack stays as long as older backups need it, and until then it would be stored twice.
_LEAST_LIVE_SHARE: Final = 0.5
_DEAD_SHARE: Final = 0.25
_name_of: Final = attrgetter("name")


@dataclass(frozen=True)
class Unfinished:
    """What a run that did not finish has stored: `entries` is a file of JSON lines, sorted by name (`read_lines`).

    `packs` are those that the entries point at, of whatever run, by key. `names` are the first and the last name of
    each record that was read, by its number.
    """

    backup_id: str
    entries: Path
    packs: Mapping[str, PackReference]
    names: Mapping[int, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class History:
    """What is known of each part of a new backup, in one file for each, and the packs that it may point at.

    `unfinished` are the packs that no backup has, with the id of the run that named them.
    """

    files: Mapping[int, Path] = field(default_factory=dict)
    packs: Mapping[str, PackReference] = field(default_factory=dict)
    unfinished: Mapping[str, str] = field(default_factory=dict)

    def known(self, part: int) -> dict[str, Entry]:
        """Return the known entries with the names of this part, by name."""
        if part not in self.files:
            return {}
        return {entry.name: entry for entry in read_lines(self.files[part])}


NO_HISTORY: Final = History()


def open_history(
    vault: Vault,
    previous: Manifest | None,
    firsts: Sequence[tuple[int, str]],
    scratch: Path,
    last_end: str | None = None,
    *,
    unfinished: Sequence[Unfinished] = (),
) -> History:
    """Divide the usable entries of earlier runs among the parts of the new one, in constant memory.

    Of several entries of one name, the newest usable one counts.

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
    unfinished
        Runs since the previous backup that did not finish, the newest first, for the same recipients.
    """
    packs, unfinished_packs = usable_packs(vault, previous, unfinished)
    start = firsts[0][1]
    candidates = [read_lines(run.entries) for run in unfinished]
    if previous is not None:
        candidates.append(vault.entries(previous, start))
    usable = newest_usable(candidates, packs, start)
    waiting = next(usable, None)

    def up_to(end: str | None) -> Iterator[Entry]:
        nonlocal waiting
        while waiting is not None and (end is None or waiting.name < end):
            yield waiting
            waiting = next(usable, None)

    ends = [name for _, name in firsts[1:]]
    files: dict[int, Path] = {}
    for (number, _), end in zip(firsts, [*ends, last_end], strict=True):
        files[number] = scratch / f"known-{number:06d}.jsonl"
        write_lines(up_to(end), files[number])
    return History(files, packs, unfinished_packs)


def newest_usable(
    candidates: Iterable[Iterator[Entry]], packs: Mapping[str, PackReference], start: str
) -> Iterator[Entry]:
    """Yield the entries from a name on all of whose frames are in these packs, sorted.

    Parameters
    ----------
    candidates
        Each sorted, the newest first: of several entries of one name, the first usable one counts.
    """
    return _newest(_usable(_from(entries, start), packs) for entries in candidates)


def _from(entries: Iterable[Entry], start: str) -> Iterator[Entry]:
    return (entry for entry in entries if entry.name >= start)


def _usable(entries: Iterable[Entry], packs: Mapping[str, PackReference]) -> Iterator[Entry]:
    """Yield the entries all of whose frames are in these packs."""
    for entry in entries:
        found = ((packs.get(frame.pack), frame) for frame in entry.frames)
        if all(pack is not None and frame.offset + frame.length <= pack.length for pack, frame in found):
            yield entry


def _newest(candidates: Iterable[Iterator[Entry]]) -> Iterator[Entry]:
    """Merge sorted entries; of the same name, that of the first candidate counts."""
    for _, same in groupby(heapq.merge(*candidates, key=_name_of), key=_name_of):
        yield next(same)


def usable_packs(
    vault: Vault, previous: Manifest | None, unfinished: Sequence[Unfinished] = ()
) -> tuple[dict[str, PackReference], dict[str, str]]:
    """Return the packs that the next backup may point at, by key.

    Of those that the previous backup does not have, also the id of the run that named them, the newest.
    """
    found = {pack.key: pack for pack in previous.packs} if previous else {}
    named_by: dict[str, str] = {}
    for run in unfinished:
        for key, pack in run.packs.items():
            if key not in found:
                found[key], named_by[key] = pack, run.backup_id
    stored = vault.pack_lengths(found.values())
    known = read_damage(vault, previous.target, previous.backup_id) if previous else None
    damaged = frozenset(known.packs if known else ())
    packs = {
        key: pack
        for key, pack in found.items()
        if stored.get(key) == pack.length and key not in damaged and (vault.locks is None or vault.locks.fits(pack))
    }
    for key in _mostly_dead(packs.values()):
        del packs[key]
    return packs, {key: run for key, run in named_by.items() if key in packs}


def _mostly_dead(packs: Iterable[PackReference]) -> list[str]:
    """Return the keys of packs whose rest is to be stored again, those first of which the least is in use."""
    known = sorted(packs, key=lambda pack: (pack.live_bytes / max(pack.length, 1), pack.key))
    live = sum(pack.live_bytes for pack in known)
    dead = sum(pack.length for pack in known) - live
    found = list[str]()
    for pack in known:
        if dead <= _DEAD_SHARE * live or pack.live_bytes >= _LEAST_LIVE_SHARE * pack.length:
            break
        found.append(pack.key)
        dead -= pack.length - pack.live_bytes
    return found
