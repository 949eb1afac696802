"""What a report is made of: the records of its period, from the catalog alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup
from coffre.model.configuration import Configuration
from coffre.model.report import Money, Period, ReportFacts
from coffre.model.status import StatusReport
from coffre.model.usage import Usage
from coffre.model.vault_use import VaultUse
from coffre.policy.cost import KINDS, month_cost, month_of
from coffre.policy.objectives import WINDOW
from coffre.policy.prices import Prices


@dataclass(frozen=True)
class ReportJob:
    """What is asked, and where.

    Parameters
    ----------
    status
        The answer of `coffre status`, whose first line is that of the report.
    periods
        Whose checklists the report has.
    prices
        Those of the stack's region; None: the cost is not asked for.
    """

    catalog: Catalog
    configuration: Configuration
    status: StatusReport
    period: Period
    periods: tuple[Period, ...]
    prices: Prices | None = None


def gather_report(job: ReportJob) -> ReportFacts:
    """Read the records of the period: of the longest one whose checklist is in the report.

    Raises
    ------
    CoffreError
        The catalog did not answer, or a record is damaged.
    """
    now, catalog = job.status.at, job.catalog
    longest = timedelta(days=max(period.days for period in (job.period, *job.periods)))
    # Twice the window of objectives: the gap that began before it is seen as well.
    backups = list(catalog.backups(since=now - max(longest, 2 * WINDOW)))
    since = now - timedelta(days=job.period.days)
    usages = list(catalog.usages.between(min(since, month_of(now)[0]), now))
    return ReportFacts(
        period=job.period,
        periods=job.periods,
        since=since,
        status=job.status,
        configuration=job.configuration,
        backups=backups,
        restores=[one for one in catalog.restores() if one.created_at >= now - longest],
        usages=usages,
        events=list(catalog.audit.events(since=since)),
        copies={one.name: list(catalog.copies.of(one.name)) for one in job.configuration.copies},
        cost=_cost(job, usages, backups),
    )


def _cost(job: ReportJob, usages: list[Usage], backups: list[Backup]) -> Money | None:
    now = job.status.at
    of_month = [one for one in usages if one.at >= month_of(now)[0]]
    if job.prices is None or not of_month:
        return None
    vault: VaultUse | None = job.status.vault
    found = month_cost(of_month, backups, vault, job.prices, now, now)
    kinds = {kind: getattr(found.cost, kind) for kind in KINDS if getattr(found.cost, kind)}
    return Money(until_now=found.cost.total, whole_month=found.whole_month, kinds=kinds)
