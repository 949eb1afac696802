"""A base of a journal that is asked for: a backup out of the schedule."""

from __future__ import annotations

from typing import Final

from coffre.model.errors import SettingsError
from coffre.model.journal_options import JournalOptions
from coffre.runtime.bootstrap import Services
from coffre.runtime.events.backup import BackupDatabaseEvent
from coffre.runtime.invocations import start

_ACTOR: Final = "journal"


def ask_for_base(services: Services, target: str, options: JournalOptions, why: str) -> None:
    """Start a backup of a target, which rotation keeps for the window of its journal.

    Raises
    ------
    SettingsError
        The function does not know which one backs databases up.
    TransientError
        `INVOKE_FAILED`
    """
    function = services.settings.backup_database_function
    if function is None:
        raise SettingsError(
            f"The function {services.name} does not know which function backs databases up.",
            hint="template.yaml sets COFFRE_BACKUP_DATABASE_FUNCTION: deploy the stack again.",
        )
    # Moments of the whole window need it, and rotation deletes it afterwards.
    wanted = BackupDatabaseEvent(target=target, actor=_ACTOR, keep=f"{options.window_days + 1}d")
    start(services.functions, function, wanted.for_target(target))
    services.edge.logger.info("a base was asked for", extra={"target": target, "why": why})
