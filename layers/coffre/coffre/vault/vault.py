"""The vault: where each of Coffre's objects is, and the order in which they are written and checked.

Writing: packs, then the entries file, then the manifest; the manifest's arrival is the commit. Reading goes the other
way, each step checked against the SHA-256 that the step before recorded: catalog, manifest, entries, frame, entry.

Packs, entries files, manifests and marks of tiers are written once: the store is asked to replace nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from coffre.concurrency.memory_budget import MemoryBudget
from coffre.model.copies import ReadFrom
from coffre.model.errors import IntegrityError, ObjectMissingError
from coffre.model.locks import Lock
from coffre.model.manifest import EntriesFile, Entry, Frame, Manifest, PackReference
from coffre.stores.store import Store, put_new
from coffre.stores.with_copies import StoreWithCopies
from coffre.vault.codec import FrameDecoder, FrameEncoder
from coffre.vault.entry_lines import merge_lines, parse_lines
from coffre.vault.layout import entries_key, manifest_key, pack_prefix
from coffre.vault.locks import VaultLocks
from coffre.vault.manifests import MANIFEST_LIMIT_BYTES, entries_at, lost, manifest_at, manifest_body, parse_manifest
from coffre.vault.marks import BackupMarks
from coffre.vault.pack import PackWriter
from coffre.vault.restore_reports import RestoreReports


@dataclass(frozen=True)
class Committed:
    """A written manifest: its key and the SHA-256 of its bytes, which the catalog keeps."""

    key: str
    sha256: str


class Vault(BackupMarks, RestoreReports):
    """Coffre's records in an object store.

    Parameters
    ----------
    locks
        Sets the locks of what backups are made of; None: nothing is locked.
    new_lock
        The first lock of the packs and lists of entries that are stored.
    """

    def __init__(self, store: Store, locks: VaultLocks | None = None, *, new_lock: Lock | None = None) -> None:
        self.store = store
        self.locks = locks
        self._new_lock = new_lock

    def locking_new_until(self, end: datetime) -> Vault:
        """Return the same vault, which locks packs and lists of entries until then when it stores them."""
        return Vault(self.store, self.locks, new_lock=self.locks.lock(end) if self.locks else None)

    @property
    def new_locked_until(self) -> datetime | None:
        """Until when packs and lists of entries are locked as they are stored; None: they are not."""
        return self._new_lock.until if self._new_lock else None

    @property
    def store_of_new(self) -> Store:
        """Where packs and lists of entries are stored: with a lock, if there is one for them."""
        if self.locks is None or self._new_lock is None:
            return self.store
        return self.locks.store.with_lock(self._new_lock)

    def put_locked(self, key: str, body: bytes, until: datetime) -> str:
        """Store a small new object and lock it until then, where the vault has locks; return its SHA-256."""
        store = self.store if self.locks is None else self.locks.store.with_lock(self.locks.lock(until))
        return put_new(store, key, body)

    # --- writing ---

    def pack_writer(
        self, backup_id: str, part: int, encoder: FrameEncoder, budget: MemoryBudget | None = None, *, uploads: int = 1
    ) -> PackWriter:
        """Return a writer for the packs of one part of one backup; all parts share the `budget`."""
        return PackWriter(
            self.store_of_new,
            pack_prefix(backup_id, part),
            encoder,
            budget,
            uploads=uploads,
            lock=self._new_lock,
        )

    def put_pack(self, key: str, body: bytes) -> PackReference:
        """Store a new pack that is no frames, with the lock of new packs, and return the reference to it."""
        sha256, lock = put_new(self.store_of_new, key, body), self._new_lock
        return PackReference(
            key=key,
            length=len(body),
            sha256=sha256,
            live_bytes=len(body),
            locked_until=lock.until if lock else None,
            lock_mode=lock.mode if lock else None,
        )

    def write_entries(
        self, target: str, backup_id: str, parts: Iterable[Path], scratch: Path
    ) -> tuple[EntriesFile, Mapping[str, int]]:
        """Store the sorted entries file, made from the parts' files in the order of the parts.

        Returns
        -------
        EntriesFile
            Where it is.
        Mapping
            What the entries use of each pack, in bytes.
        """
        file = scratch / "entries.jsonl.zst"
        merged = merge_lines(parts, file)
        body = file.read_bytes()
        key = entries_key(target, backup_id)
        sha256 = put_new(self.store_of_new, key, body)
        file_of_all = EntriesFile(key=key, sha256=sha256, length=len(body), count=merged.count, first=merged.first)
        return file_of_all, merged.live_bytes

    def commit(self, manifest: Manifest, announce: Callable[[Committed], None]) -> Committed:
        """Write the manifest. After this the backup exists, whatever happens to the run.

        Parameters
        ----------
        manifest
            Everything that it points at is stored.
        announce
            Called right before the manifest is written; what it raises stops the commit.

        Raises
        ------
        StoreError
            `MANIFEST_TOO_LARGE`: no reader would take it. Nothing was announced.
        """
        body = manifest_body(manifest)
        committed = Committed(
            key=manifest_key(manifest.target, manifest.backup_id), sha256=hashlib.sha256(body).hexdigest()
        )
        announce(committed)
        if manifest.locked_until is None:
            put_new(self.store, committed.key, body)
        else:
            self.put_locked(committed.key, body, manifest.locked_until)
        return committed

    # --- reading ---

    def find_manifest(self, target: str, backup_id: str) -> tuple[Manifest, Committed] | None:
        """Return the manifest of a backup if it was committed, with the SHA-256 of the bytes that the vault has."""
        key = manifest_key(target, backup_id)
        try:
            body = self.store.get(key, limit_bytes=MANIFEST_LIMIT_BYTES)
        except ObjectMissingError:
            return None
        return parse_manifest(body, key), Committed(key=key, sha256=hashlib.sha256(body).hexdigest())

    def read_manifest(self, key: str, *, sha256: str) -> Manifest:
        """Return the manifest at `key`, whose bytes must have the SHA-256 that the catalog recorded.

        Raises
        ------
        IntegrityError
            `MANIFEST_MISSING`, `MANIFEST_SWAPPED` (other bytes than recorded) or `MANIFEST_DAMAGED`.
        """
        return parse_manifest(self.manifest_bytes(key, sha256=sha256), key)

    def manifest_bytes(self, key: str, *, sha256: str) -> bytes:
        """Return the bytes of the manifest at `key`; raises what `read_manifest` raises, but reads nothing of it."""
        return self.checked(key, lambda store: manifest_at(store, key, sha256))

    def pack_lengths(self, packs: Iterable[PackReference]) -> dict[str, int]:
        """Return the lengths of these packs as the store lists them; those that are missing are not in it."""
        folders = {pack.key.rsplit("/", 1)[0] + "/" for pack in packs}
        return {info.key: info.size for folder in sorted(folders) for info in self.store.list(folder)}

    def entries(
        self,
        manifest: Manifest,
        start: str = "",
        on_read: Callable[[EntriesFile], None] = lambda _: None,
        on_damage: Callable[[EntriesFile, IntegrityError], None] | None = None,
    ) -> Iterator[Entry]:
        """Yield the entries of a backup, sorted by name, after checking each file against the manifest.

        Files whose names all come before `start` are not read; the first of the others may begin before it. `on_read`
        gets each file that is as it was recorded, before its entries. One that is not is read twice, then given to
        `on_damage` and passed over; without that the error is raised.
        """
        files = manifest.entries
        before = [index for index, file in enumerate(files) if file.first <= start]
        for file in files[max(before, default=0) :]:
            try:
                body = self._entries_bytes(file)
            except IntegrityError as error:
                if on_damage is None:
                    raise
                on_damage(file, error)
                continue
            on_read(file)
            yield from parse_lines(body, where=file.key)

    def _entries_bytes(self, file: EntriesFile) -> bytes:
        return twice(lambda: self.checked(file.key, lambda store: entries_at(store, file)))

    def checked[T](self, key: str, read: Callable[[Store], T]) -> T:
        """Read and check an object; where a copy exists, it is asked for what the vault cannot give."""
        return self.store.checked(key, read) if isinstance(self.store, StoreWithCopies) else read(self.store)

    @property
    def read_from(self) -> tuple[ReadFrom, ...]:
        """What was read from a copy, because the first choice could not give it."""
        return self.store.read_from if isinstance(self.store, StoreWithCopies) else ()

    def read_entry_from(self, entry: Entry, decoder: FrameDecoder, start: int) -> Iterator[bytes]:
        """Yield the plaintext of an entry of frames of its own from a place on, each frame checked."""
        at = 0
        for frame in entry.frames:
            if at + frame.size > start:
                yield self.read_frame(frame, decoder)[0][max(0, start - at) :]
            at += frame.size

    def read_entry(self, entry: Entry, decoder: FrameDecoder, *, at_end: bool = False) -> Iterator[bytes]:
        """Yield the plaintext of an entry, each frame checked before it is given out.

        With `at_end` an entry of several frames is hashed as a whole only, which takes half of the time: what was
        given out counts when the iteration ends without an error, and not before.

        Raises
        ------
        IntegrityError
            `PACK_MISSING`, `FRAME_DAMAGED`, `OBJECT_TRUNCATED` or `ENTRY_DAMAGED`.
        """
        whole = hashlib.sha256()
        is_alone = len(entry.frames) == 1
        is_hashed = is_alone and (entry.frames[0].size, entry.frames[0].sha256) == (entry.size, entry.sha256)
        for frame in entry.frames:
            plaintext, _ = self.read_frame(frame, decoder, hashed=is_alone or not at_end)
            if is_alone and frame.size != entry.size:
                plaintext = plaintext[entry.start : entry.start + entry.size]
            if not is_hashed:
                whole.update(plaintext)
            yield plaintext
        if not is_hashed:
            check_entry(entry, whole.hexdigest())

    def read_frame(self, frame: Frame, decoder: FrameDecoder, *, hashed: bool = True) -> tuple[bytes, bytes]:
        """Return the checked plaintext of a frame, and the one zstd frame that it was in.

        Raises
        ------
        IntegrityError
            `PACK_MISSING`, `FRAME_DAMAGED` or `OBJECT_TRUNCATED`.
        """
        # The hash of a whole does not say which frame is wrong: where another place may have it, each is hashed.
        hashed = hashed or isinstance(self.store, StoreWithCopies)

        def read(store: Store) -> tuple[bytes, bytes]:
            try:
                stored = store.get_range(frame.pack, frame.offset, frame.length)
            except ObjectMissingError as error:
                raise lost("PACK_MISSING", f"The pack {frame.pack} is not in the vault.") from error
            return decoder.open(stored, frame, hashed=hashed)

        try:
            return self.checked(frame.pack, read)
        except IntegrityError as error:
            error.frame = frame.pack, frame.offset, frame.length
            raise


def check_entry(entry: Entry, sha256: str) -> None:
    """Compare the SHA-256 of what was read of an entry with the recorded one.

    Raises
    ------
    IntegrityError
        Code `ENTRY_DAMAGED`.
    """
    if sha256 != entry.sha256:
        raise lost("ENTRY_DAMAGED", f"The SHA-256 of {entry.name} is not the one that was recorded.")


def twice[T](read: Callable[[], T]) -> T:
    """Return what `read` returns; once more if it finds damage, to be sure that it is the stored bytes."""
    try:
        return read()
    except IntegrityError:
        return read()
