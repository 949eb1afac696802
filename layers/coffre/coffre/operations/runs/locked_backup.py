"""The locks of a backup that is being taken (docs/immutability.md): what is new is locked as it is stored, for days.

Right before the manifest is written, everything that it names is locked as long as the backup's tiers ask for. So what
a failed run leaves can go soon, and no backup is published with weaker locks than it needs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from coffre.model.any_target import AnyTarget
from coffre.model.backup import Backup, Tier
from coffre.model.errors import StoreError
from coffre.model.manifest import EntriesFile, PackReference
from coffre.operations.runs.run import Run
from coffre.policy.locking import first_lock_until, lock_until, refuse_longer_than
from coffre.vault.locks import is_shorter
from coffre.vault.vault import Vault

# Measured: 210 on two busy cores (docs/adr/0023); the time goes into making requests, so that more threads do not help.
_LOCKS_A_SECOND: Final = 150


@dataclass(frozen=True)
class Secured:
    """What a manifest says about tiers and locks: `locked_until` is None in a vault without locks."""

    tiers: tuple[Tier, ...]
    packs: tuple[PackReference, ...]
    locked_until: datetime | None = None


def locking_vault(vault: Vault, target: AnyTarget, backup: Backup, now: datetime) -> Vault:
    """Return the vault that locks what a run stores, after checking that it can.

    Raises
    ------
    StoreError
        `LOCKS_OFF`, `LOCKS_UNSUPPORTED`, `LOCK_LIMIT`: nothing was stored.
    ConfigurationError
        `LOCK_LIMIT`: the target's retention is longer than the stack's locks may be.
    """
    if vault.locks is None:
        return vault
    vault.locks.store.require_locking()
    refuse_longer_than(vault.locks.max_days, target.retention, target.name)
    if lock_until(backup, target.retention, now) > now + timedelta(days=vault.locks.max_days):
        raise StoreError(
            f"The backup is to be kept until {backup.expires_at:%Y-%m-%d} (keep), and the stack allows locks of "
            f"{vault.locks.max_days} days.",
            code="LOCK_LIMIT",
            hint="Nothing was stored. Give a shorter --keep, or none: such a backup stays until it is deleted. Or "
            "deploy with a larger ObjectLockMaxDays.",
        )
    return vault.locking_new_until(first_lock_until(backup, target.retention, now))


def seconds_to_secure(
    vault: Vault, target: AnyTarget, backup: Backup, packs: Iterable[PackReference], now: datetime
) -> float:
    """Return how long `secure` is going to take for these packs, by a slow machine's measure."""
    if vault.locks is None:
        return 0.0
    end = lock_until(backup, target.retention, now)
    return sum(is_shorter(pack.locked_until, end) for pack in packs) / _LOCKS_A_SECOND


def secure(
    vault: Vault,
    target: AnyTarget,
    run: Run,
    entries: Iterable[EntriesFile],
    packs: tuple[PackReference, ...],
    now: datetime,
) -> Secured:
    """Check that the run may publish, and lock everything that its manifest names as long as its tiers ask for.

    Parameters
    ----------
    entries
        The lists of entries that are not among the packs.

    Raises
    ------
    CoffreError
        The run may not publish any more, or a lock was refused: the manifest must not be written.
    """
    tiers = run.ready_to_commit()
    if vault.locks is None:
        return Secured(tiers, packs)
    end = lock_until(run.backup.model_copy(update={"tiers": tiers}), target.retention, now)
    end = max(end, vault.new_locked_until or end)
    vault.locks.extend((file.key for file in entries), end, run.watch.check)
    locked = vault.locks.extended(packs, end, run.watch.check)
    if run.ready_to_commit() != tiers:  # one joined while locks were extended: that may take minutes
        return secure(vault, target, run, entries, locked, now)
    return Secured(tiers, locked, end)
