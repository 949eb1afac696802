"""The report of the week: made from the catalog, kept in the vault as a page, and sent as a mail."""

from __future__ import annotations

import os
from datetime import datetime
from functools import partial
from typing import Any

from ulid import ULID

from coffre.alerts.report import report_mail
from coffre.model.configuration import Configuration
from coffre.model.report import Period
from coffre.operations.report.gather import ReportJob, gather_report
from coffre.operations.report.page import page_of
from coffre.operations.status.gather import StatusJob, gather
from coffre.operations.status.schedules import read_schedule
from coffre.policy.prices import prices_of
from coffre.policy.report import due_periods, report_of
from coffre.policy.status_report import report_of as status_of
from coffre.runtime.bootstrap import Services
from coffre.vault.reports import keep_report


def send_report(services: Services, configuration: Configuration, now: datetime) -> dict[str, Any]:
    """Keep and send the report of the last 7 days; with the first of a month or year it has their checklists too.

    Schedules are not read: the rules start this function, so that it cannot know their names. A rule that is disabled
    is seen by `coffre status`, and soon by what is overdue.
    """
    prices = prices_of(os.environ.get("AWS_REGION", ""))
    status = status_of(
        gather(StatusJob(services.catalog, configuration, partial(read_schedule, services.bus), {}, now, prices))
    )
    job = ReportJob(services.catalog, configuration, status, Period.WEEKLY, due_periods(now), prices)
    report = report_of(gather_report(job))
    key = keep_report(services.vault.store, str(ULID.from_datetime(now)), report, page_of(report))
    mail = report_mail(report, key, with_contacts=configuration.alerts.contacts)
    # Not `edge.publish`, which continues when no mail could be sent: the mail is the purpose.
    services.edge.alerting.raise_alert(mail)
    return {"level": "report", "status": 200, "headline": report.status.headline, "page": key}
