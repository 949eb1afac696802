"""Lists of entries that backups share, each small enough to be held in memory, whatever the number of entries.

They are cut where the names say so, so that a change moves no other border, and a list that the previous backup has too
is not stored again. Each of them is also a pack of the manifest: what keeps, locks, copies and checks packs does the
same for them (docs/adr/0065).
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Final

from backports import zstd

from coffre.model.manifest import EntriesFile, Entry, PackReference
from coffre.vault.entry_lines import unsorted
from coffre.vault.layout import is_pack, shared_entries_prefix
from coffre.vault.vault import Vault

_LEVEL: Final = 3


@dataclass(frozen=True)
class Cut:
    """Where a list ends: before a name that has one in `one_in` of all hashes, but not below some number of entries.

    That number is against names chosen so that each is a border: `least`, but one `growth`-th of the entries before the
    list, up to `most`. So the manifest, which has the first name of each list, has room for any 100 million names: they
    make at most 5,134 lists, and 34 MB of it if each of these names has 1,024 characters that JSON writes as six. The
    names before a list being known, that is true of ranges together too; each can have one list more.
    `most_bytes` are compressed; readers take 64 MiB.
    """

    least: int = 512
    one_in: int = 2048
    most_bytes: int = 16 * 1024 * 1024
    growth: int = 500
    most: int = 32_768

    def least_after(self, entries: int) -> int:
        """Return how many entries a list has at least that comes after this number of entries."""
        return max(self.least, min(entries // self.growth, self.most))

    def is_before(self, line: bytes) -> bool:
        """Return whether an entry is the first of a list, by the line's beginning: that is the name."""
        name = line.partition(b'","kind":')[0]
        return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest()) % self.one_in == 0


class EntryFiles:
    """Takes lines of entries, sorted by name over all of them, and stores them in lists.

    Parameters
    ----------
    packs
        Gets the reference to each list that is stored, by its key.
    earlier
        Lists of the previous backup that certainly exist as they were recorded, by SHA-256. It may grow meanwhile.
    written
        The lists that an earlier invocation of the same run has stored.
    last
        The last name in those.
    before
        About how many entries of the backup come before all of these: others store them.
    """

    def __init__(
        self,
        vault: Vault,
        backup_id: str,
        packs: MutableMapping[str, PackReference],
        *,
        earlier: Mapping[str, EntriesFile] | None = None,
        written: Iterable[EntriesFile] = (),
        last: str = "",
        before: int = 0,
        cut: Cut | None = None,
    ) -> None:
        self._vault = vault
        self._prefix = f"{shared_entries_prefix(backup_id)}-{secrets.token_hex(4)}"
        self._packs = packs
        self._earlier = {} if earlier is None else earlier
        self._cut = cut or Cut()
        self._stored = 0
        self.files: list[EntriesFile] = list(written)
        self.last = last
        self._before = before + sum(file.count for file in self.files)
        self._begin()

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
            if self._is_full(line):
                self._end()
            if not self._count:
                self._first = Entry.model_validate_json(line).name
            self._count += 1
            self._body += self._compressor.compress(line)

    def close(self) -> tuple[EntriesFile, ...]:
        """Store what is left, and return all lists. A backup without entries has one empty list."""
        if self._count or not self.files:
            self._end()
        return tuple(self.files)

    def flush(self) -> None:
        """Store what is left, if there is anything."""
        if self._count:
            self._end()

    def _begin(self) -> None:
        self._compressor = zstd.ZstdCompressor(level=_LEVEL)
        self._body = bytearray()
        self._count, self._first = 0, ""
        self._least = self._cut.least_after(self._before)

    def _is_full(self, line: bytes) -> bool:
        """Return whether the list ends before this line."""
        return len(self._body) >= self._cut.most_bytes or (self._count >= self._least and self._cut.is_before(line))

    def _end(self) -> None:
        """Point at a list of the previous backup, or store a new one: equal lines give equal bytes."""
        self._body += self._compressor.flush()
        body = bytes(self._body)
        file = self._earlier.get(hashlib.sha256(body).hexdigest()) or self._put(body)
        self.files.append(file)
        self._before += self._count
        self._begin()

    def _put(self, body: bytes) -> EntriesFile:
        """Store a list under a key that no other attempt uses."""
        pack = self._vault.put_pack(f"{self._prefix}-{self._stored:04d}.jsonl.zst", body)
        self._stored += 1
        self._packs[pack.key] = pack
        return EntriesFile(key=pack.key, sha256=pack.sha256, length=pack.length, count=self._count, first=self._first)


def lists_apart(files: Iterable[EntriesFile]) -> tuple[EntriesFile, ...]:
    """Return the lists of entries that are no packs: a backup's very own."""
    return tuple(file for file in files if not is_pack(file.key))


def lists_as_packs(files: Iterable[EntriesFile]) -> dict[str, int]:
    """Return what a backup uses of the lists of entries that are packs: all bytes of each, by key."""
    return {file.key: file.length for file in files if is_pack(file.key)}
