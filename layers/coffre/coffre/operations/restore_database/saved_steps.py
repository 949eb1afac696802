"""What a restore knows, kept at the destination after each step, so that another attempt continues.

Inside a step, marks say what is done (`postgres/destination/marks.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

import psycopg2.extensions

from coffre.model.errors import RestoreError
from coffre.model.names import TableName
from coffre.operations.restore_database.job import RestoreJob
from coffre.operations.restore_database.provider_objects import Fate
from coffre.operations.restore_database.report_builder import ReportBuilder
from coffre.operations.restore_database.resume import how_to_continue, refuse_other, restored_by
from coffre.operations.restore_database.sessions import loading_session
from coffre.postgres.archive.reader import TocEntry
from coffre.postgres.destination import marks
from coffre.postgres.destination.destination import Destination
from coffre.postgres.destination.ledger import Ledger

_KNOWN: Final = "known"
_ATTEMPTS: Final = "attempts"
# Attempts one after the other that got nothing done, and had nothing to wait for.
_MOST_IDLE: Final = 3
_LOOK_SECONDS: Final = 1.0


@dataclass
class Memory:
    """What is known of one restore; `lost` are tables that lack all or some rows, `kept_out` those that keep others.

    `facts` are what a kind of restore has found out and decided besides, as JSON: each attempt has those of the first.
    Where the destination keeps no marks, every step is simply done. `is_ours` asks whether no other attempt has taken
    the restore over: what is cleared after an error would be the other one's.
    """

    job: RestoreJob
    report: ReportBuilder
    session: psycopg2.extensions.connection | None = None
    done: list[str] = field(default_factory=list)
    lost: set[TableName] = field(default_factory=set)
    kept_out: set[TableName] = field(default_factory=set)
    facts: dict[str, Any] = field(default_factory=dict)
    is_ours: Callable[[], bool] = lambda: True
    _known: dict[str, Any] | None = None
    _save: Callable[[], Mapping[str, Any]] = field(default=dict)

    @classmethod
    @contextmanager
    def open(cls, job: RestoreJob, report: ReportBuilder) -> Iterator[Memory]:
        """Read what an earlier attempt has left, once the server has finished what that one was doing.

        Raises
        ------
        RestoreError
            `RESTORE_STUCK`: several attempts got nothing done. `RESUME_OTHER`: the earlier restore had another backup,
            or other contents.
        """
        if not job.is_resumable:
            yield cls(job, report)
            return
        with loading_session(job) as session:
            memory = cls(job, report, session)
            has_waited = _wait_for_lasting(job, session, report)
            state = memory.read(marks.STATE)
            memory._known = state.get(_KNOWN)
            if memory._known is not None:
                refuse_other(job, memory._known)
                memory.facts = dict(memory._known.get("facts", {}))
                memory._count_attempt(session, memory._known, state.get(_ATTEMPTS, {}), has_waited=has_waited)
            yield memory

    @property
    def is_kept(self) -> bool:
        """Whether the destination keeps marks of what is done."""
        return self.session is not None

    @property
    def is_resumed(self) -> bool:
        """Whether an earlier attempt has made the definitions."""
        return self._known is not None

    def destination(self, destination: Destination) -> Destination:
        """Return the destination as it was before the restore."""
        if self._known is None:
            return destination
        with self._of_this_version():
            then = self._known["destination"]
            return replace(
                destination,
                schemas=frozenset(then["schemas"]),
                given=frozenset(then["given"]),
                exceptions=tuple(then["exceptions"]),
                leftovers=(),
            )

    def fates(self, fates: Mapping[int, Fate]) -> Mapping[int, Fate]:
        """Return what the provider had made before the restore."""
        if self._known is None:
            return fates
        with self._of_this_version():
            return {int(key): Fate[name] for key, name in self._known["fates"].items()}

    def attach(
        self, destination: Destination, ledger: Ledger, fates: Mapping[int, Fate], by_id: Mapping[int, TocEntry]
    ) -> None:
        """Say of what it keeps the state, which becomes that of the last step that was done."""
        then = {
            **restored_by(self.job),
            "destination": {
                "schemas": sorted(destination.schemas),
                "given": sorted(destination.given),
                "exceptions": destination.exceptions,
            },
            "fates": {str(key): fate.name for key, fate in fates.items()},
        }
        self._save = lambda: {**then, "ledger": ledger.state(), "report": self.report.state()}
        if (known := self._known) is not None:
            with self._of_this_version():
                ledger.take_up(known["ledger"], by_id)
                self.report.take_up(known["report"])
                self.done = list(known["done"])
                self.lost = {(schema, table) for schema, table in known["lost"]}
                self.kept_out = {(schema, table) for schema, table in known["kept_out"]}

    @contextmanager
    def _of_this_version(self) -> Iterator[None]:
        """Refuse what an attempt of another version has kept in another form: a deployment came in between."""
        try:
            yield
        except (LookupError, TypeError, ValueError) as error:
            raise RestoreError(
                f"The restore {self.job.owner_id} into {self.job.connection} was begun by another version of Coffre, "
                "which keeps in another form what is done.",
                code="RESUME_OTHER",
                detail=type(error).__name__,
                hint="Nothing was removed. Continue it with --resume and the version that began it, or drop what it "
                "has made, and restore again.",
            ) from error

    def step(self, name: str, work: Callable[[], None]) -> None:
        """Do a step, unless an earlier attempt has done it."""
        if name in self.done:
            return
        self.job.check_time()
        work()
        if name not in self.done:
            self.done.append(name)
        self.save()

    def save(self) -> None:
        """Write down what is known."""
        if self.session is not None:
            self._write(self.session)
            self.session.commit()

    def save_step(self, name: str, session: psycopg2.extensions.connection) -> None:
        """Write down in the open transaction of a session that a step is done by it."""
        self.done.append(name)
        if self.is_kept:
            self._write(session)

    def _write(self, session: psycopg2.extensions.connection) -> None:
        known = {
            **self._save(),
            "done": self.done,
            "lost": sorted(self.lost),
            "kept_out": sorted(self.kept_out),
            "facts": self.facts,
        }
        with session.cursor() as cursor:
            marks.replace(cursor, marks.STATE, _KNOWN, known, self.job.marks_schema)

    def read(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return the marks of one kind."""
        if self.session is None:
            return {}
        found = marks.read(self.session, kind, self.job.marks_schema)
        self.session.commit()
        return found

    def _count_attempt(
        self,
        session: psycopg2.extensions.connection,
        known: Mapping[str, Any],
        before: Mapping[str, Any],
        *,
        has_waited: bool,
    ) -> None:
        applied = self.read(marks.JOURNAL).values()  # the mark of a journal is moved, and not added to
        so_far = marks.count(session, self.job.marks_schema) + len(known["done"])
        so_far += sum(int(position["transactions"]) for position in applied)
        idle = int(before.get("idle", 0)) + 1 if so_far == before.get("so_far") and not has_waited else 0
        if self.job.scope.resume and not self.job.continues:
            idle = 0  # a person has asked for it
        if idle >= _MOST_IDLE:
            raise RestoreError(
                f"The restore {self.job.restore_id} was continued {idle} times and got nothing more done.",
                code="RESTORE_STUCK",
                detail=f"last step done: {known['done'][-1]}",
                hint="One step takes longer than a function lives, and the server does not finish it without its "
                "client (a pooler in between cancels it, or a limit of the role). "
                f"{how_to_continue(self.job.backup.id, self.job.owner_id, str(self.job.connection), self.job.scope)} "
                "Give the server's direct address; --here has no time limit.",
            )
        with session.cursor() as cursor:
            marks.replace(cursor, marks.STATE, _ATTEMPTS, {"so_far": so_far, "idle": idle}, self.job.marks_schema)
        session.commit()


def _wait_for_lasting(job: RestoreJob, session: psycopg2.extensions.connection, report: ReportBuilder) -> bool:
    """Wait until the server has finished what an earlier attempt began to build; tell whether there was anything."""
    sessions = job.connection.sessions
    if sessions is None:
        return False
    with session.cursor() as cursor:
        has_waited = False
        while True:
            cursor.execute(_LASTING, (sessions.lasting_name,))
            running = [str(statement) for (statement,) in cursor.fetchall()]
            session.commit()
            if not running:
                return has_waited
            has_waited = True
            report.meter.begin("waiting for the server")
            report.meter.add(current=" ".join(running[0].split())[:100])
            job.check_time()
            time.sleep(_LOOK_SECONDS)


_LASTING: Final = """
SELECT query FROM pg_catalog.pg_stat_activity
WHERE application_name = %s AND state IN ('active', 'fastpath function call')
ORDER BY query_start
"""
