"""The text of the alert about the console: requests that were refused again and again."""

from __future__ import annotations

from datetime import datetime

from coffre.alerts.alert import EVERY_TARGET, Alert, AlertKind
from coffre.alerts.wording import alert_of, body_of


def console_refused(who: str, why: str, count: int, minutes: int, now: datetime) -> Alert:
    """Report that requests of one origin were refused; once an hour, however many origins there are.

    Parameters
    ----------
    who
        The origin: an address, a key's id, a person's name.
    why
        Why the last one was refused.
    """
    return alert_of(
        AlertKind.CONSOLE_REFUSED,
        EVERY_TARGET,
        f"Console: {count} refused requests of {who}",
        body_of(
            f"The console has refused {count} requests within {minutes} minutes. From: {who}. None did anything.",
            why=why,
            hint="If it is a machine of yours, its key has expired or was rotated: give it the new one. If you do not "
            "know it, revoke the key that is named, and look at the audit.",
            commands=["coffre audit --since 24h", "coffre api-keys list"],
        ),
        fingerprint=f"{now:%Y-%m-%d %H}",
    )
