"""The function `restore`, as one of several invocations that load the rows of a restore together."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from coffre.catalog.runs import cancelled_by
from coffre.catalog.spread import GroupState
from coffre.model.backup import Failure, Progress, Restore, Status
from coffre.model.errors import (
    BackupStateError,
    CoffreError,
    DeadlineError,
    LockLostError,
    TransientError,
)
from coffre.model.restore import Scope
from coffre.operations.restore_database.consent import restored_name
from coffre.operations.restore_database.job import RestoreJob, open_source
from coffre.operations.restore_database.shared_loading import ShareOfRows
from coffre.operations.runs import restore_record
from coffre.operations.runs.heartbeat import Watch
from coffre.operations.runs.parallel_map import ThreadRunner
from coffre.operations.runs.progress import Meter
from coffre.operations.runs.run import HAND_OVER_WITHIN
from coffre.postgres.connection.client_tools import Children
from coffre.postgres.connection.sessions import sharing_id
from coffre.runtime.bootstrap import Services
from coffre.runtime.confirming import refuse_unconfirmed
from coffre.runtime.events.restore import OWN_DATABASE, RestoreShareEvent, RestoreStoppedEvent
from coffre.runtime.function import LambdaContext, clearing_seconds, remaining_seconds, utc_now
from coffre.runtime.observability import log_failure
from coffre.runtime.reading import OpenBackup, Reading
from coffre.runtime.restore_database_function import (
    connection_to,
    continued_by_hand,
    late_seconds,
    provider_of,
)
from coffre.runtime.scratch import scratch_directory
from coffre.runtime.state_machine import RESTORE_TRANSITIONS

_BEAT_SECONDS: Final = 5.0
_SILENT_AFTER: Final = timedelta(seconds=30)


@dataclass(frozen=True)
class RestoreShares:
    """Loads shares of rows, and ends restores whose state machine was stopped.

    `report_died` reports a restore that ends here; `watched` gets the watch of each share.
    """

    services: Services
    report_died: Callable[[Restore], None]
    watched: Callable[[Watch], None] = lambda _: None

    def load(self, event: RestoreShareEvent, context: LambdaContext) -> dict[str, Any]:
        """Load one share. `over` says whether it is done; the state machine sends the event again if it is not.

        Raises
        ------
        TransientError
            Another attempt may succeed.
        CoffreError
            It would not. The restore continues without its shares, and finds out why.
        """
        wanted = event.restore
        restore = self.services.catalog.get_restore(wanted.restore_id or "")
        self.services.metering.about(restore.target, restore.id)
        self.services.metering.tally.add(transitions=RESTORE_TRANSITIONS["load"])
        if restore.status.is_final:
            return {"over": True}
        if restore.cancelled_by is not None:
            raise cancelled_by("restore", restore.id, restore.cancelled_by)
        reading = Reading(self.services, wanted.source)
        found = reading.open(reading.backup(wanted.backup_id))
        refuse_unconfirmed(self.services.catalog, found.backup, wanted, restore.id)
        try:
            return {"over": self._load(event, restore, found, context)}
        except LockLostError:
            return {"over": True}
        except (TransientError, DeadlineError) as error:
            log_failure(self.services.edge.logger, error, target=restore.target, restore_id=restore.id)
            raise TransientError(error.message, code=error.code, detail=error.detail, hint=error.hint) from error
        finally:
            self._hand_over(restore.id, wanted.invocation)

    def _load(self, event: RestoreShareEvent, restore: Restore, found: OpenBackup, context: LambdaContext) -> bool:
        """Load, and return whether nothing is left."""
        remaining, meter = remaining_seconds(context), Meter()
        children = Children(clearing_seconds(context), sharing_id(event.restore.resume or restore.id))
        with scratch_directory() as scratch, children.ending():
            job = self._job(event, found, children, scratch, remaining)
            share = ShareOfRows(job, event.sharing, event.share, event.width, meter)
            said = _Said(self.services, event, context.aws_request_id, restore, share)
            watch = Watch(
                meter,
                beat=lambda _: said.beat(),
                remaining_seconds=remaining,
                stop=children.end_all,
                beat_seconds=_BEAT_SECONDS,
            )
            self.watched(watch)
            try:
                watch.run(lambda: share.load(open_source(job)))
            except Exception as error:
                said.say(is_over=True, failure=Failure.of(error))
                if not children.has_paused:
                    raise
                if meter.read().done_bytes <= 0:
                    raise TransientError(
                        f"A share of the rows of the restore {restore.id} got nothing done within one invocation.",
                        code=DeadlineError.default_code,
                    ) from error
                return False
            said.say(is_over=True)
        return True

    def _job(
        self,
        event: RestoreShareEvent,
        found: OpenBackup,
        children: Children,
        scratch: Path,
        remaining: Callable[[], float],
    ) -> RestoreJob:
        wanted, backup, restore_id = event.restore, found.backup, event.restore.restore_id or ""
        connection = connection_to(self.services, backup, wanted, scratch)
        if wanted.replace:
            connection = connection.to_database(restored_name(connection.database, restore_id))
        return RestoreJob(
            restore_id=restore_id,
            backup=backup,
            connection=children.watching(connection),
            children=children,
            vault=found.vault,
            decoder=self.services.decoder(backup.target),
            scratch=scratch,
            streams=event.streams,
            runner=ThreadRunner(2 * event.streams, children.end_all),
            scope=wanted.scope,
            remaining_seconds=remaining,
            provider=provider_of(self.services, backup, wanted),
            is_resumable=True,
            late_seconds=late_seconds(remaining()),
            continues=True,
        )

    def _hand_over(self, restore_id: str, invocation: int) -> None:
        """Keep the restore from being taken for dead until the state machine continues it."""
        with suppress(CoffreError):
            self.services.catalog.hand_over_restore(restore_id, invocation, utc_now() + HAND_OVER_WITHIN)

    def settle(self, event: RestoreStoppedEvent) -> dict[str, Any]:
        """End a restore whose state machine was stopped before it continued the restore."""
        catalog, restore = self.services.catalog, self.services.catalog.get_restore(event.restore_id)
        self.services.metering.about(restore.target, restore.id)
        if not restore.status.is_final and restore.invocation < event.invocation:
            failed = restore_record.ended(restore, restore.progress, Status.FAILED, utc_now())
            failed = failed.model_copy(update={"failure": _why(restore, event)})
            with suppress(BackupStateError):  # it has ended in another way just now
                restore = catalog.finish_restore(failed)
                self.report_died(restore)
        return {"id": restore.id, "target": restore.target, "status": restore.status.value}


@dataclass
class _Said:
    """What one share says of itself in the catalog, and of all of them together in the record of the restore."""

    services: Services
    event: RestoreShareEvent
    attempt: str
    restore: Restore
    share: ShareOfRows
    before: GroupState | None = None  # an earlier attempt at the share

    def __post_init__(self) -> None:
        found = self.services.catalog.spread.groups(self._run)
        self.before = next((one for one in found if one.number == self.event.share), None)

    @property
    def _run(self) -> str:
        # Rows can be shared more than once in a restore.
        return self.event.sharing

    def say(self, *, is_over: bool = False, failure: Failure | None = None) -> None:
        """Record how far the share is, or how the attempt ended."""
        done = self.share.meter.read()
        state = GroupState(
            number=self.event.share,
            attempt=self.attempt,
            seen_at=utc_now(),
            done_bytes=done.done_bytes + (self.before.done_bytes if self.before else 0),
            done_tables=done.done_tables + (self.before.done_tables if self.before else 0),
            current=done.current,
            is_over=is_over,
            failure=failure,
        )
        self.services.catalog.spread.put_group(self._run, state)

    def beat(self) -> None:
        """Record that the restore is alive, and how far all shares together are.

        Raises
        ------
        LockLostError
            It has ended.
        RunCancelledError
            A person wants it to end.
        """
        self.say()
        self.services.catalog.heartbeat_restore(self.restore.id, utc_now(), self._progress())

    def _progress(self) -> Progress:
        whole, now = self.share.whole, utc_now()
        if whole is None:
            return self.restore.progress
        groups = self.services.catalog.spread.groups(self._run)
        newest = max(groups, key=lambda group: group.seen_at, default=None)
        return Progress(
            phase="tables",
            done_bytes=min(whole.total_bytes, whole.done_bytes + sum(one.done_bytes for one in groups)),
            total_bytes=whole.total_bytes,
            done_tables=min(whole.total_tables, whole.done_tables + sum(one.done_tables for one in groups)),
            total_tables=whole.total_tables,
            current=newest.current if newest else None,
            workers=sum(one.is_alive(now, _SILENT_AFTER) for one in groups),
        )


def _why(restore: Restore, event: RestoreStoppedEvent) -> Failure:
    scope = Scope(replace=restore.destination == OWN_DATABASE)
    return Failure(
        code="SPREAD_STOPPED",
        message="The state machine that has the rows of the restore loaded was stopped, or a step of it could not be "
        f"repeated: status {event.status}.",
        hint="Its execution has the id of the restore in its name; its events, and the function's log, say more. "
        f"{continued_by_hand(restore.backup_id, restore.id, event.owner_id, scope)}",
    )
