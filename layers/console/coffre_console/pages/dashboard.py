"""Am I safe? One sentence, then the proof of each target."""

from __future__ import annotations

from typing import Final

from aws_lambda_powertools.event_handler import Response as Answer

from coffre.model.kinds import Status
from coffre_console.access.permissions import Permission
from coffre_console.pages.show import show
from coffre_console.reading.overview import read_overview
from coffre_console.routing import Routes

STRIP: Final = 10
"""How many of a target's last runs its card shows."""


def register(routes: Routes) -> None:
    """Register the route."""

    @routes.add("GET", "/")
    def dashboard() -> Answer[str]:
        visit = routes.visit
        found = read_overview(visit.source, visit.may())
        ended = [one for runs in found.runs.values() for one in runs if one.status in (Status.COMPLETED, Status.FAILED)]
        return show(
            visit,
            "dashboard",
            command="coffre status",
            status_report=found.report,
            runs={name: runs[:STRIP][::-1] for name, runs in found.runs.items()},
            failed=[one for one in ended if one.status is Status.FAILED],
            ended=len(ended),
            may_back_up=lambda target: visit.caller.may(Permission.BACKUP, target),
        )
