"""Am I safe: one sentence, then the proof; and targets with their objectives."""

from __future__ import annotations

from typing import Final

from aws_lambda_powertools.event_handler import Response as Answer

from coffre.model.backup import Backup
from coffre.model.kinds import Status
from coffre.model.status import TargetStatus
from coffre.policy.objectives import words_of
from coffre_console.access.permissions import Permission
from coffre_console.pages.asked import sent_of
from coffre_console.pages.show import show
from coffre_console.reading.backups import LARGEST_PAGE, Filter, list_backups
from coffre_console.reading.overview import read_status
from coffre_console.routing import Visit

STRIP: Final = 10
"""How many of a target's last runs its card shows."""


def dashboard(visit: Visit) -> Answer[str]:
    """Show whether all is safe. The last runs are one call of the catalog for all targets."""
    status = read_status(visit.source, visit.may())
    runs: dict[str, list[Backup]] = {}
    for one in list_backups(visit.source, Filter(), size=LARGEST_PAGE, may=visit.may()).backups:
        if one.status is not Status.DELETED:
            runs.setdefault(one.target, []).append(one)
    ended = [one for those in runs.values() for one in those if one.status in (Status.COMPLETED, Status.FAILED)]
    return show(
        visit,
        "dashboard",
        command="coffre status",
        report=status,
        runs={name: those[:STRIP][::-1] for name, those in runs.items()},
        failed=[one for one in ended if one.status is Status.FAILED],
        ended=len(ended),
        may_back_up=lambda target: visit.caller.may(Permission.BACKUP, target),
    )


def targets(visit: Visit) -> Answer[str]:
    sent_of(visit)
    found = read_status(visit.source, visit.may()).targets
    return show(visit, "targets", command="coffre status", targets=found, measured=_measured)


def _measured(target: TargetStatus) -> list[str]:
    return words_of(target.measured) if target.measured is not None else []


PAGES: Final = {"GET /": dashboard, "GET /targets": targets}
