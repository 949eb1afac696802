"""Am I safe: one sentence, then the proof; and targets with their objectives."""

from __future__ import annotations

from typing import Final

from coffre.model.kinds import Status
from coffre.model.status import TargetStatus
from coffre.policy.objectives import words_of
from coffre_console.access.permissions import Permission
from coffre_console.pages.asked import sent_of
from coffre_console.pages.show import Html, show
from coffre_console.reading.overview import read_overview, read_status
from coffre_console.routing import Visit

STRIP: Final = 10
"""How many of a target's last runs its card shows."""


def dashboard(visit: Visit) -> Html:
    """Show whether all is safe, with the runs that decided it."""
    found = read_overview(visit.source, visit.may())
    ended = [one for runs in found.runs.values() for one in runs if one.status in (Status.COMPLETED, Status.FAILED)]
    return show(
        visit,
        "dashboard",
        command="coffre status",
        report=found.report,
        runs={name: runs[:STRIP][::-1] for name, runs in found.runs.items()},
        failed=[one for one in ended if one.status is Status.FAILED],
        ended=len(ended),
        may_back_up=lambda target: visit.caller.may(Permission.BACKUP, target),
    )


def targets(visit: Visit) -> Html:
    sent_of(visit)
    found = read_status(visit.source, visit.may())
    return show(visit, "targets", command="coffre status", report=found, measured=_measured)


def _measured(target: TargetStatus) -> list[str]:
    return words_of(target.measured) if target.measured is not None else []


PAGES: Final = {"GET /": dashboard, "GET /targets": targets}
