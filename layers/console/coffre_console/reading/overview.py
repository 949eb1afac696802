"""Are all targets safe, and what of each: the answer of `coffre status`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from coffre.model.backup import Backup
from coffre.model.kinds import Status
from coffre.model.status import Facts, StatusReport
from coffre.operations.status.gather import StatusJob, gather
from coffre.policy.status_report import report_of
from coffre_console.reading.source import May, Source, everyone


@dataclass(frozen=True)
class Overview:
    """The answer of `coffre status`, and the newest runs of each target that it was decided by.

    `runs` are by the name of the target, newest first, without deleted backups.
    """

    report: StatusReport
    runs: Mapping[str, tuple[Backup, ...]]


def read_status(source: Source, may: May = everyone) -> StatusReport:
    """Return whether all targets that may be seen are safe: their objectives, alerts, schedules, copies, cost.

    Raises
    ------
    CoffreError
        The catalog or the configuration cannot be read: nothing is known.
    """
    return read_overview(source, may).report


def read_overview(source: Source, may: May = everyone) -> Overview:
    """Return what `read_status` does, with the runs; raises what it raises."""
    configuration = source.configuration()
    only: tuple[str, ...] = ()
    if may is not everyone:
        only = tuple(target.name for target in configuration.targets if may(target.name))
        if not only:  # of a job that means all
            return Overview(report_of(Facts(now=source.now, targets=())), {})
    facts = gather(
        StatusJob(source.catalog, configuration, source.events, source.rules, source.now, source.prices, only)
    )
    report = report_of(facts)
    runs = {one.name: tuple(run for run in one.recent if run.status is not Status.DELETED) for one in facts.targets}
    if may is everyone:
        return Overview(report, runs)
    # What is about all targets together, in money and in bytes, is not of those alone that may be seen.
    alerts = tuple(alert for alert in report.alerts if may(alert.target))
    seen = report.model_copy(update={"alerts": alerts, "vault": None, "saved_bytes": None, "cost": None})
    return Overview(seen, runs)
