"""The report of one drill, with what is not as it was first."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from coffre.model.backup import Backup
from coffre.model.drill_report import DrillReport, ObjectProof, TableProof, Verdict
from coffre.vault.layout import reports_prefix
from coffre.vault.reports import DrillReports
from coffre_console.reading.source import Source

MOST_COMPARED: Final = 500
_REPORT: Final = re.compile(r"drill-[0-9A-Z]{26}\.json$")


@dataclass(frozen=True)
class Compared:
    """One table or object that was restored and compared; objects have no rows."""

    name: str
    rows: int | None
    rows_found: int | None
    size_bytes: int
    verdict: Verdict
    words: str
    detail: str | None


@dataclass(frozen=True)
class OneDrill:
    """A report, in one sentence and whole; `compared` has what differs first."""

    report: DrillReport
    heading: str
    compared: tuple[Compared, ...]
    is_newest: bool


def one_drill(source: Source, backup: Backup, drill_id: str) -> OneDrill | None:
    """Return a drill of a backup; None: it has no such one. Raises IntegrityError (`REPORT_DAMAGED`)."""
    from coffre.operations.drill.report_page import heading_of

    report = DrillReports(source.vault.store).of(backup.target, backup.id, drill_id)
    if report is None:
        return None
    prefix = f"{reports_prefix(backup.target, backup.id)}drill-"
    newest = max(info.key for info in source.vault.store.list(prefix) if _REPORT.search(info.key))
    compared = [*map(_compared, report.tables), *map(_compared, report.objects)]
    compared.sort(key=lambda one: (one.verdict is Verdict.EQUAL, one.name))
    return OneDrill(report, heading_of(report), tuple(compared), newest == f"{prefix}{drill_id}.json")


def _compared(one: TableProof | ObjectProof) -> Compared:
    from coffre.operations.drill.report_page import VERDICTS

    if isinstance(one, TableProof):
        name, rows, found = one.table, one.rows, one.rows_found
        return Compared(name, rows, found, one.size_bytes, one.verdict, VERDICTS[one.verdict], one.detail)
    return Compared(one.name, None, None, one.size_bytes, one.verdict, VERDICTS[one.verdict], one.detail)
