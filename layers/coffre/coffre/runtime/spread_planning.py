"""When the function `backup_database` has a backup taken by several invocations together, and how that is started."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from typing import Final

from coffre.model.audit import Actor
from coffre.model.database_target import DatabaseTarget
from coffre.model.errors import DeadlineError
from coffre.operations.backup_database.job import Division, Spreading
from coffre.operations.backup_database.spread.begin import Beginning, begin_spread
from coffre.operations.backup_database.spread.plan_files import StoredPlan
from coffre.operations.runs.heartbeat import DEADLINE_RESERVE_SECONDS
from coffre.policy.connection_counts import default_streams, streams_that_fit
from coffre.policy.spread import MOST_CONNECTIONS, Earlier, Read, choose, shape
from coffre.runtime.bootstrap import Services
from coffre.runtime.environment import PostgresSettings
from coffre.runtime.function import LambdaContext, remaining_seconds
from coffre.runtime.state_machine import TRANSITIONS, machine

_EARLIER_RUNS: Final = 5


@dataclass(frozen=True)
class SpreadPlanning:
    """Decides whether a backup is spread, and starts the state machine of one that is."""

    services: Services
    settings: PostgresSettings | None

    def spreading(self, target: DatabaseTarget, actor: Actor, context: LambdaContext) -> Spreading | None:
        """Return how a run of this target can be spread; None where there is no state machine."""
        settings = self.settings
        if settings is None or settings.spread_machine is None:
            return None

        def divide(total_bytes: int, free_connections: int) -> Division | None:
            window = remaining_seconds(context)() - DEADLINE_RESERVE_SECONDS
            earlier = self.earlier(target.name)
            choice = choose(target.limits.spread, total_bytes, earlier, window)
            self.services.edge.logger.info(
                "one function or several", extra={"target": target.name, "spread": choice.is_spread, "why": choice.why}
            )
            if not choice.is_spread:
                return None
            connections = streams_that_fit(target.limits.streams or MOST_CONNECTIONS, free_connections)
            divided = shape(
                total_bytes,
                earlier,
                streams=self._streams,
                connections=connections,
                group_bytes=settings.spread_group_bytes,
            )
            return Division(divided, choice.why)

        beginning = Beginning(
            catalog=self.services.catalog,
            start=partial(self._start, settings),
            actor=actor,
            request_id=context.aws_request_id,
        )
        return Spreading(divide, partial(begin_spread, beginning))

    @property
    def _streams(self) -> int:
        return default_streams(os.cpu_count() or 1)

    def earlier(self, target: str) -> Earlier:
        """Return what is known of earlier runs of a target."""
        catalog = self.services.catalog
        complete = [one for one in catalog.completed_backups(target)[:_EARLIER_RUNS] if not one.is_safety]
        read = tuple(
            Read(one.plaintext_bytes, one.duration_ms / 1000, one.workers or 1)
            for one in complete
            if one.plaintext_bytes is not None and one.duration_ms is not None
        )
        ended = next((one for one in catalog.newest(target, _EARLIER_RUNS) if one.status.is_final), None)
        is_late = ended is not None and ended.failure is not None and ended.failure.code == DeadlineError.default_code
        return Earlier(read, ran_out_of_time=is_late)

    def _start(self, settings: PostgresSettings, target: str, backup_id: str, plan: StoredPlan, width: int) -> None:
        key = f"{settings.vault_prefix.strip('/')}/{plan.key}".lstrip("/")
        given = {
            "target": target,
            "backup_id": backup_id,
            "plan": {"bucket": settings.vault_bucket, "key": key, "sha256": plan.sha256},
            "width": width,
        }
        machine(self.services.machines, settings.spread_machine).start(backup_id, given)
        self.services.metering.tally.add(transitions=TRANSITIONS["begin"])
