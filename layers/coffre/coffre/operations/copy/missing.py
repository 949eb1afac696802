"""Which packs of a backup a destination lacks: by as few listings as possible, in bounded memory."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import Final

from coffre.stores.store import ObjectInfo, Store
from coffre.vault.pack_list import PackList

# What S3 returns in one answer.
_LISTED: Final = 1_000


def missing_packs(store: Store, packs: PackList) -> array[int]:
    """Return the places of the packs that the store does not list with their length, sorted by key.

    What it lists is what counts, and no earlier copy: something may have deleted there.
    """
    wanted = sorted((pack.key, place) for place, pack in packs)
    folders = sorted({key.rpartition("/")[0] + "/" for key, _ in wanted})
    lacking: array[int] = array("q")
    listed = _listed(store, folders, most=_LISTED * len(folders) + len(wanted))
    info = next(listed, None)
    for key, place in wanted:
        while info is not None and info.key < key:
            info = next(listed, None)
        if info is None or info.key != key or info.size != packs.at(place).length:
            lacking.append(place)
    return lacking


def _listed(store: Store, folders: Sequence[str], *, most: int) -> Iterator[ObjectInfo]:
    """Yield what is in these folders, and perhaps some others, sorted by key.

    Many backups that wrote some packs each are listed together, until that has taken as many requests as a listing of
    each folder would (`most` objects): other targets may have much more between them. So it takes at most twice the
    better way.
    """
    last = ""
    for number, info in enumerate(store.list(_shared(folders)) if folders else (), start=1):
        yield info
        if number >= most:
            last = info.key
            break
    else:
        return
    for folder in folders:
        if folder > last or last.startswith(folder):
            yield from (info for info in store.list(folder) if info.key > last)


def _shared(folders: Sequence[str]) -> str:
    """Return how all of the sorted folders begin."""
    first, last = folders[0], folders[-1]
    return first[: next((at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), None)]
