"""Reports of drills, stored with the backups that they are about: JSON, and a page for people."""

from __future__ import annotations

import re
from typing import Final

from pydantic import ValidationError

from coffre.model.drill import DrillReport
from coffre.model.errors import IntegrityError
from coffre.model.report import PeriodReport
from coffre.stores.store import Store, put_small
from coffre.vault.layout import report_key, reports_prefix

_NAME: Final = re.compile(r"drill-[0-7][0-9A-HJKMNP-TV-Z]{25}\.json")
_LIMIT_BYTES: Final = 64 * 1024 * 1024


class DrillReports:
    """The reports of drills in a vault."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def write(self, report: DrillReport, page: str) -> None:
        """Keep a report: the page first, so that a report that is found has its page."""
        place = f"{reports_prefix(report.target, report.backup_id)}drill-{report.id}"
        for suffix, text in (("html", page), ("json", report.model_dump_json(indent=1))):
            put_small(self._store, f"{place}.{suffix}", text.encode())

    def newest(self, target: str, backup_id: str) -> DrillReport | None:
        """Return the report of the newest drill of a backup.

        Raises
        ------
        IntegrityError
            `REPORT_DAMAGED`
        """
        folder = reports_prefix(target, backup_id)
        keys = [info.key for info in self._store.list(folder) if _NAME.fullmatch(info.key.removeprefix(folder))]
        if not keys:
            return None
        key = max(keys)  # ids are in the order of their time
        try:
            return DrillReport.model_validate_json(self._store.get(key, limit_bytes=_LIMIT_BYTES))
        except ValidationError as error:
            raise IntegrityError(
                f"The report {key} cannot be read.",
                code="REPORT_DAMAGED",
                hint=f"Drill the backup again: coffre verify --level drill {backup_id}",
            ) from error


def keep_report(store: Store, report_id: str, report: PeriodReport, page: str) -> str:
    """Keep a report about all targets; return the key of its page. The JSON has no contacts: they are for people."""
    for_programs = report.model_copy(update={"contacts": ()}).model_dump_json(indent=1)
    put_small(store, report_key(report.at, report_id, "json"), for_programs.encode())
    key = report_key(report.at, report_id, "html")
    put_small(store, key, page.encode())
    return key
