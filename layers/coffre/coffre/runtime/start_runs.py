"""Which targets an event without a target starts: every one, those that follow the template's rules, or those due."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from coffre.model.any_target import AnyTarget
from coffre.model.cron import SHORTEST_MINUTES
from coffre.policy.schedule import due
from coffre.runtime.bootstrap import Services
from coffre.runtime.events.backup import BackupDatabaseEvent
from coffre.runtime.invocations import start_each

type _Target = AnyTarget


@dataclass(frozen=True)
class StartRuns:
    """Starts one invocation of a function for each target; `function` is its deployed name."""

    services: Services
    function: str

    def start(self, wanted: BackupDatabaseEvent, targets: Sequence[_Target]) -> dict[str, Any]:
        """Start what an event means that names no target.

        Raises
        ------
        TransientError
            `INVOKE_FAILED`, naming every target whose invocation could not be started. The others were started.
        CatalogError
            It is not known, or could not be recorded, what was started before.
        """
        at = wanted.scheduled_time
        if wanted.due and at is not None:
            return self._start_due(wanted, at, targets)
        sent = wanted.sent_by(self.services.actor(wanted))
        # A rule of the template is for those that follow it; a person who names no target means every one.
        named = [one.name for one in targets if at is None or one.schedule is None]
        events = [(name, sent.for_target(name)) for name in named]
        return {"started": start_each(self.services.functions, self.function, events, "backup")}

    def _start_due(self, wanted: BackupDatabaseEvent, tick: datetime, targets: Sequence[_Target]) -> dict[str, Any]:
        """Start what is due since the last tick. A repeated tick joins the same backups: their slots are the same."""
        ticks = self.services.catalog.ticks
        after = ticks.last(self.services.name)
        if after is None:  # from now on nothing is missed, this one included
            after = tick - timedelta(minutes=SHORTEST_MINUTES)
            ticks.advance(self.services.name, after)
        events = list(_due_events(wanted, targets, after, tick))
        started = start_each(self.services.functions, self.function, events, "backup")
        if after < tick:
            ticks.advance(self.services.name, tick)
        return {"started": started}


def _due_events(
    wanted: BackupDatabaseEvent, targets: Sequence[_Target], after: datetime, tick: datetime
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield an event for each tier of each run that is due: runs of one slot share one backup, with all their tiers."""
    for target in targets:
        run = due(target.schedule, after, tick) if target.schedule is not None else None
        for tier in run.tiers if run is not None else ():
            changes = {"due": False, "tier": tier, "scheduled_time": run.slot if run else None}
            yield target.name, wanted.model_copy(update=changes).for_target(target.name)
