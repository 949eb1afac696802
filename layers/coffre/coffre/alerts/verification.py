"""The texts of alerts about verifications."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from coffre.alerts.alert import EVERY_TARGET, Alert, AlertKind, digest_of
from coffre.alerts.wording import alert_of, backup_command, because, body_of, bullets, ids_of, moment
from coffre.model.backup import Backup, Failure
from coffre.model.checkup import CheckResult
from coffre.model.kinds import TargetKind
from coffre.model.rotation import Problem
from coffre.model.words import span


def locks_too_short(problems: Sequence[Problem], *, request_id: str) -> Alert:
    """Report that Object Lock does not protect what it should: nothing is lost, and something could be."""
    first = (
        "Object Lock does not protect all that it should. No backup is damaged; a person or program that may delete "
        "could remove parts of one before its time."
    )
    return alert_of(
        AlertKind.LOCK_TOO_SHORT,
        EVERY_TARGET,
        "Backups are not locked as long as they are kept",
        body_of(
            "\n".join([first, *bullets([f"{problem.text} [{problem.code}]" for problem in problems])]),
            hint="The next rotation extends locks that are too short: run it now. If this is reported again, find out "
            "what prevents it.",
            commands=["coffre rotate", "coffre verify --level inventory"],
        ),
        ids=ids_of(request=request_id),
        fingerprint=digest_of(*sorted({f"{problem.code} {problem.target}" for problem in problems})),
    )


def journal_damaged(target: str, problems: Sequence[Problem], *, request_id: str) -> Alert:
    """Report that moments of a target cannot be restored, because its journal in the vault is damaged."""
    first = f"Backups of {target} are not affected. What changed between them is damaged in the vault:"
    return alert_of(
        AlertKind.JOURNAL_DAMAGED,
        target,
        f"Moments of {target} cannot be restored",
        body_of(
            "\n".join([first, *bullets([f"{problem.text} [{problem.code}]" for problem in problems])]),
            hint="Take a backup now: moments after it do not need what is damaged. What a copy has as it was stored "
            "can be put back into the vault.",
            commands=[
                backup_command(TargetKind.DATABASE, target),
                f"coffre mend --journal {target}",
                "coffre verify --level inventory",
            ],
        ),
        ids=ids_of(request=request_id),
        fingerprint=digest_of(*sorted(problem.text for problem in problems)),
    )


def doctor_blocker(target: str, found: Sequence[CheckResult], *, request_id: str) -> Alert:
    """Report what doctor found that prevents backups, or their restore."""
    first = f'Doctor found what prevents backups of "{target}", or their restore:'
    cures = [one.cure for one in found if one.cure]
    return alert_of(
        AlertKind.DOCTOR_BLOCKER,
        target,
        f"{found[0].code}: backups of {target} are at risk",
        body_of(
            "\n".join([first, *bullets([f"{one.sentence} [{one.code}]" for one in found])]),
            hint=cures[0] if cures else "The section of each code says what to do: docs/doctor.md.",
            commands=[f"coffre doctor {target}"],
        ),
        ids=ids_of(request=request_id),
        fingerprint=digest_of(*{one.code for one in found}),
    )


def verify_failed(
    backup: Backup, problems: Sequence[str], *, level: str, healthy: Backup | None, request_id: str | None = None
) -> Alert:
    """Report a damaged backup.

    Parameters
    ----------
    problems
        What is wrong, one sentence each, the worst first.
    healthy
        The newest backup of the target that is known to be good: the one to restore.
    """
    first = (
        f'The backup of "{backup.target}" of {moment(backup.created_at)} is damaged: the stored bytes are not the ones '
        f"that were written (found at level {level}). A restore of it may be incomplete."
    )
    return alert_of(
        AlertKind.VERIFY_FAILED,
        backup.target,
        f"A backup of {backup.target} is DAMAGED",
        body_of(
            "\n".join([first, *bullets(problems)]),
            safe=_go_back_to(healthy),
            hint="Take a new full backup now: it does not reuse anything that is already stored. Then find out what "
            "changed the vault. Deleted or overwritten objects stay in the bucket as older versions for 30 days.",
            commands=[f"{backup_command(backup.kind, backup.target)} --full", f"coffre show {backup.id}"],
        ),
        ids=ids_of(backup=backup.id, request=request_id),
        fingerprint=backup.id,
    )


def verification_stopped(target: str | None, failure: Failure, *, level: str, request_id: str) -> Alert:
    """Report a verification that could not be done. It says nothing about the backups."""
    return alert_of(
        AlertKind.VERIFY_FAILED,
        target or EVERY_TARGET,
        f"A verification could not be done: {failure.code}",
        body_of(
            f"The verification at level {level} stopped with an error. No backup is known to be damaged, but none is "
            "checked.",
            why=because(failure),
            hint=failure.hint,
            commands=[f"coffre verify --level {level}"],
        ),
        ids=ids_of(request=request_id),
        fingerprint=f"{level} {failure.code}",
    )


def verification_overdue(target: str, *, since: datetime, now: datetime, safe: str) -> Alert:
    """Report that no backup of a target was verified for too long. `since` is when one should have been."""
    return alert_of(
        AlertKind.VERIFY_OVERDUE,
        target,
        f"No backup of {target} was verified for too long",
        body_of(
            f'The newest verified backup of "{target}" is {span((now - since).total_seconds())} older than it should '
            "be. Backups are being taken, but it is not proven that they can be restored.",
            since=since,
            safe=safe,
            hint="Verify one now, and find out why the scheduled verification does not succeed.",
            commands=[f"coffre verify --target {target} --level read"],
        ),
    )


def _go_back_to(healthy: Backup | None) -> str:
    if healthy is None:
        return "Backup to restore: NONE is known to be good."
    proven = f", verified {moment(healthy.verified_at)}" if healthy.verified_at else ", not verified yet"
    return f"Backup to restore: {healthy.id}, taken {moment(healthy.created_at)}{proven}."
