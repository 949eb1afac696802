"""Several files of entries for one backup, each small enough to be held in memory, whatever the number of entries."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Final

from backports import zstd

from coffre.model.errors import StoreError
from coffre.model.manifest import EntriesFile, Entry
from coffre.stores.store import put_new
from coffre.vault.entries import unsorted
from coffre.vault.layout import entries_key, entries_number
from coffre.vault.vault import Vault

# Compressed: some 50,000 objects. Readers take 64 MiB.
FILE_BYTES: Final = 8 * 1024 * 1024
_LEVEL: Final = 3


class EntryFiles:
    """Takes lines of entries, sorted by name over all of them, and stores them in numbered files.

    Parameters
    ----------
    written
        The files that an earlier invocation of the same run has stored: numbers and names continue after them.
    last
        The last name in those.
    number
        Of the first file, if there is none yet.
    """

    def __init__(
        self,
        vault: Vault,
        target: str,
        backup_id: str,
        *,
        written: Iterable[EntriesFile] = (),
        last: str = "",
        number: int = 0,
        file_bytes: int = FILE_BYTES,
    ) -> None:
        self._vault = vault
        self._backup = (target, backup_id)
        self._file_bytes = file_bytes
        self._compressor = zstd.ZstdCompressor(level=_LEVEL)
        self._body = bytearray()
        self._count = 0
        self._first = ""
        self.files: list[EntriesFile] = list(written)
        self._number = entries_number(self.files[-1].key) + 1 if self.files else number
        self.last = last

    def add(self, lines: Iterable[bytes], first: str, last: str) -> None:
        """Take the lines of a part (each with its newline), sorted by name from `first` to `last`.

        Raises
        ------
        IntegrityError
            `ENTRIES_UNSORTED`: the part does not come after the one before.
        """
        if first <= self.last:
            raise unsorted(first, self.last)
        self.last = last
        for line in lines:
            if not self._count:
                self._first = Entry.model_validate_json(line).name
            self._count += 1
            self._body += self._compressor.compress(line)
            if len(self._body) >= self._file_bytes:
                self._store()

    def close(self) -> tuple[EntriesFile, ...]:
        """Store what is left, and return all files. A backup without entries has one empty file."""
        if self._count or not self.files:
            self._store()
        return tuple(self.files)

    def flush(self) -> None:
        """Store what is left, if there is anything."""
        if self._count:
            self._store()

    def _store(self) -> None:
        self._body += self._compressor.flush()
        body, self._body = bytes(self._body), bytearray()
        key, sha256 = self._put(body)
        self.files.append(EntriesFile(key=key, sha256=sha256, length=len(body), count=self._count, first=self._first))
        self._compressor = zstd.ZstdCompressor(level=_LEVEL)
        self._count, self._first = 0, ""

    def _put(self, body: bytes) -> tuple[str, str]:
        """Store a file under the next number that is free: an invocation that died may have stored some already."""
        for number in itertools.count(self._number):
            key = entries_key(*self._backup, number=number)
            self._number = number + 1
            try:
                return key, put_new(self._vault.store_of_new, key, body)
            except StoreError as error:
                if error.code != "OBJECT_EXISTS":
                    raise
        raise AssertionError
