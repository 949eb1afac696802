"""What the hourly check does about journals: late ones are reported, and dangerous slots are dropped."""

from __future__ import annotations

from datetime import datetime

from coffre.alerts.journals import journal_late
from coffre.model.configuration import Configuration
from coffre.policy.journal_health import has_journal, late_since
from coffre.runtime.bootstrap import Services
from coffre.runtime.invocations import start


def look_at_journals(services: Services, configuration: Configuration, now: datetime) -> None:
    """Report journals that are late, and have the function journal look after their slots.

    A drain that does not run cannot look after its own slot: this check has another rule.
    """
    states = services.catalog.journals.all()
    changed_at = services.current_configuration().changed_at
    for target in configuration.databases:
        if target.journal is None or not has_journal(target):
            continue
        state = states.get(target.name)
        since = late_since(target.journal, state, now, changed_at)
        if since is not None:
            services.edge.publish(journal_late(target.name, state, since), target=target.name)
    function = services.settings.journal_function
    if function is not None and any(state.slot is not None for state in states.values()):
        start(services.functions, function, {"guard": True})
