"""The function `restore`, for databases: where they go, in as many invocations as it takes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from coffre.model.backup import Backup, Restore
from coffre.model.confirmation import Plan
from coffre.model.errors import CoffreError, DeadlineError
from coffre.model.journal_proof import JournalProof
from coffre.model.provider import Provider
from coffre.model.restore import Scope
from coffre.model.restore_report import RestoreReport
from coffre.operations.restore_database.job import RestoreJob, Sharing
from coffre.operations.restore_database.restore import restore_database
from coffre.operations.restore_database.resume import how_to_continue, how_to_put_in_place
from coffre.operations.runs.heartbeat import DEADLINE_RESERVE_SECONDS, Watch
from coffre.operations.runs.parallel_map import ThreadRunner
from coffre.operations.runs.progress import Meter
from coffre.operations.runs.run import Paused
from coffre.operations.runs.safety import named_on_error
from coffre.postgres.connection.address import Connection, apply_tls
from coffre.postgres.connection.client_tools import Children
from coffre.postgres.connection.poolers import refuse_transaction_pooler
from coffre.runtime.bootstrap import Services
from coffre.runtime.credentials import connection_from, target_connection
from coffre.runtime.events.restore import RestoreEvent
from coffre.runtime.function import LambdaContext, clearing_seconds, remaining_seconds
from coffre.runtime.invocations import MOST_INVOCATIONS, start_next
from coffre.runtime.reading import OpenBackup
from coffre.runtime.restore_runs import begun, run_of
from coffre.runtime.restore_safety import RestoreSafety
from coffre.runtime.restore_sharing import SharingRestores
from coffre.runtime.scratch import scratch_directory

_FROM_TO: Final = "coffre/destination/"
# An invocation of less time could only prepare the next one.
_SHORTEST_SECONDS: Final = 120.0
# Half of it, when what was begun is ended, has to be more than the deadline's reserve.
_EARLIEST_SECONDS: Final = 2 * DEADLINE_RESERVE_SECONDS + 4
_LATEST_SECONDS: Final = 90.0


@dataclass(frozen=True)
class _Attempt:
    """One invocation's part of a restore."""

    found: OpenBackup
    wanted: RestoreEvent
    restore_id: str
    continues: bool
    sharing: Sharing | None


