"""What a restore has done: the report that is stored in the vault."""

from __future__ import annotations

from coffre.model.confirmation import Plan
from coffre.model.copies import ReadFrom
from coffre.model.document import FrozenModel
from coffre.model.safety import Safety
from coffre.model.storage import StorageResult


class RestoredTable(FrozenModel):
    """What a restore did for one table. Bytes are plaintext."""

    table: str
    rows: int
    size_bytes: int
    duration_ms: int


class Comparison(FrozenModel):
    """How a table in use and the staged version of the backup differ, in rows, and what was done about it.

    `missing` rows are in the backup only, `extra` ones in the table only; `columns` are those in which changed rows
    differ; `before` is where the rows that were changed or deleted are kept.
    """

    table: str
    beside: str
    missing: int
    changed: int
    same: int
    extra: int
    columns: tuple[str, ...] = ()
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    before: str | None = None


class Kept(FrozenModel):
    """Something that a restore made and left: `remove` is the SQL that removes it when it is not needed any more."""

    what: str
    remove: str


class LeftOut(FrozenModel):
    """Something of the backup that could not be restored.

    `what` names it for a person, `reason` has the server's words where the server refused it, and `sql` makes it once
    the reason is gone (None when no statement can). `sqlstate` is the server's code when it refused the object.
    """

    what: str
    reason: str
    sql: str | None = None
    sqlstate: str | None = None

    def __str__(self) -> str:
        return f"Not restored: {self.what}: {self.reason.rstrip('.')}."


class RestoreReport(FrozenModel):
    """The whole result of a restore, kept in the vault: `phases_ms` says how long each phase took.

    `steps` are what it did, of a dry run what it would do. `dependents` are the objects that were
    restored because they need chosen tables. `script` is SQL that restores what was lost together with
    restored tables (views, keys of other tables), and was not restored. `storage` is what was done with objects.
    `exceptions` say in what the result differs from the backup (`left_out` has the same for single objects, with SQL);
    `notes` are worth knowing and no difference. `plan` is what would be overwritten, of a dry run that shows that.
    `safety` says which backup holds what the restore overwrites.
    `read_from` is what was read from copies, because the first choice could not give it; the notes say it too.
    """

    id: str
    backup_id: str
    target: str
    destination: str
    dry_run: bool = False
    created_database: bool = False
    with_owners: bool = True
    steps: tuple[str, ...] = ()
    tables: tuple[RestoredTable, ...] = ()
    dependents: tuple[str, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    kept: tuple[Kept, ...] = ()
    script: str | None = None
    rows: int
    storage: StorageResult | None = None
    phases_ms: dict[str, int]
    exceptions: tuple[str, ...]
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
    plan: Plan | None = None
    safety: Safety | None = None
    read_from: tuple[ReadFrom, ...] = ()
