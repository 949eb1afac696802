"""What is restored, and where: the choices of the person who asks for it."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from coffre.model.document import Document
from coffre.model.kinds import Contents
from coffre.model.moment import Moment
from coffre.model.row_filter import RowFilter


class Scope(Document):
    """Which part of a backup is restored, and what may happen to existing objects.

    Parameters
    ----------
    contents
        Of a whole restore: all, definitions only, or rows only into existing, empty tables.
    at
        What is restored as it was at this moment, by the journal.
    tables, schemas
        Patterns (`orders`, `public.order_*`). A chosen table that is gone is restored under its own name; of one that
        exists, the backup's version is staged in the schema `restored_<id>`.
    with_dependencies
        Restore also what the chosen tables need (types, functions, sequences) where it is gone.
    rows
        Only these rows of the chosen tables, loaded into the staging schema and compared by key.
    apply
        Insert the rows that are missing and set back those that changed.
    replace
        Without tables: the whole database is replaced, the old one is kept under another name. With tables: the rows
        of each become those of the backup, the rows that this changes or deletes are kept in the staging schema.
    strict
        Stop at the first object that the server refuses, instead of restoring everything else.
    analyze
        Gather the statistics that the planner needs, after a whole restore.
    accept_exceptions
        With replace: put the restored database in the place of the one in use even if it lacks something.
    swap
        With replace: the id of an earlier restore that built a database and kept it, because it lacks something. It is
        put in place as it is.
    restart
        Of a whole restore into a database that an earlier one has filled in part: remove that, and begin again.
    resume
        The id of an earlier restore of the same backup, or of the same part of it, into the same database, which did
        not end: continue it.
    no_safety
        With apply or replace: change what is in use although no backup holds its present state.
    dry_run
        Only say what would happen.
    """

    contents: Contents = Contents.FULL
    at: Moment | None = None
    tables: tuple[str, ...] = ()
    schemas: tuple[str, ...] = ()
    with_dependencies: bool = False
    rows: RowFilter | None = None
    apply: bool = False
    replace: bool = False
    strict: bool = False
    analyze: bool = True
    accept_exceptions: bool = False
    restart: bool = False
    resume: str | None = Field(default=None, pattern="^[0-7][0-9A-HJKMNP-TV-Z]{25}$")
    swap: str | None = Field(default=None, pattern="^[0-7][0-9A-HJKMNP-TV-Z]{25}$")
    no_safety: bool = False
    dry_run: bool = False

    @property
    def touches(self) -> bool:
        """Whether rows of tables in use may change."""
        return self.apply or self.replace

    @property
    def overwrites(self) -> bool:
        """Whether something that exists may be overwritten or removed, which has to be confirmed."""
        return self.touches or self.restart

    @property
    def is_whole(self) -> bool:
        """Whether the whole backup is meant."""
        return not (self.tables or self.schemas)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.at is not None and (self.contents is not Contents.FULL or self.swap is not None):
            raise ValueError("at restores definitions and rows: leave contents and swap out")
        if self.rows is not None and not self.tables:
            raise ValueError("rows needs tables")
        if self.apply and self.rows is None:
            raise ValueError("apply needs rows (to replace whole tables, say replace)")
        if self.rows is not None and self.replace:
            raise ValueError("rows and replace exclude each other: rows are applied with apply")
        if self.contents is not Contents.FULL and (self.replace or not self.is_whole):
            raise ValueError("contents is for restores of a whole backup into an empty database")
        if self.restart and (self.replace or not self.is_whole or not self.contents.has_schema):
            raise ValueError("restart is for restores of a whole backup into a new or empty database")
        if self.resume is not None and self.replace and self.is_whole:
            raise ValueError("resume is for restores of chosen tables, and of a whole backup into a database for it")
        if self.resume is not None and (self.restart or self.dry_run):
            raise ValueError("resume continues what an earlier restore began: leave restart and dry_run out")
        if self.swap is not None and not (self.replace and self.is_whole):
            raise ValueError("swap is for replacing a whole database")
        if self.accept_exceptions and not (self.replace and self.is_whole):
            raise ValueError("accept_exceptions is for replacing a whole database")
        if self.no_safety and not self.touches:
            raise ValueError("no_safety is for apply and replace: nothing else changes what is in use")
        if self.with_dependencies and (self.is_whole or self.rows is not None):
            raise ValueError("with_dependencies is for restores of chosen tables")
        return self
