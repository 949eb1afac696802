"""Alerts, and the audit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from coffre.model.audit import AuditEvent
from coffre.model.errors import IntegrityError
from coffre.model.incident import Incident
from coffre_console.reading.backups import PAGE_SIZE
from coffre_console.reading.damaged import unread_of
from coffre_console.reading.source import May, Source, everyone


@dataclass(frozen=True)
class AuditPage:
    """Some events, newest first; `has_more`: older ones exist, which a later `until` of the oldest one's time shows.

    `unread` says which of those that were looked at cannot be read.
    """

    events: tuple[AuditEvent, ...]
    has_more: bool
    unread: tuple[str, ...] = ()


@dataclass(frozen=True)
class Alerts:
    """Problems that were reported and are not over, the newest first; `unread` says which records cannot be read."""

    alerts: tuple[Incident, ...]
    unread: tuple[str, ...]


def list_alerts(source: Source, target: str | None = None, may: May = everyone) -> Alerts:
    """Return the open problems."""
    damaged: list[IntegrityError] = []
    found = [one for one in source.catalog.incidents.open(target, damaged) if may(one.target)]
    found.sort(key=lambda one: one.since, reverse=True)
    return Alerts(tuple(found), unread_of(damaged, may))


def list_audit(
    source: Source,
    *,
    target: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    actor: str = "",
    action: str = "",
    size: int = PAGE_SIZE,
) -> AuditPage:
    """Return who did what.

    Parameters
    ----------
    actor
        A part of the actor's name.
    action
        How the action begins: `restore`.
    """
    damaged: list[IntegrityError] = []
    chosen = (
        event
        for event in source.catalog.audit.events(target, since, damaged)
        if (until is None or event.at < until) and actor in event.actor and event.action.startswith(action)
    )
    found = list(islice(chosen, size + 1))
    return AuditPage(tuple(found[:size]), len(found) > size, unread_of(damaged, everyone))
