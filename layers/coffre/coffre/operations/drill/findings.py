"""What a drill has found so far, and the report that it becomes."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from coffre import __version__
from coffre.model.backup import Backup, Failure
from coffre.model.drill import Outcome
from coffre.model.drill_report import (
    CheckProof,
    DrillFindings,
    DrillReport,
    ObjectProof,
    Sample,
    Structure,
    TableProof,
    Verdict,
)
from coffre.model.errors import DrillError, IntegrityError, RestoreError
from coffre.model.journal_proof import JournalProof
from coffre.model.verification import Damage
from coffre.model.words import counted
from coffre.operations.restore_database.report_builder import ReportBuilder as Restored
from coffre.operations.runs.progress import Meter
from coffre.postgres.scratch.structure_checks import AMCHECK_OPTIONS, Findings

# The drill's role or its server cannot have it, which says nothing about other ones: no SQLSTATE (known beforehand),
# and insufficient_privilege: only a superuser can make it.
_NOT_HERE: Final = (None, "42501")
# What a drill never shows, whatever the backup: its role is no superuser, and has no rights over others.
_LIMITS: Final = {
    r"^The server has no \w+ locale .*: the database got its default\.$": None,
    r"^The scratch server has no collation": None,
    r"^The backup has no rows of .*: the configuration leaves them out\.$": None,
    r"is NOT VALID or NOT ENFORCED by definition": None,
}


@dataclass
class Found:
    """Grows while a drill works.

    `phases_ms` is how long each phase took; `unreadable` are the oids of tables whose values the server cannot read.
    `row_hashes` are taken of restored tables if the `journal` is to be proven; `hashes_rows` says so. `compared` are
    the tables that its proof is done with.
    """

    meter: Meter
    problems: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    violates_constraints: bool = False
    exceptions: list[str] = field(default_factory=list)
    limits: list[str] = field(default_factory=list)
    tables: list[TableProof] = field(default_factory=list)
    objects: list[ObjectProof] = field(default_factory=list)
    damages: list[Damage] = field(default_factory=list)
    sample: Sample | None = None
    checks: list[CheckProof] = field(default_factory=list)
    structure: Structure = field(default_factory=Structure)
    phases_ms: dict[str, int] = field(default_factory=dict)
    restore_seconds: float | None = None
    groups: int = 1
    invocations: int = 1
    scratch_bytes: int = 0
    source_version: str | None = None
    server_version: str | None = None
    unreadable: set[int] = field(default_factory=set)
    code: str | None = None
    hashes_rows: bool = False
    row_hashes: dict[str, str] = field(default_factory=dict)
    compared: list[str] = field(default_factory=list)
    journal: JournalProof | None = None

    def saved(self) -> DrillFindings:
        """Return what an invocation hands over to the next one."""
        return DrillFindings.model_validate({name: getattr(self, name) for name in DrillFindings.model_fields})

    def load(self, saved: DrillFindings) -> None:
        """Begin with what earlier invocations have found; times of this one are added."""
        began_ms = self.phases_ms
        for name in DrillFindings.model_fields:
            value, own = getattr(saved, name), getattr(self, name)
            setattr(self, name, type(own)(value) if isinstance(own, list | set | dict) else value)
        self.phases_ms = dict(saved.phases_ms)
        for name, milliseconds in began_ms.items():
            self._add_time(name, milliseconds)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Say that a phase begins, and measure it."""
        self.meter.begin(name)
        began = time.monotonic()
        try:
            yield
        finally:
            self._add_time(name, int((time.monotonic() - began) * 1000))

    @contextmanager
    def restoring(self) -> Iterator[None]:
        """Measure what a restore takes that gets through."""
        began = time.monotonic()
        yield
        self.restore_seconds = (self.restore_seconds or 0.0) + time.monotonic() - began

    def take_restore(self, restored: Restored, own: Iterable[str]) -> None:
        """Take over what a restore has to say; `own` are the exceptions that the backup itself began with."""
        for name, milliseconds in restored.phases_ms.items():
            self._add_time(name, milliseconds)
        refused = [left for left in restored.left_out if left.sqlstate not in _NOT_HERE]
        self.violates_constraints |= any(
            (left.sqlstate or "").startswith("23") or left.what.startswith("the rows of ") for left in refused
        )
        self.left_out += [str(left) for left in refused if str(left) not in self.left_out]
        known = {*own, *self.left_out}
        self.except_for(sentence for sentence in restored.exceptions if sentence not in known)

    def except_for(self, sentences: Iterable[str]) -> None:
        """Note what is not proven, each thing once: what no drill proves apart from what this one did not."""
        for sentence in sentences:
            limit = next((said or sentence for pattern, said in _LIMITS.items() if re.search(pattern, sentence)), None)
            place, said = (self.exceptions, sentence) if limit is None else (self.limits, limit)
            if said not in place:
                place.append(said)

    def take_tables(self, proofs: Iterable[TableProof]) -> None:
        """Take over the proofs of tables; those that differ are problems."""
        for proof in proofs:
            self.tables.append(proof)
            if proof.verdict is Verdict.DIFFERENT:
                self.wrong("ROWS_DIFFER", f"{proof.table} is not as it was backed up: {proof.detail}.")
            elif proof.verdict is Verdict.SAME_VALUES:
                self.except_for([_written_otherwise(proof)])

    def take_objects(self, proofs: Iterable[ObjectProof]) -> None:
        """Take over the proofs of objects. Other bytes are damage; attributes the store of the copy can have lost."""
        for proof in proofs:
            self.objects.append(proof)
            if proof.verdict is Verdict.DIFFERENT:
                has_bytes = proof.sha256_found == proof.sha256
                code = "ATTRIBUTES_DIFFER" if has_bytes else "OBJECTS_DIFFER"
                self.wrong(code, f"{proof.name} is not as it was backed up: {proof.detail}")

    def take_damage(self, error: IntegrityError, entry: str | None = None) -> None:
        """Keep what is wrong with stored bytes; `entry` is what they are of."""
        self.damages.append(Damage.of_frame(error).model_copy(update={"entry": entry}))

    def take_structure(self, found: Findings) -> None:
        """Take over what was seen of indexes, constraints and sequences; in groups, the most of each."""
        ours = self.structure
        names = ("indexes", "constraints", "foreign_keys", "sequences", "large_objects")
        most = {name: max(getattr(ours, name), getattr(found, name)) for name in names}
        self.structure = ours.model_copy(update=most)
        for problem in found.problems:
            self.wrong("STRUCTURE_BROKEN", problem)
        self.except_for(found.remarks)

    def take_pages(self, found: Findings) -> None:
        """Take over what `pg_amcheck` said about pages and indexes."""
        if not found.remarks:
            self.structure = self.structure.model_copy(update={"amcheck": " ".join(("pg_amcheck", *AMCHECK_OPTIONS))})
        self.take_structure(found)

    def take_checks(self, proofs: Iterable[CheckProof]) -> None:
        """Take over the owner's checks."""
        for proof in proofs:
            self.checks.append(proof)
            if not proof.passed:
                what = proof.error or f"expected {json.dumps(proof.expected)}, found {json.dumps(proof.found)}"
                self.wrong("CHECK_FAILED", f'The check "{proof.name}" failed: {what}')

    def wrong(self, code: str, problem: str) -> None:
        """Note a problem; the first one's code is the drill's, but damage comes before everything else."""
        is_worse = code in _DAMAGE and self.code not in _DAMAGE
        self.code = code if is_worse else self.code or code
        self.problems.insert(0 if is_worse else len(self.problems), problem)

    def report(
        self,
        backup: Backup,
        *,
        drill_id: str,
        started_at: datetime,
        now: datetime,
        error: Exception | None = None,
        is_possible: bool = True,
        limit_minutes: int | None = None,
        request_id: str | None = None,
    ) -> DrillReport:
        """Return what there is to say in the end; `error` is what ended the drill early."""
        failure = Failure.of(error) if error else self._failure()
        if isinstance(error, IntegrityError):
            self.take_damage(error)
        problems = (*((failure.message,) if error and failure and is_possible else ()), *self.problems)
        unread = sum(table.is_unread for table in self.tables)
        if unread:
            self.limits.append(_some_unread(unread))
        outcome = Outcome.FAILED if problems else Outcome.INCOMPLETE if self.left_out else Outcome.PASSED
        return DrillReport(
            id=drill_id,
            backup_id=backup.id,
            target=backup.target,
            outcome=outcome if is_possible else Outcome.NOT_POSSIBLE,
            backup_created_at=backup.created_at,
            started_at=started_at,
            completed_at=now,
            coffre_version=__version__,
            problems=problems,
            restore_seconds=self.restore_seconds if error is None and not unread else None,
            restore_limit_seconds=limit_minutes * 60 if limit_minutes else None,
            is_damaged=is_possible and (_is_damage(error) or self.code in _DAMAGE),
            failure=failure,
            request_id=request_id,
            **self._facts(),
        )

    def _facts(self) -> dict[str, Any]:
        """Return what was counted and measured, under the names of the report."""
        names = ("checks", "exceptions", "limits", "left_out", "damages")
        same = (
            "violates_constraints",
            "structure",
            "phases_ms",
            "groups",
            "invocations",
            "scratch_bytes",
            "source_version",
            "server_version",
            "sample",
            "journal",
        )
        return {
            **{name: tuple(getattr(self, name)) for name in names},
            **{name: getattr(self, name) for name in same},
            "tables": tuple(sorted(self.tables, key=lambda table: table.table)),
            "objects": tuple(sorted(self.objects, key=lambda proof: proof.name)),
            "rows": sum(table.rows_found for table in self.tables),
            "size_bytes": sum(table.size_bytes for table in self.tables if table.verdict is not Verdict.NOT_LOADED)
            + sum(proof.size_bytes for proof in self.objects),
        }

    def _failure(self) -> Failure | None:
        if not self.problems and self.left_out:
            more = f" And {len(self.left_out) - 1} more." if len(self.left_out) > 1 else ""
            return Failure(code="RESTORE_INCOMPLETE", message=self.left_out[0] + more, hint=_INCOMPLETE_HINT)
        if not self.problems:
            return None
        message = self.problems[0] + (f" And {len(self.problems) - 1} more." if len(self.problems) > 1 else "")
        return Failure(code=self.code or DrillError.default_code, message=message, hint=_HINTS.get(self.code or ""))

    def _add_time(self, name: str, milliseconds: int) -> None:
        self.phases_ms[name] = self.phases_ms.get(name, 0) + milliseconds


