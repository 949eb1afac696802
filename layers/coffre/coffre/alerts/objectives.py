"""The text of the alert about recovery objectives that were missed."""

from __future__ import annotations

from coffre.alerts.alert import Alert, AlertKind
from coffre.alerts.wording import alert_of, body_of, bullets
from coffre.model.status import Measured
from coffre.policy.objectives import words_of


def objective_missed(target: str, measured: Measured, *, safe: str) -> Alert:
    """Report that a target missed its RPO, its RTO, or both, in the last day."""
    missed = [name for name, is_missed in (("RPO", measured.rpo_missed), ("RTO", measured.rto_missed)) if is_missed]
    lines = bullets([line for line in words_of(measured) if line.endswith("MISSED")])
    return alert_of(
        AlertKind.OBJECTIVE_MISSED,
        target,
        f"{target} misses its {' and its '.join(missed)}",
        body_of(
            "\n".join([f"Measured against the objectives of {target}:", *lines]),
            since=measured.worst.since if measured.rpo_missed and measured.worst else None,
            safe=safe,
            hint="Back it up more often, find out why runs failed, or make the restore faster. Or change the "
            "objective: it is a promise to your users. This alert is sent once, and ends a day after the last miss.",
            commands=["coffre status", f"coffre list {target} --since 7d", "coffre config check"],
        ),
        fingerprint=" ".join(missed),
    )
