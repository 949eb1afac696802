"""What of a journal can be restored: its intervals, each from its first base to its end."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from coffre.catalog.catalog import Catalog
from coffre.model.errors import IntegrityError, ObjectMissingError
from coffre.model.journal import IntervalEnd, JournalInterval, JournalState
from coffre.model.manifest import JournalBase
from coffre.operations.stored_backup.open import manifest_of
from coffre.policy.journal import bases_of
from coffre.vault.journal import intervals, read_end
from coffre.vault.vault import Vault


@dataclass(frozen=True)
class Stretch:
    """An interval. Moments from `since` to `until` can be restored; None: none can, for lack of a base or an end.

    `bases` are the ids of the backups that its changes can be applied to, the newest first.
    """

    interval: JournalInterval
    end: IntervalEnd | None
    bases: tuple[str, ...]
    since: datetime | None
    until: datetime | None


def stretches(catalog: Catalog, vault: Vault, target: str) -> list[Stretch]:
    """Return the intervals of a target, the newest first.

    Raises
    ------
    IntegrityError
        `JOURNAL_DAMAGED`
    """
    found = intervals(vault, target)
    if not found:
        return []
    state, backups = catalog.journals.find(target), _backups(catalog, vault, target, found[0].started_at)
    return [_stretch(vault, interval, state, backups) for interval in reversed(found)]


def _stretch(
    vault: Vault,
    interval: JournalInterval,
    state: JournalState | None,
    backups: list[tuple[str, str, JournalBase | None]],
) -> Stretch:
    end = None
    with suppress(ObjectMissingError):
        end = read_end(vault, interval.target, interval.id)
    bases = bases_of(interval, end, backups)
    is_open = end is None and state is not None and state.interval == interval.id
    until = end.seen_at if end is not None else state.seen_at if is_open and state is not None else None
    since = min((base.at for _, base in bases), default=None)
    if since is None or until is None or until < since:
        since = until = None
    return Stretch(interval, end, tuple(name for name, _ in bases), since, until)


def _backups(catalog: Catalog, vault: Vault, target: str, since: datetime) -> list[tuple[str, str, JournalBase | None]]:
    """Return what the manifests of completed backups say of a journal; damaged ones are no bases."""
    found = list[tuple[str, str, JournalBase | None]]()
    for backup in catalog.completed_backups(target):
        if backup.created_at < since:
            continue
        with suppress(IntegrityError, ObjectMissingError):
            content = manifest_of(vault, backup).database
            if content is not None:
                found.append((backup.id, content.database, content.journal))
    return found
