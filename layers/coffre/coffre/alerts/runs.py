"""The texts of alerts about backups, restores and rotations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

from coffre.alerts.alert import EVERY_TARGET, Alert, AlertKind, digest_of
from coffre.alerts.wording import alert_of, backup_command, because, body_of, bullets, ids_of, moment
from coffre.model.backup import Backup, Failure, Restore
from coffre.model.kinds import TargetKind
from coffre.model.words import span

if TYPE_CHECKING:
    from coffre.model.rotation import Problem

_CALLED_WRONGLY: Final = frozenset({"EVENT_INVALID", "TARGET_UNKNOWN"})
SAFE_UNKNOWN: Final = "Last good backup: unknown, because the catalog does not answer. Look with: coffre list"


def backup_failed(
    target: str,
    failure: Failure,
    *,
    backup_id: str,
    request_id: str,
    safe: str,
    kind: TargetKind = TargetKind.DATABASE,
) -> Alert:
    """Report a failed backup. `safe` comes from `coffre.operations.monitoring.alerting.what_is_safe`."""
    return alert_of(
        AlertKind.BACKUP_FAILED,
        target,
        f"Backup of {target} FAILED: {failure.code}",
        body_of(
            f'The backup of "{target}" failed. Older backups are untouched.',
            why=because(failure),
            safe=safe,
            hint=failure.hint,
            commands=[backup_command(kind, target)],
        ),
        ids=ids_of(backup=backup_id, request=request_id),
        fingerprint=failure.code,
    )


def backup_overdue(
    target: str, *, due: datetime, now: datetime, safe: str, kind: TargetKind = TargetKind.DATABASE
) -> Alert:
    """Report that a target has no recent completed backup. `due` is when one should have been completed."""
    return alert_of(
        AlertKind.BACKUP_OVERDUE,
        target,
        f"No backup of {target} since it was due {span((now - due).total_seconds())} ago",
        body_of(
            f'"{target}" has no backup as recent as it should be: changes since the last one are in no backup.',
            since=due,
            safe=safe,
            hint="Take one now. If that works, the schedule is broken: check that its rule exists and is enabled.",
            commands=[backup_command(kind, target), f"coffre list {target}"],
        ),
    )


def backup_exceptions(backup: Backup) -> Alert:
    """Report what a completed backup lacks."""
    what = [
        f'The backup of "{backup.target}" is complete, but does not contain the following:',
        *bullets(backup.exceptions),
    ]
    return alert_of(
        AlertKind.BACKUP_EXCEPTIONS,
        backup.target,
        f"Backup of {backup.target} {_incomplete(backup)}",
        body_of(
            "\n".join(what),
            hint="Check whether anything important is missing. What was only busy will be in the next backup.",
            commands=[f"coffre show {backup.id}"],
        ),
        ids=ids_of(backup=backup.id, request=backup.request_id),
        fingerprint=digest_of(*backup.exceptions),
    )


def _incomplete(backup: Backup) -> str:
    if backup.unread:
        return f"is without {backup.unread:,} object{'s' if backup.unread > 1 else ''}"
    return f"has {len(backup.exceptions)} exceptions"


def restore_started(restore: Restore) -> Alert:
    """Report that a restore began, for operators who did not expect it."""
    return alert_of(
        AlertKind.RESTORE_STARTED,
        restore.target,
        f"Restore of {restore.target} started",
        body_of(
            f'Backup {restore.backup_id} of "{restore.target}" is being restored into {restore.destination}.',
            since=restore.created_at,
            hint="Nothing, if you know who started it. Otherwise find out who invoked the function restore.",
            commands=[f"coffre show {restore.backup_id}"],
        ),
        ids=ids_of(restore=restore.id, request=restore.request_id),
        fingerprint=restore.id,
    )


def restore_completed(restore: Restore) -> Alert:
    """Report that a restore is complete, and what it could not restore."""
    tables, rows = restore.tables or 0, restore.rows or 0
    is_complete = not restore.exceptions
    took = f" in {span(restore.duration_ms / 1000)}" if restore.duration_ms else ""
    amount = f"{tables:,} tables with {rows:,} rows" if restore.objects is None else f"{restore.objects:,} objects"
    what = [
        f'Backup {restore.backup_id} of "{restore.target}" was restored into {restore.destination}: {amount}{took}.',
        *([] if is_complete else ["Not restored:"]),
        *bullets(restore.exceptions),
    ]
    hint = "Check the data before it is used. The restore's report has the SQL for what can be created later."
    return alert_of(
        AlertKind.RESTORE_COMPLETED if is_complete else AlertKind.RESTORE_INCOMPLETE,
        restore.target,
        f"Restore of {restore.target} completed{'' if is_complete else ' with exceptions'}",
        body_of(
            "\n".join(what),
            hint=None if is_complete else hint,
            commands=[] if is_complete else [f"coffre show {restore.id}"],
        ),
        ids=ids_of(restore=restore.id, request=restore.request_id),
        fingerprint=restore.id,
    )


def restore_failed(
    target: str | None,
    failure: Failure,
    *,
    backup_id: str,
    restore_id: str,
    request_id: str | None,
    destination: str | None = None,
) -> Alert:
    """Report a failed restore; the backup itself is untouched. `target` is None while it is not known."""
    where = f" into {destination}" if destination else ""
    what = f'The restore of "{target}"' if target else f"The restore of backup {backup_id}"
    how = "failed" if failure.is_certain else "ended, and it is not known whether it took effect"
    return alert_of(
        AlertKind.RESTORE_FAILED,
        target or EVERY_TARGET,
        f"Restore of {target or backup_id} {'FAILED' if failure.is_certain else 'UNKNOWN'}: {failure.code}",
        body_of(
            f"{what}{where} {how}. The backup itself is untouched.",
            why=because(failure),
            hint=failure.hint,
            commands=[f"coffre show {backup_id}"] if backup_id != "latest" else ["coffre list"],
        ),
        ids=ids_of(backup=backup_id, restore=restore_id, request=request_id),
        fingerprint=restore_id,
    )


def rotation_failed(target: str | None, failure: Failure, *, request_id: str) -> Alert:
    """Report a rotation that stopped: old backups stay longer than configured, and nothing is lost."""
    return alert_of(
        AlertKind.ROTATION_FAILED,
        target or EVERY_TARGET,
        f"Rotation FAILED: {failure.code}",
        body_of(
            "A rotation stopped. No backup is lost; old ones stay until a rotation succeeds.",
            why=because(failure),
            hint=failure.hint,
            commands=["coffre rotate --dry-run"],
        ),
        ids=ids_of(request=request_id),
        fingerprint=failure.code,
    )


def vault_inconsistent(
    problems: Sequence[Problem], *, request_id: str, kinds: Mapping[str, TargetKind] | None = None
) -> Alert:
    """Report that vault and catalog do not agree: some backups may not be restorable.

    `kinds` are those of the configured targets.
    """
    targets = sorted({problem.target for problem in problems if problem.target})
    known = [(name, (kinds or {}).get(name, TargetKind.DATABASE)) for name in targets]
    what = [
        "A rotation found that the vault and the catalog do not agree. It deleted nothing that may be needed.",
        *bullets([f"{problem.text} [{problem.code}]" for problem in problems]),
    ]
    return alert_of(
        AlertKind.VAULT_INCONSISTENT,
        targets[0] if len(targets) == 1 else EVERY_TARGET,
        f"The vault does not agree with the catalog: {', '.join(targets) or 'see below'}",
        body_of(
            "\n".join(what),
            hint="Take a new full backup now, then find out who changed the vault. Deleted or overwritten objects stay "
            "in the bucket as older versions for 30 days.",
            commands=[f"{backup_command(kind, name)} --full" for name, kind in known] or ["coffre rotate --dry-run"],
        ),
        ids=ids_of(request=request_id),
        fingerprint=digest_of(*(f"{problem.code} {problem.target} {problem.text}" for problem in problems)),
    )


def configuration_invalid(failure: Failure, *, function: str, request_id: str) -> Alert:
    """Report that a function could not start its work."""
    subject = f"Coffre cannot run: {failure.code}"
    what = f"The function {function} could not start its work, and does nothing until this is corrected."
    if failure.code in _CALLED_WRONGLY:
        subject = f"Coffre was called with a wrong event: {failure.code}"
        what = (
            f"The function {function} was called with an invalid event, and did nothing. If a person called it, only "
            "that call failed; if one of its rules did, scheduled runs fail until this is corrected."
        )
    return alert_of(
        AlertKind.CONFIG_INVALID,
        EVERY_TARGET,
        subject,
        body_of(
            what,
            why=because(failure),
            hint=failure.hint,
            commands=["coffre alerts list", "coffre verify"],
        ),
        ids=ids_of(request=request_id),
        fingerprint=f"{function}: {failure.code}",
    )


def safe_backups(newest: Backup | None, verified: Backup | None) -> str:
    """Return which backup can be restored: the newest completed one, and the newest verified one."""
    if newest is None:
        return "Last good backup: NONE. This target has no completed backup."
    text = f"Last good backup: {newest.id}, taken {moment(newest.created_at)}"
    if newest.verified_at is not None:
        return f"{text}, verified {moment(newest.verified_at)}."
    if verified is None or verified.verified_at is None:
        return f"{text}. Last verified backup: none yet."
    return f"{text}. Last verified backup: {verified.id}, taken {moment(verified.created_at)}."