_HINTS: Final = {
    "ROWS_DIFFER": "Do not rely on this backup. Take a new full one, and drill that.",
    "OBJECTS_DIFFER": "Do not rely on this backup. Take a new full one, and drill that.",
    "ATTRIBUTES_DIFFER": "The bytes are right. Does the vault's store keep every attribute, and the destination's?",
    "STRUCTURE_BROKEN": "Do not rely on this backup. Take a new full one, and drill that.",
    "CHECK_FAILED": "The backup was restored as it was taken. Is the check right, and was the database?",
}


_INCOMPLETE_HINT: Final = (
    "Every row came back as it was taken; a restore leaves this out and names it. Correct it at the source if you can."
)
# What says that stored bytes are not what was backed up.
_DAMAGE: Final = frozenset({"ROWS_DIFFER", "OBJECTS_DIFFER"})


def _is_damage(error: Exception | None) -> bool:
    """Whether an error says that bytes or rows are wrong, and not that a definition could not be restored here."""
    return isinstance(error, IntegrityError) or (isinstance(error, RestoreError) and error.code == "ROWS_DIFFER")


def _some_unread(tables: int) -> str:
    return (
        f"The rows of {counted(tables, 'table')} were not read. The backup does not count as verified by this drill, "
        "and how long a restore of everything takes is not known. All is read by coffre verify --level read."
    )


def _written_otherwise(proof: TableProof) -> str:
    return (
        f"{proof.table}: {proof.slices - proof.slices_equal:,} of {proof.slices:,} slices are written otherwise by the "
        "scratch server than by the source, or their rows lie in another order; every row has the backup's values."
    )
