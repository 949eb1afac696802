"""Targets with their objectives, and how each stands."""

from __future__ import annotations

from aws_lambda_powertools.event_handler import Response as Answer

from coffre.model.status import TargetStatus
from coffre.policy.objectives import words_of
from coffre_console.pages.show import known_fields, show
from coffre_console.reading.overview import read_status
from coffre_console.routing import Routes


def register(routes: Routes) -> None:
    """Register the route."""

    @routes.add("GET", "/targets")
    def targets() -> Answer[str]:
        visit = routes.visit
        known_fields(visit.request.query, ())
        found = read_status(visit.source, visit.may()).targets
        return show(visit, "targets", command="coffre status", targets=found, measured=_measured)


def _measured(target: TargetStatus) -> list[str]:
    return words_of(target.measured) if target.measured is not None else []
