"""Alerts, the audit, the report of a period, and the configuration in effect."""

from __future__ import annotations

import json
import shlex
from datetime import datetime
from typing import Final

from aws_lambda_powertools.event_handler import Response as Answer

from coffre.model.report import Period
from coffre_console.access.permissions import Permission
from coffre_console.api.answers import ULID_PATTERN
from coffre_console.api.records import test_alerts
from coffre_console.pages.fields import day_of, one_of, refuse_unlike
from coffre_console.pages.show import known_fields, show
from coffre_console.reading.records import list_alerts, list_audit
from coffre_console.reading.reports import kept_report, kept_reports, report_now
from coffre_console.problems import NOT_FOUND
from coffre_console.routing import Routes

_AUDIT: Final = ("target", "actor", "action", "since", "before")


def register(routes: Routes) -> None:
    """Register the routes."""

    @routes.add("GET", "/alerts")
    def alerts() -> Answer[str]:
        visit = routes.visit
        found = list_alerts(visit.source, None, visit.may())
        may_test = visit.caller.may(Permission.ALERTS, None)
        return show(visit, "alerts", command="coffre alerts list", alerts=found, may_test=may_test, tried=None)

    @routes.add("GET", "/alerts/test")
    def ask() -> Answer[str]:
        return alerts()

    @routes.add("POST", "/alerts/test")
    def test() -> Answer[str]:
        visit = routes.visit
        tried = test_alerts(visit)
        found = list_alerts(visit.source, None, visit.may())
        return show(visit, "alerts", command="coffre alerts test", alerts=found, may_test=True, tried=tried)

    @routes.add("GET", "/audit")
    def audit() -> Answer[str]:
        visit = routes.visit
        sent = known_fields(visit.request.query, _AUDIT)
        page = list_audit(
            visit.source,
            target=sent["target"] or None,
            since=day_of("since", sent["since"]),
            until=_moment(sent["before"]),
            actor=sent["actor"],
            action=sent["action"],
        )
        older = page.events[-1].at.isoformat() if page.has_more else ""
        names = [("--target", sent["target"]), ("--actor", sent["actor"]), ("--action", sent["action"])]
        options = [word for name, value in [*names, ("--since", sent["since"])] if value for word in (name, value)]
        return show(
            visit, "audit", command=shlex.join(["coffre", "audit", *options]), sent=sent, page=page, older=older
        )

    @routes.add("GET", "/report")
    def report() -> Answer[str]:
        visit = routes.visit
        visit.demand(Permission.READ, None)
        sent = known_fields(visit.request.query, ("period", "kept"))
        period = one_of(Period, "period", sent["period"]) or Period.WEEKLY
        if sent["kept"]:
            refuse_unlike("kept", sent["kept"], ULID_PATTERN, "the id of a report")
        found = kept_report(visit.source, sent["kept"]) if sent["kept"] else report_now(visit.source, period)
        if found is None:
            raise NOT_FOUND
        return show(
            visit,
            "report",
            command=f"coffre report {found.period.value}",
            report=found,
            kept=kept_reports(visit.source),
            kept_id=sent["kept"],
            all_periods=list(Period),
        )

    @routes.add("GET", "/settings")
    def settings() -> Answer[str]:
        visit = routes.visit
        visit.demand(Permission.READ, None)
        document = visit.source.configuration().model_dump(mode="json", exclude_defaults=True)
        text = json.dumps(document, indent=2, ensure_ascii=False)
        return show(visit, "settings", command="coffre config show", document=text)


def _moment(text: str) -> datetime | None:
    """Read the place in the audit: the time of the last event that was shown."""
    try:
        found = datetime.fromisoformat(text) if text else None
    except ValueError:
        found = None
    return found if found is None or found.tzinfo is not None else None
