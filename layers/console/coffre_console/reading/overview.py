"""Are all targets safe, and what of each: the answer of `coffre status`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from coffre.model.any_target import is_gone
from coffre.model.backup import Backup
from coffre.model.kinds import Status
from coffre.model.status import StatusReport
from coffre.model.status_facts import Facts
from coffre.operations.status.gather import StatusJob, gather
from coffre.policy.safety import EVERY_TARGET
from coffre.policy.status_report import report_of
from coffre_console.reading.source import May, Source, everyone

_WHY: Final = "who has a role for all targets sees why."


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
        # To ask for a database that its server has no more is to name it: for all targets it is left out, too.
        only = tuple(target.name for target in configuration.targets if may(target.name) and not is_gone(target))
        if not only:  # of a job that means all
            return Overview(report_of(Facts(now=source.now, targets=())), {})
    facts = limited_to(
        gather(
            StatusJob(source.catalog, configuration, source.schedule, source.rules, source.now, source.prices, only)
        ),
        may,
    )
    runs = {one.name: tuple(run for run in one.recent if run.status is not Status.DELETED) for one in facts.targets}
    return Overview(report_of(facts), runs)


def limited_to(facts: Facts, may: May) -> Facts:
    """Return facts without what is about targets that may not be seen, before anything is decided or said.

    An alert about the whole stack, or about a copy with targets that may be seen, still counts: its own words, which
    may name any target, are replaced by its kind.
    """
    if may is everyone:
        return facts
    copies = tuple(one for one in facts.copies if one.targets)
    shared = {EVERY_TARGET, *(f"copy:{one.destination.name}" for one in copies)}
    alerts = (
        alert if may(alert.target) else alert.model_copy(update={"subject": f"{alert.kind}, of more than one target"})
        for alert in facts.alerts
        if may(alert.target) or alert.target in shared
    )
    unread = (one.model_copy(update={"why": _WHY}) for one in facts.unread)
    # What is about all targets together, in money and in bytes, is not of those alone that may be seen.
    return replace(facts, alerts=tuple(alerts), copies=copies, unread=tuple(unread), vault=None, cost=None)
