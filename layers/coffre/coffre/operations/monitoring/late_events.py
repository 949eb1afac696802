"""Events whose messages the topic did not take: no function notices them a second time, as it does problems."""

from __future__ import annotations

from typing import Final

from coffre.alerts.alert import AlertKind
from coffre.alerts.deduplication import CLAIM_HOLDS
from coffre.alerts.wording import alert_of, body_of, moment
from coffre.operations.monitoring.alerting import Alerting

_EVENTS: Final = frozenset(kind.value for kind in AlertKind if kind.is_event)


def send_late(alerting: Alerting) -> None:
    """Send what is known of each event that was noticed and not sent: its subject, and when that was.

    Raises
    ------
    CoffreError
        The catalog or the topic did not answer: the next look tries it again.
    """
    for one in list(alerting.catalog.incidents.open()):
        is_late = one.claimed_at is None or alerting.now() - one.claimed_at >= CLAIM_HOLDS
        if one.kind not in _EVENTS or one.told_at is not None or not is_late:
            continue
        text = body_of(
            f"{one.subject}. This was noticed on {moment(one.since)}, and the message about it could not be sent then.",
            hint="What it said is lost but for this. The log of the function that noticed it has more, at that time.",
            commands=["coffre audit --since 24h"],
        )
        alerting.raise_alert(alert_of(AlertKind(one.kind), one.target, one.subject, text, fingerprint=one.fingerprint))
