"""The texts of alerts about copies: one that failed, and one that is late."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from coffre.alerts.alert import Alert, AlertKind
from coffre.alerts.wording import alert_of, because, body_of, ids_of, moment
from coffre.model.backup import Backup, Failure
from coffre.model.copies import Destination
from coffre.model.words import span


def copy_failed(destination: str, target: str, failure: Failure, *, request_id: str) -> Alert:
    """Report that a target's backups could not be copied to one destination."""
    return alert_of(
        AlertKind.COPY_FAILED,
        target,
        f"Copy of {target} to {destination} FAILED: {failure.code}",
        body_of(
            f"Backups of {target} could not be copied to {destination}. In the vault they are as good as before.",
            why=because(failure),
            hint=failure.hint,
            commands=[f"coffre copy latest --target {target} --to {destination}"],
        ),
        ids=ids_of(request=request_id),
        fingerprint=f"{destination}: {failure.code}",
    )


def copy_overdue(destination: Destination, target: str, late: Sequence[Backup], now: datetime) -> Alert:
    """Report that the newest backups of a target are not in a destination by now; `late` is not empty."""
    oldest = late[-1]
    since = oldest.completed_at or oldest.created_at
    copier = "Coffre" if destination.copied_by == "coffre" else "your own replication"
    return alert_of(
        AlertKind.COPY_OVERDUE,
        target,
        f"Copy of {target} to {destination.name} is OVERDUE",
        body_of(
            f"{destination.name} lacks {len(late)} of the backups of {target} that should be there: {copier} has not "
            f"copied the one of {moment(since)}, {span((now - since).total_seconds())} ago. Allowed are "
            f"{destination.complete_within_minutes} minutes.",
            hint="Copy it now; the command shows why it fails.",
            commands=[f"coffre copy {late[0].id} --to {destination.name}"],
        ),
        fingerprint=destination.name,
    )
