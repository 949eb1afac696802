"""Extend the locks of backups whose need has grown since they were published (docs/immutability.md).

A tier joined, a pin was set, the retention became longer, or a lock whose end is not known is about to end. The
catalog's record says until when everything that a backup refers to is locked, so that nothing is asked of the store for
the others. An object that is missing, or whose lock is refused, is a problem of every backup that names it, and stops
nothing: all other objects are locked, and nothing is deleted for it. The batch that it is in is tried again by the next
rotations, after everything that no rotation has tried yet: so a large backup reaches its end over several of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol

from coffre.model.backup import Backup
from coffre.model.errors import CoffreError, DeadlineError, IntegrityError, LockLostError, StoreError
from coffre.model.locks import LockProgress
from coffre.model.manifest import Manifest
from coffre.model.retention import Retention
from coffre.model.rotation import Action, Decision, LockReport, Problem
from coffre.model.words import counted
from coffre.operations.stored_backup.open_backup import manifest_of
from coffre.policy.locking import extension_of
from coffre.vault.entry_files import lists_apart
from coffre.vault.locks import VaultLocks, is_shorter
from coffre.vault.vault import Vault

# About ten seconds of requests. Records name batches by their first object: one of another size would miss some.
_BATCH: Final = 1000
# A rolling lock that was begun some days ago ends as many days earlier. It is extended again in time: policy/locking.py
# does so more than this number of days after its beginning.
_ABOUT: Final = timedelta(days=14)


class LockNotes(Protocol):
    """Where the ends of a backup's locks are recorded: the catalog's record of it, or of its copy."""

    def note_locked(self, backup_id: str, until: datetime) -> object:
        """Record that everything the backup refers to is locked at least until then."""
        ...

    def note_locking(self, backup_id: str, progress: LockProgress) -> None:
        """Record how far an extension is."""
        ...


@dataclass(frozen=True)
class LockNeed:
    """A backup whose locks have to be extended until then."""

    backup: Backup
    until: datetime


def needs_of(
    copies: Iterable[Backup], retention: Retention | None, decisions: Iterable[Decision], now: datetime
) -> list[LockNeed]:
    """Return the extensions that the backups of one target need, by what rotation decided about them."""
    by_id = {decision.backup_id: decision for decision in decisions}
    needs = []
    for copy in copies:
        decision = by_id.get(copy.id)
        if decision is not None and (decision.action is Action.DELETE or decision.waits_until is not None):
            continue
        held_back = decision is not None and decision.held_back
        if (until := extension_of(copy, retention, now, held_back=held_back)) is not None:
            needs.append(LockNeed(copy, until))
    return needs


def _continued(need: LockNeed) -> LockNeed:
    """Return a need as an earlier rotation began to fulfil it, if that is still about enough; else from its start."""
    begun = need.backup.lock_progress
    if begun is not None and begun.until >= need.until - _ABOUT:
        return LockNeed(need.backup, begun.until)
    return LockNeed(need.backup.model_copy(update={"lock_progress": None}), need.until)


def as_the_manifest_says(manifest: Manifest) -> Mapping[str, datetime | None]:
    """Return until when packs are locked in the vault: its manifests remember it."""
    return {pack.key: pack.locked_until for pack in manifest.packs}


@dataclass
class LockKeeper:
    """Extends the locks of one rotation.

    Parameters
    ----------
    notes
        Keeps what is locked until when.
    check
        Raises if the rotation must not continue.
    known
        Returns until when the packs of a manifest are known to be locked; what is not in it has no known lock.
    has_time
        Tells whether locks may be extended, or the time is for the sweep.

    Attributes
    ----------
    problems
        Locks that could not be extended.
    """

    notes: LockNotes
    vault: Vault
    locks: VaultLocks
    now: datetime
    check: Callable[[], None]
    has_time: Callable[[], bool]
    known: Callable[[Manifest], Mapping[str, datetime | None]] = as_the_manifest_says
    dry_run: bool = False
    problems: list[Problem] = field(default_factory=list)
    _extended: dict[str, datetime] = field(default_factory=dict)
    _unfinished: int = 0

    def keep(self, needs: Iterable[LockNeed]) -> LockReport:
        """Extend what is needed, the longest first, so that a pack of several backups is extended once."""
        backups = objects = 0
        for need in sorted(needs, key=lambda need: (need.until, need.backup.id), reverse=True):
            if not self.has_time():
                self._unfinished += 1
            elif (done := self._keep(_continued(need))) is not None:
                backups, objects = backups + 1, objects + done
        return LockReport(backups=backups, objects=objects, unfinished=self._unfinished)

    def _keep(self, need: LockNeed) -> int | None:
        backup = need.backup
        if need.until > self.now + timedelta(days=self.locks.max_days):
            text = f"it is needed until {need.until:%Y-%m-%d}, beyond ObjectLockMaxDays ({self.locks.max_days} days)"
            self._note("LOCK_LIMIT", backup, text)
            return None
        try:
            return self._extend(need)
        except (DeadlineError, LockLostError):
            raise
        except IntegrityError:
            return None  # the sweep reports the manifest
        except CoffreError as error:
            self._note("LOCK_NOT_EXTENDED", backup, error.message)
            return None

    def _extend(self, need: LockNeed) -> int:
        """Extend batch by batch, and record how far it is: the time may not suffice for a large backup.

        What earlier rotations were refused comes last, so that it takes no time from what they did not reach.

        Raises
        ------
        StoreError
            The first object that was not locked; the others are.
        """
        backup, begun = need.backup, need.backup.lock_progress or LockProgress(until=need.until)
        manifest = manifest_of(self.vault, backup)
        known = self.known(manifest)
        packs = sorted({pack.key for pack in manifest.packs})
        keys = [backup.manifest_key or "", *(file.key for file in lists_apart(manifest.entries)), *packs]
        done, count, waiting = begun.done, 0, {*begun.refused}
        refused: dict[str, StoreError] = {}
        for first in (*range(done, len(keys), _BATCH), *begun.refused):
            if not self.has_time():
                self._unfinished += 1
                break
            found, tried = self._extend_batch(keys[first : first + _BATCH], known, need.until)
            refused |= found
            count, done = count + tried, max(done, min(first + _BATCH, len(keys)))
            waiting = waiting | {first} if found else waiting - {first}
            if not self.dry_run and (waiting or done < len(keys)):
                progress = LockProgress(until=need.until, done=done, refused=tuple(sorted(waiting)))
                self.notes.note_locking(backup.id, progress)
        if refused:
            raise _refusal(refused)
        if not self.dry_run and not waiting and done >= len(keys):
            self.notes.note_locked(backup.id, need.until)
        return count

    def _extend_batch(
        self, keys: Iterable[str], known: Mapping[str, datetime | None], until: datetime
    ) -> tuple[Mapping[str, StoreError], int]:
        """Extend the locks that are shorter; return why some were not, and how many were tried."""
        wanted = [
            key for key in keys if is_shorter(known.get(key), until) and is_shorter(self._extended.get(key), until)
        ]
        refused = {} if self.dry_run else self.locks.extend_all(wanted, until, self.check)
        self._extended |= {key: until for key in wanted if key not in refused}
        return refused, len(wanted)

    def _note(self, code: str, backup: Backup, why: str) -> None:
        text = f"The locks of backup {backup.id} of {backup.target} were not extended: {why}"
        self.problems.append(Problem(code=code, target=backup.target, text=text))


def _refusal(refused: Mapping[str, StoreError]) -> StoreError:
    """Return the first of these errors, with the number of the others."""
    first, *others = (refused[key] for key in sorted(refused))
    more = f" And {counted(len(others), 'other object')} of it." if others else ""
    return StoreError(f"{first.message}{more}", code=first.code)
