"""What was fetched of repositories, on the disk until it is stored: bundles, and LFS objects that are asked for."""

from __future__ import annotations

import shutil
import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from coffre.buckets.object_facts import Listed
from coffre.buckets.reader import PIECE_BYTES
from coffre.buckets.repositories.lfs import LfsServer
from coffre.buckets.repositories.local_repository import Bundle
from coffre.buckets.repositories.stored_objects import LFS, kind_of
from coffre.model.errors import CoffreError, RunStoppedError, StoreError

type Place = tuple[str, str]
"""A bucket and the key of an object in it."""


@dataclass
class OnDisk:
    """Fetched objects by their places. What has been read completely is removed. Thread-safe.

    Parameters
    ----------
    folder
        Where clones and downloads are; it need not exist yet.
    """

    folder: Path
    _bundles: dict[Place, Bundle] = field(default_factory=dict)
    _servers: dict[Place, LfsServer] = field(default_factory=dict)
    _served: Counter[Place] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _downloads: defaultdict[str, threading.Lock] = field(default_factory=lambda: defaultdict(threading.Lock))

    def keep(self, place: Place, bundle: Bundle) -> None:
        """Keep a new bundle until it has been read."""
        self._bundles[place] = bundle

    def expect(self, place: Place, server: LfsServer) -> None:
        """Remember the server that an LFS object is downloaded from when it is read."""
        self._servers[place] = server

    def piece(self, place: Place, listed: Listed, offset: int) -> bytes | None:
        """Return up to `PIECE_BYTES` of a bundle or an LFS object; None if it is neither.

        Raises
        ------
        StoreError
            `LFS_UNREADABLE`
        """
        if place in self._bundles:
            return self._bundles[place].read(offset, PIECE_BYTES)
        if place in self._servers:
            return self._lfs_piece(place, listed, offset)
        return None

    def _lfs_piece(self, place: tuple[str, str], listed: Listed, offset: int) -> bytes:
        oid = listed.key.rpartition("/")[2]
        file = self.folder / f"lfs-{oid}"
        with self._downloads[oid]:
            if not file.exists():
                self.folder.mkdir(parents=True, exist_ok=True)
                part = file.with_suffix(".part")
                part.unlink(missing_ok=True)
                self._download(place, oid, listed.size, part)
                part.rename(file)
            with file.open("rb") as content:
                content.seek(offset)
                return content.read(PIECE_BYTES)

    def _download(self, place: tuple[str, str], oid: str, size: int, file: Path) -> None:
        try:
            self._servers[place].download(oid, size, file)
        except RunStoppedError:
            raise
        except CoffreError as error:  # of this object: the others, and the history, can be stored
            raise StoreError(error.message, code="LFS_UNREADABLE", detail=error.code, hint=error.hint) from None

    def done_with(self, place: tuple[str, str], size: int, amount: int) -> None:
        """Count what was read of an object; what has been read completely is removed."""
        with self._lock:
            self._served[place] += amount
            if self._served[place] < size:
                return
            self._served.pop(place)
            bundle = self._bundles.pop(place, None)
        if bundle is not None:
            folder = bundle.pack.parent.parent.parent
            if folder.parent == self.folder:
                shutil.rmtree(folder, ignore_errors=True)
            bundle.pack.unlink(missing_ok=True)
        elif kind_of(place[1]) == LFS:
            (self.folder / f"lfs-{place[1].rpartition('/')[2]}").unlink(missing_ok=True)
