"""What a drill found out: the report that is stored with the backup in the vault."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import Field

from coffre.model.backup import Failure
from coffre.model.document import FrozenModel
from coffre.model.drill import DrillSummary, Outcome
from coffre.model.journal_proof import JournalProof
from coffre.model.verification import Damage, DamageReport, Level


class Verdict(StrEnum):
    """What became of one table.

    EQUAL: written again, the table gives the bytes that were backed up, slice by slice; partitions that were loaded
    through their root give together the same rows, each as often, in any order. SAME_VALUES: it gives other bytes, but
    every row has the value that the scratch server reads from the backup's bytes. NOT_LOADED: the scratch server cannot
    have it; an exception says why.
    """

    EQUAL = "equal"
    SAME_VALUES = "same_values"
    DIFFERENT = "different"
    NOT_LOADED = "not_loaded"


class TableProof(FrozenModel):
    """One table of the backup, compared.

    `rows` and `sha256` are the backup's, `rows_found` and `sha256_found` the restored table's. A table of several
    slices has as `sha256` that of its slices' hashes, in order, as hexadecimal lines.
    """

    table: str
    verdict: Verdict
    rows: int
    rows_found: int = 0
    size_bytes: int
    slices: int
    slices_equal: int = 0
    sha256: str | None = None
    sha256_found: str | None = None
    detail: str | None = None

    @property
    def is_unread(self) -> bool:
        """Whether it has rows in the backup that the drill left there."""
        return self.verdict is Verdict.NOT_LOADED and self.size_bytes > 0


class CheckProof(FrozenModel):
    """One of the owner's checks: what was asked, what should come, and what came. `error` instead when nothing did."""

    name: str
    query: str
    expected: bool | int | float | str | None
    found: bool | int | float | str | None = None
    passed: bool
    error: str | None = None
    duration_ms: int = 0


class ObjectProof(FrozenModel):
    """One object of the backup, restored and read again. `sha256` is the backup's, `sha256_found` what was read."""

    name: str
    verdict: Verdict
    size_bytes: int
    sha256: str
    sha256_found: str | None = None
    detail: str | None = None


class Sample(FrozenModel):
    """How much of a backup of buckets was restored: `chosen` of its `objects`, `chosen_bytes` of its `size_bytes`."""

    objects: int
    size_bytes: int
    chosen: int
    chosen_bytes: int

    @property
    def is_all(self) -> bool:
        """Whether every object was restored."""
        return self.chosen == self.objects


class Structure(FrozenModel):
    """How much of what else makes a database right was looked at. `amcheck` says what checked indexes and pages."""

    indexes: int = 0
    constraints: int = 0
    foreign_keys: int = 0
    sequences: int = 0
    large_objects: int = 0
    amcheck: str | None = None


class DrillFindings(FrozenModel):
    """What a drill has found so far: the fields of a report that grow from group to group of tables.

    `unreadable` are the oids of tables whose values the server cannot read, `code` is that of the worst problem.
    `row_hashes` are of the tables that a proof of the journal compares, `compared` those that it is done with.
    """

    problems: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    violates_constraints: bool = False
    exceptions: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    tables: tuple[TableProof, ...] = ()
    structure: Structure = Structure.model_construct()
    phases_ms: dict[str, int] = Field({})
    restore_seconds: float | None = None
    scratch_bytes: int = 0
    unreadable: frozenset[int] = frozenset()
    code: str | None = None
    checks: tuple[CheckProof, ...] = ()
    server_version: str | None = None
    row_hashes: dict[str, str] = Field({})
    compared: tuple[str, ...] = ()
    journal: JournalProof | None = None


class DrillState(FrozenModel):
    """A drill between two invocations.

    Parameters
    ----------
    invocation
        Which one continues with this; the first is 1.
    waiting, done
        Groups of tables by their oids in the backup.
    seconds, size_bytes
        What the groups that are done took, by the estimate of their sizes.
    is_whole
        All tables were proven together; what is left is the proof of the journal.
    """

    id: str
    backup_id: str
    target: str
    started_at: datetime
    invocation: int = 1
    waiting: tuple[tuple[int, ...], ...] = ()
    done: tuple[tuple[int, ...], ...] = ()
    seconds: float = 0.0
    size_bytes: int = 0
    is_whole: bool = False
    findings: DrillFindings = DrillFindings.model_construct()


