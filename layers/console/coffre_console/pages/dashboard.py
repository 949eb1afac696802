"""Am I safe? One sentence, then the proof of each target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aws_lambda_powertools.event_handler import Response as Answer

from coffre.model.backup import Backup
from coffre.model.kinds import Status
from coffre_console.access.permissions import Permission
from coffre_console.pages.show import show
from coffre_console.reading.backups import LARGEST_PAGE, Filter, list_backups
from coffre_console.reading.overview import read_status
from coffre_console.routing import Routes, Visit

STRIP: Final = 10
"""How many of a target's last runs its card shows."""


def register(routes: Routes) -> None:
    """Register the route."""

    @routes.add("GET", "/")
    def dashboard() -> Answer[str]:
        visit = routes.visit
        status = read_status(visit.source, visit.may())
        runs = _last_runs(visit)
        ended = [one for those in runs.values() for one in those if one.status in (Status.COMPLETED, Status.FAILED)]
        return show(
            visit,
            "dashboard",
            command="coffre status",
            status_report=status,
            runs={name: those[:STRIP][::-1] for name, those in runs.items()},
            failed=[one for one in ended if one.status is Status.FAILED],
            ended=len(ended),
            may_back_up=lambda target: visit.caller.may(Permission.BACKUP, target),
        )


def _last_runs(visit: Visit) -> Mapping[str, list[Backup]]:
    """Return the newest runs by target, the newest first: one call of the catalog for all of them."""
    found: dict[str, list[Backup]] = {}
    for one in list_backups(visit.source, Filter(), size=LARGEST_PAGE, may=visit.may()).backups:
        if one.status is not Status.DELETED:
            found.setdefault(one.target, []).append(one)
    return found
