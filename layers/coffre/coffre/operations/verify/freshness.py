"""Fresh: each target has a recent backup, a verified one, and copies of it. Ends the records of runs that died."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Literal

from coffre.catalog.catalog import Catalog
from coffre.model.any_target import AnyTarget, is_gone
from coffre.model.backup import Backup, Restore, Status
from coffre.model.configuration import Configuration
from coffre.model.copies import Destination
from coffre.model.errors import BackupStateError, IntegrityError, ObjectMissingError
from coffre.model.freshness import Check, Checked, FreshReport, Settled
from coffre.model.kinds import TargetKind
from coffre.operations.runs.dead_runs import is_silent, settle_backup, settle_restores
from coffre.operations.stored_backup.open_backup import manifest_of
from coffre.operations.verify.fresh_copies import CopyCheck
from coffre.policy.configured_since import Changed
from coffre.policy.copy_health import component
from coffre.policy.freshness import check_backup, check_verified, newest_of
from coffre.stores.store import ObjectInfo
from coffre.vault.vault import Vault

# No function lives longer than 15 minutes: a run that was silent for this long cannot publish any more.
SILENT_FOR: Final = timedelta(minutes=20)


@dataclass(frozen=True)
class FreshJob:
    """What the check needs.

    Parameters
    ----------
    open_copy
        Opens a copy of the vault.
    last_changed
        Returns when the times of a target's backups were last changed, if known: a new target has no backup before it
        is due.
    report_died, report_restore_died
        Get the record of a backup, or a restore, that was found dead and marked FAILED.
    """

    catalog: Catalog
    vault: Vault
    configuration: Configuration
    now: datetime
    report_died: Callable[[Backup], None]
    report_restore_died: Callable[[Restore], None]
    open_copy: Callable[[Destination], Vault]
    last_changed: Callable[[AnyTarget], Changed | None] = lambda _: None


def fresh(job: FreshJob, *, only: str | None = None) -> FreshReport:
    """Check every configured target, or one, after the records of dead runs were ended.

    Raises
    ------
    CoffreError
        The catalog or the store did not answer: it is unknown whether backups are fresh. `TARGET_UNKNOWN`.
    """
    targets = job.configuration.targets if only is None else job.configuration.named(only)
    targets = tuple(target for target in targets if not is_gone(target))  # nothing more is expected of it
    settled = (*_settle_backups(job), *_settle_restores(job))
    checks = tuple(check for target in targets for check in _checks(job, target))
    copies = [CopyCheck(job.catalog, copy, job.open_copy, job.now) for copy in job.configuration.copies]
    checks += tuple(check for target in targets for check in _checks_of_copies(job, target, copies))
    code: Literal[200, 500] = 200 if all(check.is_ok for check in checks) else 500
    kinds = {target.name: target.kind for target in targets}
    in_vault = [check for check in checks if check.check is not Checked.OFFSITE]
    return FreshReport(
        status=code,
        statusCode=code,
        database=component([check for check in in_vault if kinds[check.target] is TargetKind.DATABASE]),
        storage=component([check for check in in_vault if kinds[check.target] is not TargetKind.DATABASE]),
        offsite=component([check for check in checks if check.check is Checked.OFFSITE]),
        checked_at=job.now,
        checks=checks,
        settled=settled,
    )


def _checks_of_copies(job: FreshJob, target: AnyTarget, copies: Iterable[CopyCheck]) -> Iterator[Check]:
    wanted = job.configuration.copies_of(target.name)
    if wanted:
        backups = list(job.catalog.backups(target=target.name))
        for copy in copies:
            if copy.destination in wanted:
                yield copy.check(target.name, backups)


def _checks(job: FreshJob, target: AnyTarget) -> Iterator[Check]:
    backups = _newest_backups(job, target.name)
    yield check_backup(target, backups, job.now, partial(job.last_changed, target))
    yield check_verified(target, backups, job.now)
    yield _check_copy(job, target.name, newest_of(backups, job.now))


def _newest_backups(job: FreshJob, target: str) -> list[Backup]:
    """Return the COMPLETED backups of a target, newest first, down to the newest good one that is verified."""
    found = []
    for backup in job.catalog.completed_backups(target):
        found.append(backup)
        is_good = backup.is_healthy and not backup.is_safety
        if is_good and backup.verified_at is not None and backup.created_at <= job.now:
            break
    return found


def _check_copy(job: FreshJob, target: str, newest: Backup | None) -> Check:
    """Check that the vault has the manifest that the catalog recorded."""
    if newest is None or newest.manifest_key is None:
        return Check(check=Checked.COPY, target=target, status="ok", text="No backup exists to look for.")
    try:
        info = job.vault.store.head(newest.manifest_key)
        text = None
    except ObjectMissingError:
        info, text = None, f"The manifest of backup {newest.id} is not in the vault."
    if info is not None and not _is_recorded(job.vault, newest, info):
        text = f"The manifest of backup {newest.id} is not the one that the catalog recorded."
    return Check(check=Checked.COPY, target=target, status="failed" if text else "ok", last_backup=newest.id, text=text)


def _is_recorded(vault: Vault, backup: Backup, manifest: ObjectInfo) -> bool:
    """Compare a manifest's checksum with the catalog's: the store's own or, without one, that of the bytes."""
    if manifest.sha256 is not None:
        return manifest.sha256 == backup.manifest_sha256
    try:
        manifest_of(vault, backup)
    except IntegrityError:
        return False
    return True


def _settle_backups(job: FreshJob) -> Iterator[Settled]:
    for listed in list(job.catalog.backups(status=Status.IN_PROGRESS)):
        # The index may be behind: read the record itself.
        backup = job.catalog.get_backup(listed.id)
        if not is_silent(backup, job.now, SILENT_FOR):
            continue
        # The inventory reports a manifest that cannot be read; a record that has changed is another run's.
        with contextlib.suppress(IntegrityError, BackupStateError):
            failed = settle_backup(job.catalog, job.vault, backup, job.now)
            if failed is not None:
                job.report_died(failed)
            status = failed.status if failed else Status.COMPLETED
            yield Settled(id=backup.id, kind="backup", target=backup.target, status=status.value)


def _settle_restores(job: FreshJob) -> Iterator[Settled]:
    for restore in settle_restores(job.catalog, job.vault, job.now, SILENT_FOR, job.report_restore_died):
        yield Settled(id=restore.id, kind="restore", target=restore.target, status=restore.status.value)
