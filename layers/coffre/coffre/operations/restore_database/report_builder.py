"""What a restore has done so far, for its report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from coffre.model.backup import Failure
from coffre.model.confirmation import Plan
from coffre.model.names import TableName
from coffre.model.restore_report import Comparison, Kept, LeftOut, RestoredTable, RestoreReport
from coffre.operations.restore_database.job import RestoreJob
from coffre.operations.runs.progress import Meter

_PLAIN: Final = ("phases_ms", "created_database", "with_owners", "steps", "exceptions", "notes", "dependents", "script")


@dataclass
class ReportBuilder:
    """Grows while a restore works; `phases_ms` is how long each phase took.

    `missing_rows` says of tables that were loaded without their damaged slices how many rows these had.
    """

    meter: Meter
    phases_ms: dict[str, int] = field(default_factory=dict)
    created_database: bool = False
    with_owners: bool = True
    steps: list[str] = field(default_factory=list)
    exceptions: list[str] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    tables: list[RestoredTable] = field(default_factory=list)
    dependents: list[str] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    script: str | None = None
    missing_rows: dict[TableName, int] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Report that a phase begins, and measure it."""
        self.meter.begin(name)
        began = time.monotonic()
        yield
        self.phases_ms[name] = self.phases_ms.get(name, 0) + int((time.monotonic() - began) * 1000)

    def state(self) -> dict[str, Any]:
        """Return all of it that a later attempt takes up, as JSON."""
        return {
            **{name: getattr(self, name) for name in _PLAIN},
            "left_out": [one.model_dump(mode="json") for one in self.left_out],
            "tables": [one.model_dump(mode="json") for one in self.tables],
            "comparisons": [one.model_dump(mode="json") for one in self.comparisons],
            "kept": [one.model_dump(mode="json") for one in self.kept],
            "missing_rows": [[*name, rows] for name, rows in self.missing_rows.items()],
        }

    def take_up(self, state: Mapping[str, Any]) -> None:
        """Become what `state` has returned, with the times of both."""
        own_ms = self.phases_ms
        for name in _PLAIN:
            setattr(self, name, state[name])
        for phase, milliseconds in own_ms.items():
            self.phases_ms[phase] = self.phases_ms.get(phase, 0) + milliseconds
        self.left_out = [LeftOut.model_validate(one) for one in state["left_out"]]
        self.tables = [RestoredTable.model_validate(one) for one in state["tables"]]
        self.comparisons = [Comparison.model_validate(one) for one in state.get("comparisons", ())]
        self.kept = [Kept.model_validate(one) for one in state.get("kept", ())]
        self.missing_rows = {(schema, table): rows for schema, table, rows in state["missing_rows"]}

    def leave_out(self, what: str, reason: str, sql: str | None = None, sqlstate: str | None = None) -> None:
        """Record an object that could not be restored, why, and the SQL that makes it later."""
        self.left_out.append(LeftOut(what=what, reason=reason, sql=sql, sqlstate=sqlstate))
        self.exceptions.append(str(self.left_out[-1]))

    def say_missing(self, kind: str, names: Sequence[str]) -> None:
        """Report what does not exist, and so could not be set or filled."""
        self.exceptions += [f"The {kind} {name} does not exist: it was left out." for name in names]

    def _script(self) -> str | None:
        """Return the SQL for what was left out, in its order, each with its reason; None when nothing has any."""
        parts = [self.script] if self.script else []
        for left in self.left_out:
            if left.sql:
                said = f"{left.what}: {left.reason}".replace("\r", " ").replace("\n", " ")
                parts.append(f"-- {said}\n{left.sql}")
        return "\n".join(parts) or None

    def build(self, job: RestoreJob, plan: Plan | None = None) -> RestoreReport:
        """Return the whole report; `plan` is what a dry run would overwrite."""
        return RestoreReport(
            id=job.restore_id,
            backup_id=job.backup.id,
            target=job.backup.target,
            destination=str(job.connection),
            dry_run=job.scope.dry_run,
            created_database=self.created_database,
            with_owners=self.with_owners,
            steps=tuple(self.steps),
            tables=tuple(self.tables),
            dependents=tuple(self.dependents),
            comparisons=tuple(self.comparisons),
            kept=tuple(self.kept),
            script=self._script(),
            rows=sum(table.rows for table in self.tables),
            phases_ms=self.phases_ms,
            exceptions=tuple(self.exceptions),
            left_out=tuple(self.left_out),
            notes=(*self.notes, *map(str, job.vault.read_from)),
            read_from=job.vault.read_from,
            plan=plan,
            safety=job.safety,
        )


@contextmanager
def after_the_change(report: ReportBuilder, what: str, is_paused: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Report what fails after something in use was changed as an exception: the change is done, and stays.

    After a pause an error means the pause: the next attempt does it.
    """
    try:
        yield
    except Exception as error:
        if is_paused():
            raise
        failure = Failure.of(error)
        reason = f"{failure.message.rstrip('.')} ({failure.code})"
        report.exceptions.append(f"The data in use is restored. What came after it was not done: {what}: {reason}.")
