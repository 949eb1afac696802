"""Alerts, the audit, the report of a period, and the configuration in effect."""

from __future__ import annotations

import json
from typing import Final

from coffre.model.report import Period
from coffre_console.access.permissions import Permission
from coffre_console.api.records import test_alerts
from coffre_console.pages.asked import id_of, one_of, sent_of, time_of
from coffre_console.pages.show import Html, command, show
from coffre_console.problems import NOT_FOUND
from coffre_console.reading.journals import read_journal
from coffre_console.reading.records import list_alerts, list_audit
from coffre_console.reading.reports import kept_report, kept_reports, report_now
from coffre_console.routing import Visit

_AUDIT: Final = ("target", "actor", "action", "since", "before")


def alerts(visit: Visit) -> Html:
    """Show open alerts; after a form, what became of a test of all chats and webhooks."""
    tried = test_alerts(visit) if visit.request.method == "POST" else None
    found, may_test = list_alerts(visit.source, None, visit.may()), visit.caller.may(Permission.ALERTS, None)
    line = command("alerts", "test" if tried else "list")
    values = {"alerts": found.alerts, "unread": found.unread}
    return show(visit, "alerts", command=line, may_test=may_test, tried=tried, **values)


def audit(visit: Visit) -> Html:
    sent = sent_of(visit, *_AUDIT)
    page = list_audit(
        visit.source,
        target=sent["target"] or None,
        since=time_of("since", sent["since"]),
        until=time_of("before", sent["before"]),
        actor=sent["actor"],
        action=sent["action"],
    )
    older = page.events[-1].at.isoformat() if page.has_more else ""
    line = command("audit", **{name: sent[name] for name in _AUDIT[:4]})
    return show(visit, "audit", command=line, sent=sent, page=page, older=older)


def journal(visit: Visit) -> Html:
    name = sent_of(visit, "target")["target"]
    visit.target(name, Permission.READ)
    found = read_journal(visit.source, name)
    return show(visit, "journal", command=command("journal", "list", name), target_name=name, found=found)


def report(visit: Visit) -> Html:
    """Show the report of a period as of now, or one that was kept: no command shows that one.

    Both are about all targets together.
    """
    visit.demand(Permission.READ, None)
    sent = sent_of(visit, "period", "kept")
    period = one_of(Period, "period", sent["period"]) or Period.WEEKLY
    kept_id = id_of("kept", sent["kept"])
    found = kept_report(visit.source, kept_id) if kept_id else report_now(visit.source, period)
    if found is None:
        raise NOT_FOUND
    return show(
        visit,
        "report",
        command="" if kept_id else f"coffre report {found.period.value}",
        report=found,
        kept=kept_reports(visit.source),
        kept_id=kept_id,
        all_periods=list(Period),
    )


def settings(visit: Visit) -> Html:
    visit.demand(Permission.READ, None)
    document = visit.source.configuration().model_dump(mode="json", exclude_defaults=True)
    text = json.dumps(document, indent=2, ensure_ascii=False)
    return show(visit, "settings", command="coffre config show", document=text)


PAGES: Final = {
    "GET /alerts": alerts,
    "GET /alerts/test": alerts,
    "POST /alerts/test": alerts,
    "GET /audit": audit,
    "GET /journal": journal,
    "GET /report": report,
    "GET /settings": settings,
}
