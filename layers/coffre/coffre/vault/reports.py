"""Reports of drills, stored with the backups that they are about: JSON, and a page for people."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from coffre.model.drill_report import DrillReport, DrillState
from coffre.model.errors import IntegrityError, ObjectMissingError
from coffre.stores.body import sha256_of
from coffre.stores.store import Store, put_small
from coffre.vault.layout import report_key, reports_prefix

if TYPE_CHECKING:
    from coffre.model.report import PeriodReport

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

    def write_state(self, state: DrillState) -> str:
        """Keep how far a drill is for its next invocation, and return the SHA-256 of that."""
        key = _state_key(state.target, state.backup_id, state.id, state.invocation)
        return put_small(self._store, key, state.model_dump_json().encode())

    def state(self, target: str, backup_id: str, drill_id: str, invocation: int, sha256: str) -> DrillState:
        """Return how far a drill was when the invocation before ended: what that one wrote, and nothing else.

        Raises
        ------
        IntegrityError
            `DRILL_STATE_DAMAGED`
        """
        key = _state_key(target, backup_id, drill_id, invocation)
        damaged = IntegrityError(
            f"How far the drill {drill_id} was cannot be read from {key}.",
            code="DRILL_STATE_DAMAGED",
            hint=f"Drill the backup again: coffre verify --level drill {backup_id}",
        )
        try:
            body = self._store.get(key, limit_bytes=_LIMIT_BYTES)
            state = DrillState.model_validate_json(body)
        except (ObjectMissingError, ValidationError) as error:
            raise damaged from error
        if sha256_of(body) != sha256:
            damaged.detail = "It is not what the invocation before has written."
            raise damaged
        return state

    def invocations(self, target: str, backup_id: str, drill_id: str) -> int:
        """Return how many invocations a drill has started so far."""
        begin = f"{reports_prefix(target, backup_id)}drill-{drill_id}.state-"
        return 1 + sum(1 for _ in self._store.list(begin))

    def of(self, target: str, backup_id: str, drill_id: str) -> DrillReport | None:
        """Return the report of one drill; None while it has none. Raises what `newest` raises."""
        key = f"{reports_prefix(target, backup_id)}drill-{drill_id}.json"
        return self._read(key, backup_id) if any(info.key == key for info in self._store.list(key)) else None

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
        return self._read(max(keys), backup_id)  # ids are in the order of their time

    def _read(self, key: str, backup_id: str) -> DrillReport:
        try:
            return DrillReport.model_validate_json(self._store.get(key, limit_bytes=_LIMIT_BYTES))
        except ValidationError as error:
            raise IntegrityError(
                f"The report {key} cannot be read.",
                code="REPORT_DAMAGED",
                hint=f"Drill the backup again: coffre verify --level drill {backup_id}",
            ) from error


def _state_key(target: str, backup_id: str, drill_id: str, invocation: int) -> str:
    return f"{reports_prefix(target, backup_id)}drill-{drill_id}.state-{invocation:02d}.json"


def keep_report(store: Store, report_id: str, report: PeriodReport, page: str) -> str:
    """Keep a report about all targets; return the key of its page. The JSON has no contacts: they are for people."""
    for_programs = report.model_copy(update={"contacts": ()}).model_dump_json(indent=1)
    put_small(store, report_key(report.at, report_id, "json"), for_programs.encode())
    key = report_key(report.at, report_id, "html")
    put_small(store, key, page.encode())
    return key
