"""Tables whose rows were refused or are damaged: what is tried again, in which order, and what is left out at last."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import psycopg2
import psycopg2.errors
import psycopg2.extensions

from coffre.model.errors import CoffreError, IntegrityError
from coffre.model.names import TableName, shown
from coffre.model.words import counted
from coffre.operations.restore_database.refused_rows import (
    Refused,
    RowsError,
    may_be_left_out,
    state_of,
    why_refused,
    words_of,
)
from coffre.operations.restore_database.reload import Reload
from coffre.operations.restore_database.report_builder import ReportBuilder
from coffre.operations.restore_database.salvage_rules import Cursor, SalvageRules, Step
from coffre.operations.restore_database.table_rows import TableRows
from coffre.postgres.connection.connect import one_line
from coffre.postgres.destination import loosening
from coffre.postgres.destination.copy_in import is_refusal
from coffre.postgres.destination.loosening import Loosened

_OUR_PATH: Final = "pg_catalog"


class Salvage:
    """Tries again what was refused, in the order of what it costs.

    1. As it is, when all other tables are loaded: a check may look into one of them.
    2. With the source database's own `search_path`: functions may name things without their schema.
    3. Without what refuses the rows: checks and constraints of domains are dropped, and added again `NOT VALID`; NOT
       NULL likewise; generated columns become plain ones. When all is loaded they are validated.
    4. What still fails leaves the table empty.

    Damaged slices cost their own rows: the intact ones of the table go the same way.
    """

    def __init__(
        self,
        session: psycopg2.extensions.connection,
        rows: TableRows,
        again: Reload,
        report: ReportBuilder,
        rules: SalvageRules,
    ) -> None:
        self._session = session
        self._rows = rows
        self._reload = again
        self._report = report
        self._rules = rules
        self._of_checks: tuple[Step, ...] = (loosening.drop_checks if rules.is_alone else loosening.drop_own_checks,)
        self._of_domains: tuple[Step, ...] = (loosening.drop_domain_constraints,) if rules.is_alone else ()
        self._loosened: list[tuple[TableName, Loosened, str, str | None]] = []
        self._damaged: dict[TableName, tuple[int, str]] = {}  # the rows that are missing, and why
        for name, said in rows.noted().items():
            self._take_up(name, said)

    def load(self, refused: Refused) -> set[TableName]:
        """Load what can be loaded, report the rest, and return the names of tables that stay empty.

        Raises
        ------
        IntegrityError
            The first damage, when it left nothing of any table, or is not to be left out.
        """
        pending = refused.tables()
        self._again(pending, lambda _: None)
        if self._rules.leaves_damage_out:
            self._without_damage(pending)
        for number in range(max((len(self._rules.search_paths(name)) for name in pending), default=0)):
            for name in self._again(pending, lambda name: self._path(name, number)):  # noqa: B023 - called in this turn
                self._say_path(name, self._path(name, number))
        if self._rules.is_strict and pending:
            raise next(iter(pending.values()))
        if self._rules.may_loosen:
            for name, error in list(pending.items()):
                if not isinstance(error, IntegrityError) and self._without_constraints(name, error):
                    del pending[name]
            self._tighten()
        damages = {name: error for name, error in pending.items() if isinstance(error, IntegrityError)}
        if damages and not (self._rules.leaves_damage_out and self._rules.with_rows - damages.keys()):
            raise next(iter(damages.values()))
        self._leave_out(pending)
        return set(pending)

    def _take_up(self, name: TableName, said: Mapping[str, Any]) -> None:
        """Know what an earlier attempt has done to load a table."""
        if said["path"] is not None:
            self._say_path(name, said["path"])
        for one in said["loosened"]:
            check = tuple(one["check"]) if one["check"] else None
            thing = Loosened(**{**one, "restoring": tuple(one["restoring"]), "check": check})
            self._loosened.append((name, thing, said["words"], said["state"]))
        if said["damaged"] is not None:
            rows, why = said["damaged"]
            self._damaged[name] = rows, why

    def _say_path(self, name: TableName, path: str | None) -> None:
        self._report.notes.append(
            f"The rows of {shown(*name)} were loaded with the search_path {path} of the "
            "source: a function that they need names things without their schema."
        )

    def _leave_out(self, pending: Mapping[TableName, RowsError]) -> None:
        """Leave tables empty, and report them and the damaged slices of the others."""
        for name, error in pending.items():
            self._reload.clear(self._session, name)
            self._report.leave_out(
                f"the rows of {shown(*name)}",
                f"{why_refused(error)}; the table exists, empty",
                sqlstate=state_of(error),
            )
        for name in self._damaged.keys() - pending.keys():
            rows, why = self._damaged[name]
            self._report.missing_rows[name] = rows
            self._report.leave_out(f"{counted(rows, 'row')} of {shown(*name)}", why)

    def _without_damage(self, pending: dict[TableName, RowsError]) -> None:
        """Load the intact slices of tables that have damaged ones."""
        for name, error in list(pending.items()):
            if isinstance(error, IntegrityError) and (slices := self._reload.leave_damage_out(name)) is not None:
                self._damaged[name] = slices.rows, f"{why_refused(error)}: {slices}"
                self._attempt(pending, name, None)

    def _path(self, name: TableName, number: int = 0) -> str | None:
        """Return one of the paths for a table; None when the table has fewer."""
        return next(iter(self._rules.search_paths(name)[number : number + 1]), None)

    def _again(
        self, pending: dict[TableName, RowsError], path_of: Callable[[TableName], str | None]
    ) -> list[TableName]:
        """Load tables again, round by round, as long as that helps others; return those that were loaded."""
        loaded: list[TableName] = []
        while True:
            done = [name for name, error in pending.items() if self._is_worth_it(error, path_of(name))]
            done = [name for name in done if self._attempt(pending, name, path_of(name))]
            loaded += done
            if not (done and pending):
                return loaded

    @staticmethod
    def _is_worth_it(error: RowsError, search_path: str | None) -> bool:
        return search_path is None or not isinstance(error, IntegrityError)

    def _attempt(self, pending: dict[TableName, RowsError], name: TableName, search_path: str | None) -> bool:
        error = self._try(name, search_path, ())
        if error is not None:
            pending[name] = error
            return False
        del pending[name]
        return True

    def _without_constraints(self, name: TableName, error: RowsError) -> bool:
        """Load a table without what refuses its rows, adding one step after another to what is loosened."""
        steps: list[Step] = []
        words, state = words_of(error), state_of(error)
        while (step := self._next_step(error, steps)) is not None:
            steps.append(step)
            if (found := self._try(name, self._path(name), steps, words, state)) is None:
                return True
            error = found
        return False

    def _next_step(self, error: RowsError, done: Sequence[Step]) -> Step | None:
        """Choose what to loosen by what the server said; None when nothing is left that could help."""
        cause = error.__cause__ if isinstance(error, CoffreError) else error
        if not isinstance(cause, psycopg2.Error):
            return None
        is_of_domain = cause.diag.datatype_name is not None
        if isinstance(cause, psycopg2.errors.NotNullViolation) and not is_of_domain:
            return _not_null(cause.diag.column_name, done)
        candidates = (*self._of_checks, *self._of_domains, loosening.drop_expressions)
        if isinstance(cause, psycopg2.errors.NotNullViolation | psycopg2.errors.CheckViolation):
            # A check without a name is the border of a partition.
            of_table = self._of_checks if cause.diag.constraint_name is not None else ()
            candidates = self._of_domains if is_of_domain else of_table
        return next((step for step in candidates if step not in done), None)

    def _try(
        self,
        name: TableName,
        search_path: str | None,
        steps: Sequence[Step],
        words: str = "",
        state: str | None = None,
    ) -> RowsError | None:
        """Load a table in one transaction; return why that is impossible."""
        loosened: list[Loosened] = []

        def before(cursor: Cursor) -> None:
            for step in steps:
                loosened.extend(step(cursor, self._rows.place(name)))
            _set_path(cursor, search_path)

        def after(cursor: Cursor) -> None:
            _set_path(cursor, search_path and _OUR_PATH)
            loosening.restore(cursor, loosened)
            self._note(cursor, name, None if steps else search_path, loosened, words, state)

        try:
            self._reload.load(self._session, name, before, after)
        except (CoffreError, psycopg2.Error) as error:
            if self._session.closed or not may_be_left_out(error):
                raise
            return error
        self._loosened += [(name, thing, words, state) for thing in loosened]
        return None

    def _note(
        self,
        cursor: Cursor,
        name: TableName,
        path: str | None,
        loosened: Sequence[Loosened],
        words: str,
        state: str | None,
    ) -> None:
        damaged = self._damaged.get(name)
        if path is not None or loosened or damaged is not None:
            things = [asdict(thing) for thing in loosened]
            said = {"path": path, "loosened": things, "words": words, "state": state, "damaged": damaged}
            self._rows.note(cursor, name, said)

    def _tighten(self) -> None:
        """Validate what was loosened, now that all tables are loaded, and report what cannot be."""
        reported: set[str] = set()
        with self._session.cursor() as cursor:
            for table, loosened, words, state in self._loosened:
                for thing in loosening.heirs(cursor, loosened):
                    if thing.tightening in reported:
                        continue
                    reported.add(thing.tightening)
                    if thing.is_lost:
                        self._report.leave_out(
                            thing.what, f"the server could not compute them ({words})", thing.tightening, state
                        )
                    elif (refusal := self._tightened(cursor, thing, table)) is not None:
                        kept = (
                            "it is NOT VALID: only new rows have to fulfil it"
                            if thing.is_enforced
                            else "it was dropped"
                        )
                        self._report.leave_out(
                            thing.what,
                            f"rows of the backup break it ({one_line(refusal)}); {kept}",
                            thing.tightening,
                            refusal.pgcode,
                        )

    def _tightened(self, cursor: Cursor, thing: Loosened, table: TableName) -> psycopg2.Error | None:
        """Validate one thing and commit; return why the server refused."""
        refusal: psycopg2.Error | None = None
        for path in (None, *self._rules.search_paths(table)):
            try:
                with self._rows.transaction(self._session):
                    _set_path(cursor, path)
                    cursor.execute(thing.tightening)
            except psycopg2.Error as error:
                if self._session.closed or not is_refusal(error):
                    raise
                refusal = error
            else:
                return None
        return refusal


def _not_null(column: str | None, done: Sequence[Step]) -> Step | None:
    if column is None or any(getattr(step, "column", None) == column for step in done):
        return None
    return _DropNotNull(column)


@dataclass(frozen=True)
class _DropNotNull:
    column: str

    def __call__(self, cursor: Cursor, table: TableName) -> list[Loosened]:
        return loosening.drop_not_null(cursor, table, self.column)


def _set_path(cursor: Cursor, path: str | None) -> None:
    if path is not None:
        cursor.execute("SELECT pg_catalog.set_config('search_path', %s, true)", (path,))