class DrillReport(FrozenModel):
    """The whole result of a drill.

    Parameters
    ----------
    left_out
        What a restore leaves out, because the server refuses it, a sentence each: any makes the drill INCOMPLETE.
    problems
        What is wrong, a sentence each, the worst first: any makes the drill FAILED.
    violates_constraints
        Some of that is because rows violate a constraint: the source has such rows, or the backup is not what it was.
    exceptions
        What could not be proven here, a sentence each: the backup is verified except for these.
    limits
        What no drill proves, as far as this backup has it.
    objects, sample
        What became of the objects of a backup of buckets, and how many of all they are; it has no tables.
    restore_seconds
        From the first byte read to the last index built, of all groups together: the time that a restore takes. None
        when only a sample or some of the tables were restored.
    groups
        In how many portions the tables were restored; more than one when they did not fit together, or took longer
        than an invocation lives.
    invocations
        How many it took.
    scratch_bytes
        The most that the scratch server's files were seen to take.
    copy_name
        The copy whose bytes were restored; None: the vault's.
    journal
        What was proven of the target's journal, which says nothing about the backup; None: it has none.
    is_damaged
        Rows or stored bytes are not what was backed up: the backup is bad, whatever else it may be.
    damages
        What is wrong with stored bytes: other backups can refer to them too.
    """

    format: Literal[1] = 1
    id: str
    backup_id: str
    target: str
    outcome: Outcome
    backup_created_at: datetime
    started_at: datetime
    completed_at: datetime
    source_version: str | None = None
    server_version: str | None = None
    coffre_version: str
    rows: int = 0
    size_bytes: int = 0
    tables: tuple[TableProof, ...] = ()
    objects: tuple[ObjectProof, ...] = ()
    sample: Sample | None = None
    checks: tuple[CheckProof, ...] = ()
    structure: Structure = Structure.model_construct()
    left_out: tuple[str, ...] = ()
    violates_constraints: bool = False
    problems: tuple[str, ...] = ()
    exceptions: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    phases_ms: dict[str, int] = Field({})
    restore_seconds: float | None = None
    restore_limit_seconds: int | None = None
    groups: int = 1
    invocations: int = 1
    scratch_bytes: int = 0
    is_damaged: bool = False
    damages: tuple[Damage, ...] = ()
    copy_name: str | None = None
    journal: JournalProof | None = None
    failure: Failure | None = None
    request_id: str | None = None

    @property
    def is_late(self) -> bool:
        """Whether the restore took longer than the target allows."""
        limit, took = self.restore_limit_seconds, self.restore_seconds
        return limit is not None and took is not None and took > limit

    @property
    def is_of_all(self) -> bool:
        """Whether all of the backup was looked at: only then does it count as verified.

        What has no place in the scratch server was not even read from the vault, and later backups refer to it.
        """
        return (self.sample is None or self.sample.is_all) and not any(table.is_unread for table in self.tables)

    @property
    def summary(self) -> DrillSummary:
        """What the catalog keeps of it."""
        why = self.problems[0] if self.problems else self.failure.message if self.failure else None
        return DrillSummary(
            id=self.id,
            backup_id=self.backup_id,
            target=self.target,
            outcome=self.outcome,
            completed_at=self.completed_at,
            restore_seconds=self.restore_seconds,
            restore_limit_seconds=self.restore_limit_seconds,
            problem=why,
        )

    @property
    def damage(self) -> DamageReport:
        """The finding that is stored with a backup that `is_damaged`, as readers store theirs.

        The worst problem stands for what a restore alone has shown, which no reading of stored bytes can call healed.
        """
        damages = list(self.damages)
        if not damages or self._shows_other_values:
            code = self.failure.code if self.failure else "DRILL_FAILED"
            damages.insert(0, Damage(code=code, text=self.problems[0]))
        return DamageReport.on(self.backup_id, self.target, Level.DRILL, self.completed_at, damages)

    @property
    def _shows_other_values(self) -> bool:
        """Whether something came out of the vault as it was recorded, and is another thing when it is restored."""
        return any(table.verdict is Verdict.DIFFERENT for table in self.tables) or any(
            proof.verdict is Verdict.DIFFERENT and proof.sha256_found is not None for proof in self.objects
        )

    @property
    def duration_seconds(self) -> float:
        """How long the drill took, comparing included."""
        return (self.completed_at - self.started_at).total_seconds()
