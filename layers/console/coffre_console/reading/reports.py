"""Reports about all targets: the one of a period as of now, and those that were kept."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from pydantic import ValidationError
from ulid import ULID

from coffre.model.errors import IntegrityError
from coffre.model.report import Period, PeriodReport
from coffre.vault.layout import REPORTS, is_report
from coffre_console.reading.overview import read_status
from coffre_console.reading.source import Source

_KEPT: Final = re.compile(rf"{REPORTS}\d{{8}}-(?P<id>.+)\.html")
_MOST_KEPT: Final = 100
_LIMIT_BYTES: Final = 8 * 1024 * 1024


@dataclass(frozen=True)
class KeptReport:
    """The page of a report in the vault."""

    id: str
    at: datetime
    key: str
    size_bytes: int


def report_now(source: Source, period: Period) -> PeriodReport:
    """Return the report of a period until now, as `coffre report` does. It is about all targets together."""
    from coffre.operations.report.gather import ReportJob, gather_report
    from coffre.policy.report import report_of

    status, configuration = read_status(source), source.configuration()
    job = ReportJob(source.catalog, configuration, status, period, (period,), source.prices)
    return report_of(gather_report(job))


def kept_report(source: Source, report_id: str) -> PeriodReport | None:
    """Return a report that was kept in the vault, without its contacts; None: it is not there any more.

    Raises
    ------
    IntegrityError
        `REPORT_DAMAGED`
    """
    key = next((info.key for info in source.vault.store.list(REPORTS) if info.key.endswith(f"-{report_id}.json")), None)
    if key is None:
        return None
    try:
        return PeriodReport.model_validate_json(source.vault.store.get(key, limit_bytes=_LIMIT_BYTES))
    except ValidationError as error:
        raise IntegrityError(
            f"The report {key} cannot be read.",
            code="REPORT_DAMAGED",
            hint="`coffre report weekly` makes the report of now.",
        ) from error


def kept_reports(source: Source) -> tuple[KeptReport, ...]:
    """Return the pages of reports that were kept in the vault, the newest first."""
    found: list[KeptReport] = []
    for info in source.vault.store.list(REPORTS):
        match = _KEPT.fullmatch(info.key) if is_report(info.key) else None
        if match is not None:
            at = ULID.from_str(match["id"]).datetime.astimezone(UTC)
            found.append(KeptReport(match["id"], at, info.key, info.size))
    return tuple(sorted(found, key=lambda one: one.id, reverse=True)[:_MOST_KEPT])
