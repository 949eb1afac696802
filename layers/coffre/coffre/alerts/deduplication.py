"""When a problem is notified: once when it is new, then daily as a reminder, then once when it is over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from coffre.alerts.alert import Alert, AlertKind, State, subject_of
from coffre.alerts.wording import ids_of, moment
from coffre.model.incident import Incident
from coffre.model.words import span

# Not quite a day: a check that runs daily is some minutes early or late, one that runs hourly reminds at the same hour.
REMINDER_AFTER: Final = timedelta(hours=23, minutes=30)
# These cannot be solved within a day.
SLOW_REMINDER_AFTER: Final = timedelta(days=6, hours=23, minutes=30)
# A function that claims an incident notifies within seconds, or has died. Lambda repeats the event of a run that died
# after a minute: the claim must be shorter, or the repetition would stay silent too.
CLAIM_HOLDS: Final = timedelta(seconds=45)

_OVER: Final[Mapping[AlertKind, str]] = {
    AlertKind.SIZE_ANOMALY: "The newest backup is like those before it. Either the missing data is back, or, if "
    "nothing was done, the new size counts as usual by now.",
}


def next_of(found: Incident | None, alert: Alert, now: datetime) -> tuple[State | None, Incident]:
    """Return in which state an alert is to be sent now (None: not at all), and the incident to store.

    Parameters
    ----------
    found
        The stored incident of the same problem; None if there was none before.
    """
    if found is not None and alert.kind.is_event and found.told_at is not None:
        return None, found  # an event is notified once
    if found is None or not found.is_open:
        fresh = Incident(
            target=alert.target,
            kind=alert.kind.value,
            fingerprint=alert.fingerprint,
            subject=alert.subject,
            since=now,
            seen_at=now,
            claimed_at=now,
            version=found.version if found else 1,
        )
        return State.NEW, fresh
    seen = found.model_copy(update={"seen": found.seen + 1, "seen_at": now, "subject": alert.subject})
    state = _due(found, alert.kind, now)
    return state, seen.model_copy(update={"claimed_at": now}) if state else seen


def _due(found: Incident, kind: AlertKind, now: datetime) -> State | None:
    if found.claimed_at is not None and now - found.claimed_at < CLAIM_HOLDS:
        return None  # another function is about to send it
    if found.told_at is None:
        return State.NEW
    if kind.is_notified_once:
        return None
    pause = SLOW_REMINDER_AFTER if kind.changes_slowly else REMINDER_AFTER
    return State.REMINDER if now - found.told_at >= pause else None


def notified(incident: Incident, now: datetime) -> Incident:
    """Return the incident after its alert was sent. An event is over with that."""
    over = now if AlertKind(incident.kind).is_event else None
    return incident.model_copy(update={"told_at": now, "claimed_at": None, "ended_at": over})


def unnotified(incident: Incident) -> Incident:
    """Return the incident after its alert could not be sent: the next function that notices the problem tries again."""
    return incident.model_copy(update={"claimed_at": None})


def ended(incident: Incident, now: datetime) -> Incident:
    """Return the incident after its problem is over."""
    return incident.model_copy(update={"ended_at": now, "claimed_at": None})


def reminder(alert: Alert, incident: Incident) -> Alert:
    """Return an alert as a reminder: the problem is not over."""
    first = f"Reminder: this problem exists since {moment(incident.since)} and was seen {incident.seen} times."
    return replace(
        alert,
        subject=subject_of(f"Still: {alert.subject}"),
        text=f"{first}\n\n{alert.text}",
        state=State.REMINDER,
    )


def recovery(kind: AlertKind, incidents: Sequence[Incident], now: datetime, why: str | None = None) -> Alert:
    """Return the message that the problems of one kind and target are over. `incidents` has at least one.

    `why` says it where they are over for another reason than that they were mended.
    """
    oldest = min(incidents, key=lambda incident: incident.since)
    lines = [
        f"- {incident.subject} (since {moment(incident.since)}, for {span((now - incident.since).total_seconds())})"
        for incident in incidents
    ]
    paragraphs = [
        why or _OVER.get(kind, "It is over. Nothing has to be done."),
        "\n".join(lines),
        ids_of(kind=kind.value),
    ]
    return Alert(
        kind,
        oldest.target,
        subject_of(f"Over: {oldest.subject}"),
        "\n\n".join(paragraphs),
        oldest.fingerprint,
        State.RECOVERED,
    )
