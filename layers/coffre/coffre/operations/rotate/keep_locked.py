"""Extend the locks of backups whose need has grown since they were published (docs/immutability.md).

A tier joined, a pin was set, the retention became longer, or a lock whose end is not known is about to end. The
catalog's record says until when everything that a backup refers to is locked, so that nothing is asked of the store for
the others. A lock that is refused is a problem to report, and no reason to stop: nothing is deleted for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup
from coffre.model.errors import CoffreError, DeadlineError, IntegrityError, LockLostError
from coffre.model.rotation import Action, Decision, LockReport, Problem
from coffre.model.target import Retention
from coffre.operations.stored_backup.open import manifest_of
from coffre.policy.locking import extension_of
from coffre.vault.locks import VaultLocks, is_shorter
from coffre.vault.vault import Vault


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


@dataclass
class LockKeeper:
    """Extends the locks of one rotation.

    Parameters
    ----------
    check
        Raises if the rotation must not continue.

    Attributes
    ----------
    problems
        Locks that could not be extended.
    """

    catalog: Catalog
    vault: Vault
    locks: VaultLocks
    now: datetime
    check: Callable[[], None]
    dry_run: bool = False
    problems: list[Problem] = field(default_factory=list)
    _extended: dict[str, datetime] = field(default_factory=dict)

    def keep(self, needs: Iterable[LockNeed]) -> LockReport:
        """Extend what is needed, the longest first, so that a pack of several backups is extended once."""
        report = LockReport()
        for need in sorted(needs, key=lambda need: (need.until, need.backup.id), reverse=True):
            objects = self._keep(need)
            if objects is not None:
                report = LockReport(backups=report.backups + 1, objects=report.objects + objects)
        return report

    def _keep(self, need: LockNeed) -> int | None:
        backup = need.backup
        if need.until > self.now + timedelta(days=self.locks.max_days):
            text = f"it is needed until {need.until:%Y-%m-%d}, beyond ObjectLockMaxDays ({self.locks.max_days} days)"
            self._note("LOCK_LIMIT", backup, text)
            return None
        try:
            keys = self._keys(need)
            if not self.dry_run:
                self.locks.extend(keys, need.until, self.check)
                self.catalog.protection.note_locked(backup.id, need.until)
        except (DeadlineError, LockLostError):
            raise
        except IntegrityError:
            return None  # the sweep reports the manifest
        except CoffreError as error:
            self._note("LOCK_NOT_EXTENDED", backup, error.message)
            return None
        self._extended |= dict.fromkeys(keys, need.until)
        return len(keys)

    def _keys(self, need: LockNeed) -> list[str]:
        manifest = manifest_of(self.vault, need.backup)
        known = {pack.key: pack.locked_until for pack in manifest.packs}
        keys = [need.backup.manifest_key or "", *(file.key for file in manifest.entries), *known]
        return [
            key
            for key in keys
            if is_shorter(known.get(key), need.until) and is_shorter(self._extended.get(key), need.until)
        ]

    def _note(self, code: str, backup: Backup, why: str) -> None:
        text = f"The locks of backup {backup.id} of {backup.target} were not extended: {why}"
        self.problems.append(Problem(code=code, target=backup.target, text=text))
