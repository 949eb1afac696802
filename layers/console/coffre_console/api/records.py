"""Reports, alerts, and the audit."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from aws_lambda_powertools.event_handler.openapi.params import Query

from coffre.model.audit import AuditEvent
from coffre.model.incident import Incident
from coffre.model.report import Period, PeriodReport
from coffre_console.access.permissions import Permission
from coffre_console.api.answers import Listed, Shown, Since, Size, TargetQuery, Until
from coffre_console.api.routes import ApiRoutes
from coffre_console.problems import ProblemError
from coffre_console.reading.backups import PAGE_SIZE
from coffre_console.reading.records import list_alerts, list_audit
from coffre_console.reading.reports import kept_reports, report_now
from coffre_console.routing import Visit
from coffre_console.starting import LateError

_TAG = "records"
_Text = Annotated[str, Query(max_length=200)]


class Kept(Shown):
    """A report that was kept in the vault."""

    id: str
    at: datetime
    key: str
    size_bytes: int


class Reports(Shown):
    """The report of a period until now, and the pages that were kept."""

    report: PeriodReport
    kept: tuple[Kept, ...]


class AlertList(Listed):
    """Problems that were reported and are not over, the newest first."""

    alerts: tuple[Incident, ...]


class Tried(Shown):
    """The result of a test message for each chat and webhook; `is_late`: some answer later, see the function's log."""

    tried: tuple[dict[str, Any], ...] = ()
    is_late: bool = False


class AuditList(Listed):
    """Audit events, newest first. `has_more`: ask again with `until`, the time of the last one."""

    events: tuple[AuditEvent, ...]
    has_more: bool


def register(routes: ApiRoutes) -> None:
    """Register the routes."""

    @routes.add("GET", "/api/v1/reports", summary="The report of a period until now, and those kept", tag=_TAG)
    def reports(period: Annotated[Period, Query(description="Which period.")] = Period.WEEKLY) -> Reports:
        visit = routes.visit
        visit.demand(Permission.READ, None)  # a report is about all targets together
        kept = tuple(Kept.model_validate(vars(one)) for one in kept_reports(visit.source))
        return Reports(report=report_now(visit.source, period), kept=kept)

    @routes.add("GET", "/api/v1/alerts", summary="Open problems", tag=_TAG)
    def alerts(target: TargetQuery = None) -> AlertList:
        visit = routes.visit
        found = list_alerts(visit.source, target, visit.may())
        return AlertList(alerts=found.alerts, unread=found.unread)

    @routes.add("POST", "/api/v1/alerts/test", summary="Send a test to every chat and webhook", tag=_TAG)
    def test() -> Tried:
        return test_alerts(routes.visit)

    @routes.add("GET", "/api/v1/audit", summary="Who did what, newest first", tag=_TAG)
    def audit(
        target: TargetQuery = None,
        since: Since = None,
        until: Until = None,
        actor: _Text = "",
        action: _Text = "",
        size: Size = PAGE_SIZE,
    ) -> AuditList:
        page = list_audit(
            routes.visit.source, target=target, since=since, until=until, actor=actor, action=action, size=size
        )
        return AuditList(events=page.events, has_more=page.has_more, unread=page.unread)


def test_alerts(visit: Visit) -> Tried:
    """Send a test to every chat and webhook, and record that in the audit."""
    functions = visit.console.functions
    if not functions.has_notify:
        raise ProblemError(
            409,
            "NOTIFY_OFF",
            "This stack notifies only the subscribers of its topic.",
            "Give the template AlertUrlsSecret (docs/alerts.md). Mail is not tested.",
        )
    visit.source.catalog.audit.record(visit.now, visit.actor, "alerts.tested")
    try:
        answer = functions.ask("notify", {"test": True}, visit.actor)
    except LateError:
        return Tried(is_late=True)
    return Tried(tried=tuple(answer.get("tried", ())))