@dataclass(frozen=True)
class DatabaseRestores:
    """What restores of databases need of the function's process.

    `report_started` reports a restore that begins, `report_died` an earlier one that died; `consent` is that of a job;
    `watched` gets the watch of the run; `sharing` says when several invocations load rows together (None: never).
    """

    services: Services
    report_started: Callable[[Restore], None]
    report_died: Callable[[Restore], None]
    consent: Callable[[Plan], Plan]
    watched: Callable[[Watch], None] = lambda _: None
    sharing: SharingRestores | None = None

    def restore(
        self, found: OpenBackup, wanted: RestoreEvent, restore_id: str, context: LambdaContext, *, continues: bool
    ) -> Restore | None:
        """Restore as much as fits into this invocation, and start the next one for what is left.

        None: it has ended, or another invocation works on it.
        """
        backup = found.backup
        owner_id = wanted.resume or restore_id
        children = Children(clearing_seconds(context), owner_id)
        run = run_of(
            self.services, found, context, children.end_all, report_died=self.report_died, watched=self.watched
        )
        restore = begun(self.services, backup, wanted, restore_id, context, self.report_started, continues=continues)
        if restore is None:
            return None
        sent = wanted.sent_by(self.services.actor(wanted))  # now: a proof is valid for minutes
        sharing = self.sharing.of(backup, wanted, remaining_seconds(context)) if self.sharing else None

        def work(meter: Meter) -> RestoreReport | Paused:
            attempt = _Attempt(found, wanted, restore_id, continues, sharing)
            done = self._work(attempt, children, meter, context)
            return done or Paused(
                wanted.invocation, lambda: self._start_next(backup, sent, restore_id, context, sharing)
            )

        return run.run(restore, work, continues=continues)

    def _start_next(
        self,
        backup: Backup,
        wanted: RestoreEvent,
        restore_id: str,
        context: LambdaContext,
        sharing: Sharing | None,
    ) -> None:
        invocation = wanted.invocation + 1
        hint = continued_by_hand(backup.id, restore_id, wanted.resume or restore_id, wanted.scope)
        if invocation > MOST_INVOCATIONS:
            raise DeadlineError(
                f"The restore is not done after {MOST_INVOCATIONS} invocations, and was ended.", hint=hint
            )
        event = wanted.next_invocation(backup.id, restore_id, invocation)
        if self.sharing is not None and sharing is not None and self.sharing.start(event, sharing):
            return  # which sends the event when the rows are loaded
        start_next(
            self.services.functions,
            context.function_name,
            event,
            what="The restore",
            hint=hint,
        )

    def _work(
        self,
        attempt: _Attempt,
        children: Children,
        meter: Meter,
        context: LambdaContext,
    ) -> RestoreReport | None:
        """Restore, and return the report; None when the next invocation continues."""
        found, wanted, backup = attempt.found, attempt.wanted, attempt.found.backup
        streams, remaining = wanted.streams or os.cpu_count() or 1, remaining_seconds(context)
        # The CA's file is needed until the last session is ended.
        with scratch_directory() as scratch, children.ending():
            connection = children.watching(connection_to(self.services, backup, wanted, scratch))
            safety = None
            if not attempt.continues:
                safety = RestoreSafety(self.services, found.vault).of_database(backup, wanted, connection, scratch)
            job = RestoreJob(
                restore_id=attempt.restore_id,
                backup=backup,
                connection=connection,
                children=children,
                vault=found.vault,
                decoder=self.services.decoder(backup.target),
                scratch=scratch,
                streams=streams,
                runner=ThreadRunner(2 * streams, children.end_all),
                scope=wanted.scope,
                safety=safety,
                remaining_seconds=remaining,
                consent=self.consent,
                provider=provider_of(self.services, backup, wanted),
                is_resumable=wanted.is_resumable and remaining() >= _SHORTEST_SECONDS,
                late_seconds=late_seconds(remaining()),
                continues=attempt.continues,
                sharing=attempt.sharing,
                journal=self.services.catalog.journals.find(backup.target) if wanted.at else None,
                proofs=self._proofs(backup.target) if wanted.at else (),
            )
            try:
                with named_on_error(safety):
                    return restore_database(job, meter)
            except Exception:
                if children.has_paused:
                    return None
                raise

    def _proofs(self, target: str) -> tuple[JournalProof, ...] | None:
        try:
            return self.services.catalog.journal_proofs.of(target)
        except CoffreError:  # the report of the restore says it
            return None


def continued_by_hand(backup_id: str, restore_id: str, owner_id: str, scope: Scope) -> str:
    """Return what a person does when nothing continues a restore by itself.

    Parameters
    ----------
    owner_id
        The id of the restore that began at the destination.
    """
    if not (scope.replace and scope.is_whole):
        return how_to_continue(backup_id, owner_id, "the destination", scope)
    place = f"the database with the name ..._restored_{restore_id.lower()}"
    then = how_to_put_in_place(backup_id, restore_id)
    return f"{how_to_continue(backup_id, restore_id, place, scope)} {then}"


def late_seconds(lifetime_seconds: float) -> float:
    """Return how long before its end an invocation begins nothing more: nine tenths of its life are for work."""
    return min(_LATEST_SECONDS, max(_EARLIEST_SECONDS, lifetime_seconds / 10))


def connection_to(services: Services, backup: Backup, wanted: RestoreEvent, scratch: Path) -> Connection:
    """Return how to reach the destination, by default the target's own database with its own TLS settings."""
    if wanted.destination is not None:
        # The command stores the value of --to in a secret of this name while the restore runs.
        place = "--to" if wanted.destination == f"{_FROM_TO}{wanted.restore_id}" else None
        connection = connection_from(services.secret, wanted.destination, place=place)
    else:
        target = services.configuration().database(backup.target)
        own = target_connection(services.secret, target)
        timeout = target.limits.connect_timeout_seconds
        connection = apply_tls(own, target.tls, scratch, connect_timeout_seconds=timeout, read_secret=services.secret)
    refuse_transaction_pooler(connection)
    return connection


def provider_of(services: Services, backup: Backup, wanted: RestoreEvent) -> Provider:
    """Return what the configuration says of the target's own database; another one is recognized."""
    return "auto" if wanted.destination else services.configuration().database(backup.target).provider
