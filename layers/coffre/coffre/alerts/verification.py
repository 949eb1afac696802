"""The words of alerts about backups that were looked at: read back, restored in a drill, or not for too long."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from coffre.alerts.alert import EVERY_TARGET, Alert, AlertKind, digest_of
from coffre.alerts.wording import alert_of, backup_command, because, bullets, ids_of, moment
from coffre.model.backup import Backup, Failure
from coffre.model.target import TargetKind
from coffre.model.words import span


def verify_failed(
    backup: Backup, problems: Sequence[str], *, level: str, healthy: Backup | None, request_id: str | None = None
) -> Alert:
    """Say that a backup is damaged.

    Parameters
    ----------
    problems
        What is wrong, a sentence each, the worst first.
    healthy
        The newest backup of the target that is known to be good: the one to go back to.
    """
    first = (
        f'The backup of "{backup.target}" that was taken {moment(backup.created_at)} is damaged: what is stored is not '
        f"what was written (found at level {level}). It may not be restorable whole."
    )
    return alert_of(
        AlertKind.VERIFY_FAILED,
        backup.target,
        f"A backup of {backup.target} is DAMAGED",
        "\n".join([first, *bullets(problems)]),
        safe=_go_back_to(healthy),
        hint="Take a new full backup now: it points at nothing that is stored already. Then find out what changed the "
        "vault. What was deleted or overwritten stays in the bucket as an older version for 30 days.",
        commands=[f"{backup_command(backup.kind, backup.target)} --full", f"coffre show {backup.id}"],
        ids=ids_of(backup=backup.id, request=request_id),
        fingerprint=backup.id,
    )


def verification_stopped(target: str | None, failure: Failure, *, level: str, request_id: str) -> Alert:
    """Say that a verification could not be done: that says nothing about the backups."""
    return alert_of(
        AlertKind.VERIFY_FAILED,
        target or EVERY_TARGET,
        f"A verification could not be done: {failure.code}",
        f"The verification at level {level} stopped. No backup is known to be bad; they are just not being checked.",
        why=because(failure),
        hint=failure.hint,
        commands=[f"coffre verify --level {level}"],
        ids=ids_of(request=request_id),
        fingerprint=f"{level} {failure.code}",
    )


def verification_overdue(target: str, *, since: datetime, now: datetime, safe: str) -> Alert:
    """Say that no backup of a target was proven for too long. `since` is when one should have been."""
    return alert_of(
        AlertKind.VERIFY_OVERDUE,
        target,
        f"No backup of {target} was verified for too long",
        f'The newest verified backup of "{target}" is {span((now - since).total_seconds())} older than it should be. '
        "Backups are being taken; that they can be restored is hoped, not known.",
        since=since,
        safe=safe,
        hint="Verify one now, and look why the scheduled verification does not get through.",
        commands=[f"coffre verify --target {target} --level read"],
    )


# What a drill found, and what to do.
_NOT_AS_BACKED_UP: Final = (
    "what came back is not what was backed up",
    "Take a new full backup and drill that one. The report of this drill says which tables or objects it is about.",
)
_NOT_AS_EXPECTED: Final = (
    "it came back as it was backed up, but your own checks of it failed",
    "Ask the same of the database itself: was it so when the backup was taken, or is the check wrong?",
)


def drill_failed(backup: Backup, problems: Sequence[str], *, code: str, safe: str, request_id: str) -> Alert:
    """Say that a drill showed that a backup does not come back as it was. `code` tells kinds of failures apart."""
    what, hint = _NOT_AS_EXPECTED if code == "CHECK_FAILED" else _NOT_AS_BACKED_UP
    place = "into a scratch server" if backup.kind is TargetKind.DATABASE else "in part beside the vault"
    first = (
        f'The backup of "{backup.target}" that was taken {moment(backup.created_at)} was restored {place}, and {what}:'
    )
    return alert_of(
        AlertKind.DRILL_FAILED,
        backup.target,
        f"Restore drill of {backup.target} FAILED: {code}",
        "\n".join([first, *bullets(problems)]),
        safe=safe,
        hint=hint,
        commands=[
            f"{backup_command(backup.kind, backup.target)} --full",
            f"coffre report {backup.id}",
            f"coffre verify --level drill {backup.id}",
        ],
        ids=ids_of(backup=backup.id, request=request_id),
        fingerprint=code,
    )


def drill_stopped(target: str | None, failure: Failure, *, backup_id: str | None, safe: str, request_id: str) -> Alert:
    """Say that a drill failed with an error before it could compare anything."""
    return alert_of(
        AlertKind.DRILL_FAILED,
        target or EVERY_TARGET,
        f"Restore drill of {target or backup_id or 'a backup'} FAILED: {failure.code}",
        "A restore drill stopped with an error. Until one gets through, it is not proven that this backup comes back.",
        why=because(failure),
        safe=safe,
        hint=failure.hint,
        commands=[f"coffre verify --level drill {backup_id or f'--target {target}'}"],
        ids=ids_of(backup=backup_id, request=request_id),
        fingerprint=failure.code,
    )


def drill_incomplete(backup: Backup, left_out: Sequence[str], *, request_id: str) -> Alert:
    """Report once what a restore of a target leaves out, and again when that changes."""
    said = (
        f'The drill restored the backup of "{backup.target}", and every row came back as it was taken. '
        "A restore leaves out:"
    )
    return alert_of(
        AlertKind.DRILL_INCOMPLETE,
        backup.target,
        f"A restore of {backup.target} leaves something out",
        "\n".join([said, *bullets(left_out)]),
        hint="A restore brings everything else and gives the SQL for this. Correct it at the source if you can. This "
        "is not reported again while it stays the same.",
        commands=[f"coffre report {backup.id}"],
        ids=ids_of(backup=backup.id, request=request_id),
        fingerprint=digest_of(*sorted(left_out)),
    )


def drill_not_possible(target: str, failure: Failure, *, backup_id: str, request_id: str) -> Alert:
    """Say that the drill cannot run where it runs: that says nothing about the backup."""
    return alert_of(
        AlertKind.DRILL_NOT_POSSIBLE,
        target,
        f"No restore drill of {target} is possible here: {failure.code}",
        f'The backup of "{target}" is not known to be bad: the drill has no place where it could run.',
        why=because(failure),
        hint=failure.hint,
        commands=[f"coffre verify --level read {backup_id}"],
        ids=ids_of(backup=backup_id, request=request_id),
        fingerprint=failure.code,
    )


def rto_exceeded(backup: Backup, *, took_seconds: float, limit_seconds: float) -> Alert:
    """Say that a restore takes longer than the target's limit allows, measured by a drill that succeeded."""
    return alert_of(
        AlertKind.RTO_EXCEEDED,
        backup.target,
        f"A restore of {backup.target} takes {span(took_seconds)}, more than {span(limit_seconds)}",
        f'The drill restored the backup of "{backup.target}" and found it good, but it took {span(took_seconds)}; the '
        f"target's limit is {span(limit_seconds)}. In an emergency it would be late.",
        hint="Give the functions more memory (and so more cores), keep less in the database, or raise the limit.",
        commands=[f"coffre report {backup.id}"],
        ids=ids_of(backup=backup.id),
    )


def _go_back_to(healthy: Backup | None) -> str:
    if healthy is None:
        return "Backup to go back to: NONE is known to be good."
    proven = f", verified {moment(healthy.verified_at)}" if healthy.verified_at else ", not verified yet"
    return f"Backup to go back to: {healthy.id}, taken {moment(healthy.created_at)}{proven}."
