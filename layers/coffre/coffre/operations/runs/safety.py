"""The backup of what a restore overwrites: whether one exists, has to be taken, or cannot be (docs/adr/0021)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from coffre.catalog.catalog import Catalog
from coffre.model.any_target import AnyTarget
from coffre.model.backup import Backup, Tier
from coffre.model.errors import CoffreError, DestinationError
from coffre.model.kinds import TargetKind
from coffre.model.manifest import Manifest
from coffre.model.safety import Safety, SafetyState
from coffre.model.words import counted
from coffre.operations.stored_backup.open_backup import open_manifest
from coffre.vault.vault import Vault

# A plan asks for no further backup when one is as recent as this.
REUSED_WITHIN: Final = timedelta(minutes=10)
# The restore itself is given the time that a backup of a database takes (15 minutes at most), and a person to send it.
ACCEPTED_WITHIN: Final = timedelta(minutes=30)
# Clocks of functions differ by seconds.
_CLOCKS_DIFFER: Final = timedelta(minutes=5)
# Longer than any backup that continues in further invocations takes.
_BEGUN_WITHIN: Final = timedelta(days=3)

type Lacking = Callable[[Manifest], tuple[str, ...]]


@dataclass(frozen=True)
class SafetyRecords:
    """Where backups are looked for. `restored` is the id of the backup that is to be restored."""

    catalog: Catalog
    vault: Vault
    now: datetime
    restored: str

    def newest(self, target: str, within: timedelta, lacking: Lacking) -> tuple[Backup, tuple[str, ...]] | None:
        """Return the newest backup that holds what the target was within this time, and what it lacks.

        One that lacks less is preferred. Nothing that is known to be damaged counts.
        """
        found = []
        for backup in self._recent(target, within):
            try:
                found.append((backup, lacking(open_manifest(self.vault, backup))))
            except CoffreError:
                continue  # what cannot be read holds nothing
        return min(found, key=lambda pair: len(pair[1]), default=None)

    def _recent(self, target: str, within: timedelta) -> list[Backup]:
        """Return them newest first. Read from the table itself: an index may not have one that has just ended.

        Only those of the tier SAFETY: any other may be from before the accident, and its time does not say so. The one
        that is restored is none of them: what differs from it is what the restore overwrites. Nor is one from before an
        earlier restore of the target, which has changed it since.
        """
        ended = (one for one in self.catalog.restores() if one.target == target and one.status.is_final)
        changed = next((one.created_at for one in ended if not (one.dry_run or one.is_export)), None)
        earliest = max(self.now - within, changed or self.now - within)
        latest = self.now + _CLOCKS_DIFFER
        listed = self.catalog.backups(since=self.now - _BEGUN_WITHIN)
        mine = (one for one in listed if one.target == target and one.is_healthy and _may_hold(one, self.restored))
        return sorted((one for one in mine if earliest <= moment(one) <= latest), key=moment, reverse=True)


def _may_hold(backup: Backup, restored: str) -> bool:
    return Tier.SAFETY in backup.tiers and backup.id != restored


def moment(backup: Backup) -> datetime:
    """Return since when a backup counts: its end, because a person waited for it."""
    return backup.completed_at or backup.created_at


def decide(
    records: SafetyRecords,
    target: AnyTarget,
    lacking: Lacking,
    *,
    place: str,
    is_essential: bool,
    is_trial: bool,
) -> Safety:
    """Say whether a recent backup of a target holds its present state.

    Parameters
    ----------
    lacking
        What of the stakes a backup with this manifest does not hold, in words.
    place
        The destination, for messages.
    is_essential
        What a backup lacks makes it useless for this restore.
    is_trial
        A plan asks for a younger backup than the restore itself, which comes later.
    """
    kept = target.retention.safety_days
    found = records.newest(target.name, REUSED_WITHIN if is_trial else ACCEPTED_WITHIN, lacking)
    if found is not None and is_essential and found[1]:
        return impossible(place, f"backups of {target.name} leave out {_listed(found[1])}")
    if found is None:
        until = f", kept for {kept} days" if kept else ""
        text = f'The present state of "{target.name}" in {place} is backed up first (tier SAFETY{until}).'
        return Safety(state=SafetyState.NEEDED, text=text, target=target.name, kept_days=kept)
    backup, lacks = found
    text = f'The state of "{target.name}" at {backup.created_at:%H:%M:%S} UTC is in the SAFETY backup {backup.id}.'
    if lacks:
        text += f" It does not contain: {_listed(lacks)}."
    if backup.unread:
        text += f" It lacks {counted(backup.unread, 'object')} that could not be read."
    return Safety(
        state=SafetyState.PRESENT,
        text=text,
        target=target.name,
        backup_id=backup.id,
        taken_at=backup.created_at,
        kept_days=kept,
        lacks=lacks,
    )


def not_needed(place: str) -> Safety:
    """Return the state of an empty destination."""
    return Safety(state=SafetyState.NOT_NEEDED, text=f"{place} is empty: nothing has to be backed up first.")


def declined(place: str) -> Safety:
    """Return the state of a restore that was asked for without a backup."""
    return Safety(state=SafetyState.DECLINED, text=f"The present state of {place} is NOT backed up first (no safety).")


def impossible(place: str, why: str) -> Safety:
    """Return the state of a destination that Coffre cannot back up."""
    return Safety(state=SafetyState.IMPOSSIBLE, text=f"The present state of {place} cannot be backed up first: {why}.")


def require(safety: Safety, kind: TargetKind) -> None:
    """Refuse to overwrite what no backup holds.

    Raises
    ------
    DestinationError
        `SAFETY_NEEDED`: it says which event takes the backup. `SAFETY_IMPOSSIBLE`: only `no_safety` helps.
    """
    if safety.state is SafetyState.NEEDED:
        event = f'{{"target": "{safety.target}", "tier": "SAFETY"}}'
        raise DestinationError(
            f'No recent SAFETY backup holds the present state of "{safety.target}", which this restore overwrites.',
            code="SAFETY_NEEDED",
            hint=f"Nothing was changed. Send {event} to the function {kind.function}, wait until that backup is "
            'COMPLETED, and send this event again within 30 minutes; or say "no_safety": true. `coffre restore` does '
            "that by itself.",
        )
    if safety.state is SafetyState.IMPOSSIBLE:
        raise DestinationError(
            safety.text,
            code="SAFETY_IMPOSSIBLE",
            hint="Nothing was changed. Restore into another database or bucket (--to), or overwrite it without a "
            'backup: --no-safety ("no_safety": true).',
        )


@contextmanager
def named_on_error(safety: Safety | None) -> Iterator[None]:
    """Say in an error which backup holds what existed before the restore."""
    try:
        yield
    except Exception as error:
        if safety is not None and safety.backup_id is not None:
            error.add_note(f"The state before this restore is in the backup {safety.backup_id}.")
        raise


def _listed(what: tuple[str, ...]) -> str:
    return ", ".join(what[:5]) + (f" and {len(what) - 5:,} more" if len(what) > 5 else "")
