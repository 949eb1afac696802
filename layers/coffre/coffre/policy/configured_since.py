"""Since when a target is backed up at the times of now: what the versions of the configuration say of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from coffre.model.any_target import AnyTarget
from coffre.model.configuration import Configuration
from coffre.model.database_target import FoundDatabase


@dataclass(frozen=True)
class Changed:
    """When the times of a target's backups were last changed.

    `before` is the target as it was until then; None: it was in no document, or nothing is known of that.
    """

    at: datetime
    before: AnyTarget | None = None


def last_changed(target: AnyTarget, documents: Iterable[tuple[datetime, Configuration | None]]) -> Changed | None:
    """Return when a target became one with its `schedule` and `freshness`; other changes of a document do not count.

    Parameters
    ----------
    documents
        The newest first, each with when it took effect; None: it cannot be read.
    """
    since: datetime | None = None
    for at, configuration in documents:
        before = _same(target, configuration) if configuration is not None else None
        if before is None or (before.schedule, before.freshness) != (target.schedule, target.freshness):
            return Changed(since, before) if since is not None else None
        since = at
    return Changed(since) if since is not None else None


def _same(target: AnyTarget, configuration: Configuration) -> AnyTarget | None:
    """Return what a document says of a target; of a database that was found, what it says of its server."""
    name = target.server if isinstance(target, FoundDatabase) else target.name
    return next((one for one in configuration.targets if one.name == name), None)
