"""One backup into another vault: packs, lists of entries, marks, and last the manifest, which commits the copy there.

Nothing is decrypted. What is sent was checked against the SHA-256 in the manifest, and the destination checks it again.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Final

from coffre.model.backup import Backup
from coffre.model.errors import CopyError, IntegrityError, ObjectMissingError, StoreError
from coffre.model.manifest import Manifest, PackReference
from coffre.operations.copy.missing import missing_packs
from coffre.operations.runs.parallel_map import ordered_map
from coffre.operations.stored_backup.copied_records import copy_records_of
from coffre.operations.stored_backup.open_backup import refuse_other_backups
from coffre.stores.store import Store, put_new
from coffre.stores.transfer import Transfer
from coffre.vault.entry_files import lists_apart
from coffre.vault.locks import is_shorter
from coffre.vault.pack_list import PackList
from coffre.vault.vault import Vault

# Between providers each connection has a limit of its own, and the memory of one is small.
_WIDTH: Final = 32
# What is under way when the time is over still has to arrive. It is not memory: `Transfer` bounds that.
_UNDER_WAY_BYTES: Final = 512 * 1024 * 1024
# What a sweep at the destination removes while a backup is copied is sent again; a second time is no coincidence.
_ROUNDS: Final = 3


@dataclass(frozen=True)
class Sent:
    """What a copy had to send. `is_whole` is False when its time was over before the manifest was written."""

    packs: int = 0
    bytes: int = 0
    is_whole: bool = True


@dataclass(frozen=True)
class CopyJob:
    """One backup, from where and to where.

    Parameters
    ----------
    source, destination
        The vaults. The destination's locks, where it has some, are set by its own `locking_new_until`.
    backup
        The catalog's record: its manifest has to be the one that was recorded.
    name
        The destination's name, for messages.
    check
        Called before each pack and before the manifest; what it raises stops the copy.
    is_time_over
        Whether to stop between two packs; the next run continues there.
    locked_until
        Returns until when a pack is known to be locked there; None: it is not known.
    on_progress
        Gets what was sent until now, and how many packs and bytes have to be sent in all.
    """

    source: Vault
    destination: Vault
    backup: Backup
    name: str
    check: Callable[[], None] = lambda: None
    is_time_over: Callable[[], bool] = lambda: False
    locked_until: Callable[[str], datetime | None] = lambda _: None
    on_progress: Callable[[Sent, int, int], None] = lambda _sent, _packs, _bytes: None


def copy_backup(job: CopyJob) -> Sent:
    """Copy a backup, or what is missing of it. Running it again is right at any time, and after any error.

    Until its manifest is written, the destination has no such backup. A copier that runs at the same time does no harm:
    all keys are written once.

    Raises
    ------
    IntegrityError
        The vault's own bytes are not those that were recorded: nothing of them is copied.
    CopyError
        `COPY_SOURCE_GONE`: the backup was deleted meanwhile. `COPY_DIFFERS`: the destination has another object under
        one of its keys. `COPY_UNSTABLE`: packs vanish at the destination again and again.
    StoreError, StoreTransientError
        A store refuses, or does not answer; the message says which.
    """
    key = job.backup.manifest_key or ""
    try:
        body = job.source.manifest_bytes(key, sha256=job.backup.manifest_sha256 or "")
    except IntegrityError as error:
        raise _gone(job, error) if error.code == "MANIFEST_MISSING" else error from error
    packs = PackList.of(body, key)
    refuse_other_backups(packs.manifest, key, job.backup.target, job.backup.id)
    sent = Sent()
    for _ in range(_ROUNDS):
        missing = missing_packs(job.destination.store, packs)
        is_committed = _has_manifest(job, key)
        if not missing and is_committed:
            copy_records_of(job.source, job.destination, job.backup.target, job.backup.id)
            return sent
        sent = _send_packs(job, packs, missing, sent)
        if not sent.is_whole:
            return sent
        _copy_entries(job, packs.manifest)
        _lock_what_was_there(job, packs, missing)
        copy_records_of(job.source, job.destination, job.backup.target, job.backup.id)
        job.check()
        # From here on a sweep at the destination keeps the packs. What one removed before is found by the next round.
        _put_once(job, job.destination.store_of_new, key, body)
    raise CopyError(
        f"Packs of {job.backup.id} vanish from the copy {job.name} as fast as they are sent.",
        code="COPY_UNSTABLE",
        hint="Look for what deletes there: a lifecycle rule, or a second rotation. Then copy it again.",
    )


def _send_packs(job: CopyJob, packs: PackList, places: array[int], before: Sent) -> Sent:
    """Send the packs at these places, several in parallel, and return what was sent in all."""
    sent, all_packs = before, before.packs + len(places)
    all_bytes = before.bytes + sum(packs.at(place).length for place in places)
    stopped = False

    def until_time_is_over() -> Iterator[PackReference]:
        nonlocal stopped
        for place in places:
            job.check()
            if job.is_time_over():
                stopped = True
                return
            yield packs.at(place)

    with closing(Transfer(job.source.store, job.destination.store_of_new, objects=len(places))) as transfer:
        done = ordered_map(
            lambda pack: _send_pack(job, transfer, pack),
            until_time_is_over(),
            cost_of=attrgetter("length"),
            width=_WIDTH,
            memory_bytes=_UNDER_WAY_BYTES,
        )
        for length in done:
            sent = Sent(sent.packs + 1, sent.bytes + length)
            job.on_progress(sent, all_packs, all_bytes)
    return Sent(sent.packs, sent.bytes, is_whole=not stopped)


def _send_pack(job: CopyJob, transfer: Transfer, pack: PackReference) -> int:
    try:
        is_right = transfer.move(pack.key, size=pack.length, sha256=pack.sha256)
    except ObjectMissingError as error:
        raise _gone(job, error) from error
    except StoreError as error:
        raise _differs(job, pack.key) if error.code == "OBJECT_EXISTS" else error from error
    if not is_right:
        raise IntegrityError(
            f"The pack {pack.key} in the vault is not the one that was written.",
            code="PACK_DAMAGED",
            hint=f"The backup {job.backup.id} was not copied. What else is damaged: coffre verify --level read",
        )
    return pack.length


def _copy_entries(job: CopyJob, manifest: Manifest) -> None:
    for file in lists_apart(manifest.entries):  # the others were sent among the packs
        try:
            body = job.source.store.get(file.key)
        except ObjectMissingError as error:
            raise _gone(job, error) from error
        if hashlib.sha256(body).hexdigest() != file.sha256:
            raise IntegrityError(
                f"The list of entries {file.key} in the vault is not the one that was written.",
                code="ENTRIES_SWAPPED",
                hint=f"The backup {job.backup.id} was not copied. What else is damaged: coffre verify --level read",
            )
        _put_once(job, job.destination.store_of_new, file.key, body)


def _lock_what_was_there(job: CopyJob, packs: PackList, places: array[int]) -> None:
    """Lengthen the locks of packs that earlier copies have sent: this backup may need them for longer."""
    locks, end = job.destination.locks, job.destination.new_locked_until
    if locks is not None and end is not None:
        sent = set(places)
        shared = (pack.key for place, pack in packs if place not in sent)
        locks.extend((key for key in shared if is_shorter(job.locked_until(key), end)), end, job.check)


def _has_manifest(job: CopyJob, key: str) -> bool:
    """Return whether the destination has the manifest; its store knows the SHA-256 of it, or it is read."""
    store = job.destination.store
    try:
        found = store.head(key).sha256 or hashlib.sha256(store.get(key)).hexdigest()
    except ObjectMissingError:
        return False
    if found != job.backup.manifest_sha256:
        raise _differs(job, key)
    return True


def _put_once(job: CopyJob, store: Store, key: str, body: bytes) -> None:
    """Write an object that is written once; one that exists with these bytes is fine."""
    try:
        put_new(store, key, body)
    except StoreError as error:
        raise _differs(job, key) if error.code == "OBJECT_EXISTS" else error from error


def _differs(job: CopyJob, key: str) -> CopyError:
    return CopyError(
        f"The copy {job.name} has another object under the key {key} than the vault.",
        code="COPY_DIFFERS",
        hint=f"Nothing was replaced. See what is wrong there: coffre verify --at {job.name} --level inventory",
    )


def _gone(job: CopyJob, error: Exception) -> CopyError:
    return CopyError(
        f"The backup {job.backup.id} of {job.backup.target} is not in the vault any more.",
        code="COPY_SOURCE_GONE",
        detail=str(error)[:300],
        hint="If it expired or was deleted meanwhile, all is well. Otherwise: coffre verify --level inventory",
    )
