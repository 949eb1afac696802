"""The texts of alerts about restore drills: what one found, and that it took longer than the target's limit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from coffre.alerts.alert import EVERY_TARGET, Alert, AlertKind, digest_of
from coffre.alerts.wording import alert_of, backup_command, because, body_of, bullets, ids_of, moment
from coffre.model.backup import Backup, Failure
from coffre.model.kinds import TargetKind
from coffre.model.words import span

# What a drill found, and what to do.
_NOT_AS_BACKED_UP: Final = (
    "the restored data differs from what was backed up",
    "Take a new full backup and drill that one. The report of this drill names the tables or objects that differ.",
)
_NOT_AS_EXPECTED: Final = (
    "the data is as it was backed up, but your own checks of it failed",
    "Run the same checks on the database itself: either its data is wrong, or the check is.",
)


_DRILLED: Final = {
    TargetKind.DATABASE: "restored into a scratch server",
    TargetKind.BUCKET: "restored in part into scratch/ in the vault's bucket",
    TargetKind.SETTINGS: "decrypted value by value",
    TargetKind.REPOSITORY: "cloned from its bundles",
}


def drill_failed(backup: Backup, problems: Sequence[str], *, code: str, safe: str, request_id: str) -> Alert:
    """Report that a drill did not restore a backup as it was. `code` distinguishes kinds of failures."""
    what, hint = _NOT_AS_EXPECTED if code == "CHECK_FAILED" else _NOT_AS_BACKED_UP
    first = f'The backup of "{backup.target}" of {moment(backup.created_at)} was {_DRILLED[backup.kind]}, and {what}:'
    return alert_of(
        AlertKind.DRILL_FAILED,
        backup.target,
        f"Restore drill of {backup.target} FAILED: {code}",
        body_of(
            "\n".join([first, *bullets(problems)]),
            safe=safe,
            hint=hint,
            commands=[
                f"{backup_command(backup.kind, backup.target)} --full",
                f"coffre report {backup.id}",
                f"coffre verify --level drill {backup.id}",
            ],
        ),
        ids=ids_of(backup=backup.id, request=request_id),
        fingerprint=code,
    )


def drill_stopped(target: str | None, failure: Failure, *, backup_id: str | None, safe: str, request_id: str) -> Alert:
    """Report a drill that failed with an error before it could compare anything."""
    return alert_of(
        AlertKind.DRILL_FAILED,
        target or EVERY_TARGET,
        f"Restore drill of {target or backup_id or 'a backup'} FAILED: {failure.code}",
        body_of(
            "A restore drill stopped with an error. Until one succeeds, it is not proven that this backup can be "
            "restored.",
            why=because(failure),
            safe=safe,
            hint=failure.hint,
            commands=[f"coffre verify --level drill {backup_id or f'--target {target}'}"],
        ),
        ids=ids_of(backup=backup_id, request=request_id),
        fingerprint=failure.code,
    )


def drill_incomplete(backup: Backup, left_out: Sequence[str], *, request_id: str) -> Alert:
    """Report once what a restore of a target leaves out, and again when that changes."""
    first = (
        f'The drill restored the backup of "{backup.target}", and every row is as it was backed up. '
        "A restore leaves out:"
    )
    return alert_of(
        AlertKind.DRILL_INCOMPLETE,
        backup.target,
        f"A restore of {backup.target} leaves something out",
        body_of(
            "\n".join([first, *bullets(left_out)]),
            hint="A restore restores everything else and gives the SQL for this. Correct it at the source if you can. "
            "This is not reported again while it stays the same.",
            commands=[f"coffre report {backup.id}"],
        ),
        ids=ids_of(backup=backup.id, request=request_id),
        fingerprint=digest_of(*sorted(left_out)),
    )


def drill_not_possible(target: str, failure: Failure, *, backup_id: str, request_id: str) -> Alert:
    """Report that a drill cannot run in this environment. It says nothing about the backup."""
    return alert_of(
        AlertKind.DRILL_NOT_POSSIBLE,
        target,
        f"No restore drill of {target} is possible here: {failure.code}",
        body_of(
            f'The backup of "{target}" is not known to be damaged: the drill could not run here at all.',
            why=because(failure),
            hint=failure.hint,
            commands=[f"coffre verify --level read {backup_id}"],
        ),
        ids=ids_of(backup=backup_id, request=request_id),
        fingerprint=failure.code,
    )


def rto_exceeded(backup: Backup, *, took_seconds: float, limit_seconds: float) -> Alert:
    """Report that a restore takes longer than the target's limit, measured by a drill that succeeded."""
    return alert_of(
        AlertKind.RTO_EXCEEDED,
        backup.target,
        f"A restore of {backup.target} takes {span(took_seconds)}, more than {span(limit_seconds)}",
        body_of(
            f'The drill restored the backup of "{backup.target}" and found it good, but it took {span(took_seconds)}; '
            f"the target's limit is {span(limit_seconds)}. In an emergency, a restore would be too slow.",
            hint="Give the functions more memory (and so more cores), reduce the database, or raise the limit.",
            commands=[f"coffre report {backup.id}"],
        ),
        ids=ids_of(backup=backup.id),
    )
