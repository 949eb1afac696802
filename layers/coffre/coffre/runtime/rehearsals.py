"""How long a rehearsal of a recovery took, as the function `drill` notes it."""

from __future__ import annotations

from typing import Any

from coffre.model.configuration import Configuration
from coffre.model.drill import Rehearsal
from coffre.model.words import span
from coffre.runtime.bootstrap import Services
from coffre.runtime.events.drill import DrillEvent, Rehearsed
from coffre.runtime.function import utc_now


def note_rehearsal(
    services: Services, configuration: Configuration, wanted: DrillEvent, rehearsed: Rehearsed
) -> dict[str, Any]:
    """Note how long a rehearsal took, of the targets that are configured."""
    now, known = utc_now(), {target.name for target in configuration.targets}
    noted = sorted(known & rehearsed.seconds.keys())
    for target in noted:
        seconds = rehearsed.seconds[target]
        rehearsal = Rehearsal(id=rehearsed.id, target=target, completed_at=now, seconds=seconds)
        services.catalog.latest.note_rehearsal(rehearsal)
        actor = services.actor(wanted)
        services.edge.audit(actor, "recovery.rehearsed", target, rehearsed.id, f"in {span(seconds)}")
    return {"noted": noted, "unknown": sorted(rehearsed.seconds.keys() - known)}
