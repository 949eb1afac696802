"""When the function `restore` has rows loaded by several invocations together, and how that is started."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from coffre.model.backup import Backup, Status
from coffre.model.database_target import Limits
from coffre.model.errors import CoffreError
from coffre.operations.restore_database.job import Sharing
from coffre.operations.runs.heartbeat import DEADLINE_RESERVE_SECONDS
from coffre.policy.connection_counts import default_streams, streams_that_fit
from coffre.policy.spread import MOST_CONNECTIONS, Earlier, Read, Shape, choose, shape
from coffre.runtime.bootstrap import Services
from coffre.runtime.events.restore import RestoreEvent
from coffre.runtime.observability import log_failure
from coffre.runtime.state_machine import RESTORE_TRANSITIONS, machine

_EARLIER_RUNS: Final = 5


@dataclass(frozen=True)
class SharingRestores:
    """Decides whether rows are loaded by several invocations; `machine_arn` is the state machine that starts them."""

    services: Services
    machine_arn: str

    def of(self, backup: Backup, wanted: RestoreEvent, remaining_seconds: Callable[[], float]) -> Sharing | None:
        """Return how the rows of a restore can be shared; None where it is not one that several can do."""
        if not (wanted.is_resumable and wanted.is_whole and wanted.contents.has_schema):
            return None
        limits = self._limits(backup.target)

        def divide(left_bytes: int, free_connections: int) -> tuple[Shape, str] | None:
            earlier = self.earlier(backup.target)
            choice = choose(limits.spread, left_bytes, earlier, remaining_seconds() - DEADLINE_RESERVE_SECONDS)
            self.services.edge.logger.info(
                "one function or several",
                extra={"target": backup.target, "spread": choice.is_spread, "why": choice.why},
            )
            if not choice.is_spread:
                return None
            most = wanted.streams or limits.streams or MOST_CONNECTIONS
            connections = streams_that_fit(most, free_connections)
            streams = default_streams(os.cpu_count() or 1)
            return shape(left_bytes, earlier, streams=streams, connections=connections), choice.why

        return Sharing(divide, is_demanded=limits.spread == "always")

    def earlier(self, target: str) -> Earlier:
        """Return how fast one function restored backups of a target; a chain of them says little."""
        read = []
        for one in self.services.catalog.restores(target, status=Status.COMPLETED):
            if one.invocation == 1 and not (one.dry_run or one.is_export) and one.duration_ms:
                read.append(Read(one.progress.done_bytes, one.duration_ms / 1000))
            if len(read) == _EARLIER_RUNS:
                break
        return Earlier(tuple(read))

    def start(self, event: Mapping[str, Any], sharing: Sharing) -> bool:
        """Start those who load, if that was decided; False: it was not, or cannot be done.

        A restore that is not shared is slower, and no less done.

        Parameters
        ----------
        event
            What continues the restore when they have ended.
        """
        if sharing.begun is None:
            return False
        sharing_id, divided = sharing.begun
        given = {
            "restore": event,
            "sharing": sharing_id,
            "shares": list(range(divided.width)),
            "width": divided.width,
            "streams": divided.streams,
        }
        name = f"{event['restore_id']}-{event['invocation']}-{event.get('resume') or event['restore_id']}"
        try:
            machine(self.services.machines, self.machine_arn).start(name, given)
        except CoffreError as error:
            log_failure(self.services.edge.logger, error, restore_id=event["restore_id"])
            return False
        transitions = RESTORE_TRANSITIONS["begin"] + RESTORE_TRANSITIONS["share"] * divided.width
        self.services.metering.tally.add(transitions=transitions)
        return True

    def _limits(self, target: str) -> Limits:
        with suppress(CoffreError):  # a backup can outlive its target, and is restored without a configuration too
            return self.services.configuration().database(target).limits
        return Limits()
