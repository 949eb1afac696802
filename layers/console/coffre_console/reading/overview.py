"""Are all targets safe, and what of each: the answer of `coffre status`."""

from __future__ import annotations

from coffre.model.status import Facts, StatusReport
from coffre.operations.status.gather import StatusJob, gather
from coffre.policy.status_report import report_of
from coffre_console.reading.source import May, Source, everyone


def read_status(source: Source, may: May = everyone) -> StatusReport:
    """Return whether all targets that may be seen are safe: their objectives, alerts, schedules, copies, cost.

    Raises
    ------
    CoffreError
        The catalog or the configuration cannot be read: nothing is known.
    """
    configuration = source.configuration()
    only: tuple[str, ...] = ()
    if may is not everyone:
        only = tuple(target.name for target in configuration.targets if may(target.name))
        if not only:  # of a job that means all
            return report_of(Facts(now=source.now, targets=()))
    job = StatusJob(source.catalog, configuration, source.events, source.rules, source.now, source.prices, only)
    report = report_of(gather(job))
    if may is everyone:
        return report
    # What is about all targets together, in money and in bytes, is not of those alone that may be seen.
    alerts = tuple(alert for alert in report.alerts if may(alert.target))
    return report.model_copy(update={"alerts": alerts, "vault": None, "saved_bytes": None, "cost": None})
