"""Whether people are told of a problem now: once when it is new, then a reminder a day, then once when it is over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from coffre.alerts.alert import Alert, AlertKind, State, subject_of
from coffre.alerts.wording import ids_of, moment, span
from coffre.model.incident import Incident

# Not quite a day: a check that runs daily is some minutes early or late, one that runs hourly reminds at the same hour.
REMINDER_AFTER: Final = timedelta(hours=23, minutes=30)
# Nobody can mend these within a day.
SLOW_REMINDER_AFTER: Final = timedelta(days=6, hours=23, minutes=30)
# Whoever claims an incident tells people within seconds, or has died. Lambda delivers the event of a run that died a
# minute later again: less than that, or its repetition would be silent too.
CLAIM_HOLDS: Final = timedelta(seconds=45)

_OVER: Final[Mapping[AlertKind, str]] = {
    AlertKind.SIZE_ANOMALY: "The newest backup is like those before it. Either what was missing is back, or, if nobody "
    "did anything, what was told has become usual by now.",
}


def next_of(found: Incident | None, alert: Alert, now: datetime) -> tuple[State | None, Incident]:
    """Return as what an alert is to be told now (None: not at all), and what is to be remembered of its problem.

    Parameters
    ----------
    found
        What is remembered of the same problem, or None when it is the first time.
    """
    if found is not None and alert.kind.is_event and found.told_at is not None:
        return None, found  # it happened once, and is not told a second time
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
        return None  # somebody is just about to tell it
    if found.told_at is None:
        return State.NEW
    if kind.is_notified_once:
        return None
    pause = SLOW_REMINDER_AFTER if kind.changes_slowly else REMINDER_AFTER
    return State.REMINDER if now - found.told_at >= pause else None


def notified(incident: Incident, now: datetime) -> Incident:
    """Return what is remembered once people were told. An event is over with that."""
    over = now if AlertKind(incident.kind).is_event else None
    return incident.model_copy(update={"told_at": now, "claimed_at": None, "ended_at": over})


def unnotified(incident: Incident) -> Incident:
    """Return what is remembered when telling people failed: whoever notices the problem next tries again."""
    return incident.model_copy(update={"claimed_at": None})


def ended(incident: Incident, now: datetime) -> Incident:
    """Return what is remembered once the problem is over."""
    return incident.model_copy(update={"ended_at": now, "claimed_at": None})


def reminder(alert: Alert, incident: Incident) -> Alert:
    """Return an alert as it is told again: the problem goes on."""
    first = f"This is a reminder: it has been so since {moment(incident.since)}, and was seen {incident.seen} times."
    return replace(
        alert,
        subject=subject_of(f"Still: {alert.subject}"),
        text=f"{first}\n\n{alert.text}",
        state=State.REMINDER,
    )


def recovery(kind: AlertKind, incidents: Sequence[Incident], now: datetime) -> Alert:
    """Return the message that the problems of one kind and target are over. There has to be at least one."""
    oldest = min(incidents, key=lambda incident: incident.since)
    lines = [
        f"- {incident.subject} (since {moment(incident.since)}, for {span((now - incident.since).total_seconds())})"
        for incident in incidents
    ]
    paragraphs = [_OVER.get(kind, "It is over. Nothing has to be done."), "\n".join(lines), ids_of(kind=kind.value)]
    return Alert(
        kind,
        oldest.target,
        subject_of(f"Over: {oldest.subject}"),
        "\n\n".join(paragraphs),
        oldest.fingerprint,
        State.RECOVERED,
    )
