"""What the steps of a spread backup have in common: the run that they belong to, and a session in its snapshot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup
from coffre.model.errors import CoffreError, ConnectTransientError, DeadlineError, LockLostError, PermanentError
from coffre.operations.backup_database.job import DatabaseBackupJob
from coffre.operations.backup_database.spread.plan_files import SpreadHeader
from coffre.postgres.source.snapshot_relay import Joined, SnapshotGoneError, join_snapshot, snapshot_gone

SILENT_AFTER: Final = timedelta(seconds=30)
"""A holder or a worker without a heartbeat for this long is taken for dead."""

# The newest epoch can end, or its holder be killed, just when it was read; another one follows soon.
_ATTEMPTS: Final = 4
_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 20.0
# What a step needs to do anything once it has a connection.
WORTH_WAITING_SECONDS: Final = 120.0
# What a retry in the same snapshot cannot cure.
_FINAL_CODES: Final = frozenset({"SNAPSHOT_LOST", "SCHEMA_CHANGED"})
# What would be a mistake in the address at the start of a run worked when this one was planned: a network fails for a
# moment, or the server restarts. Then the next attempt says that the snapshot is lost.
_PASSING_CODES: Final = frozenset(
    {"CONNECTION_REFUSED", "CONNECTION_TIMEOUT", "HOST_UNKNOWN", "HOST_UNREACHABLE", "SECRET_UNREADABLE"}
)


@dataclass(frozen=True)
class Step:
    """One step of a run: `job` reads and stores, `header` is the plan's, `backup` the record as the step began.

    `attempt` names this invocation. `remaining_seconds` is the time until the platform ends it; `pause` waits.
    """

    job: DatabaseBackupJob
    header: SpreadHeader
    backup: Backup
    catalog: Catalog
    attempt: str
    remaining_seconds: Callable[[], float]
    pause: Callable[[float], None]

    def require_running(self) -> None:
        """Raise if the run has ended.

        Raises
        ------
        LockLostError
            `RUN_OVER`
        """
        found = self.catalog.get_backup(self.header.backup_id)
        if found.status.is_final:
            raise LockLostError(f"The backup {found.id} has ended: it is {found.status}.", code="RUN_OVER")


def is_final(error: Exception) -> bool:
    """Tell whether an error ends the run, because another attempt at the step would fail as well."""
    if not isinstance(error, CoffreError):
        return True
    if error.code in _PASSING_CODES:
        return False
    # Out of time, another attempt has less to do: stored parts stay.
    return error.code in _FINAL_CODES or (isinstance(error, PermanentError) and not isinstance(error, DeadlineError))


@contextmanager
def newest_snapshot(step: Step) -> Iterator[Joined]:
    """Open a session in the snapshot of the run, from one of its holders; waits as `connected` does.

    Raises
    ------
    SnapshotGoneError
        `SNAPSHOT_LOST`: no session holds it any more.
    ConnectError
        `WRONG_SERVER`, and what `connect` raises.
    """
    with connected(step, lambda stack: _join(step, stack)) as joined:
        yield joined


@contextmanager
def connected[T](step: Step, enter: Callable[[ExitStack], T]) -> Iterator[T]:
    """Give what `enter` returns, and leave the contexts that it has entered at the end.

    While the server has no free connection for all of them, they are left, and this waits: other workers need theirs
    for some minutes only. Who kept some while it waits for others could wait for a worker that does the same.
    """
    with ExitStack() as stack:
        yield _entered(step, enter, stack)


def _entered[T](step: Step, enter: Callable[[ExitStack], T], stack: ExitStack) -> T:
    pause = _PAUSE_SECONDS
    while True:
        try:
            with ExitStack() as attempt:
                entered = enter(attempt)
                stack.enter_context(attempt.pop_all())
                return entered
        except ConnectTransientError as error:
            is_full = error.code == ConnectTransientError.default_code
            if not is_full or step.remaining_seconds() - pause < WORTH_WAITING_SECONDS:
                raise
        step.pause(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        step.require_running()


def _join(step: Step, stack: ExitStack) -> Joined:
    failed = 0
    while True:
        try:
            return _join_once(step, stack)
        except SnapshotGoneError:
            failed += 1
            if failed == _ATTEMPTS:
                raise
        step.pause(_PAUSE_SECONDS)
        step.require_running()


def _join_once(step: Step, stack: ExitStack) -> Joined:
    job, now = step.job, step.job.now()
    gone = snapshot_gone()
    for epoch in step.catalog.spread.epochs(step.header.backup_id):
        if not epoch.is_alive(now, SILENT_AFTER):
            continue
        joining = join_snapshot(
            job.connection,
            job.children,
            epoch.snapshot,
            step.header.identity,
            lock_timeout_seconds=job.target.limits.lock_timeout_seconds,
        )
        try:
            return stack.enter_context(joining)
        except SnapshotGoneError as error:
            gone = error
    raise gone
