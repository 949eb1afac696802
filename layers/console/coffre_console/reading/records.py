"""Alerts, and the audit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from coffre.model.audit import AuditEvent
from coffre.model.incident import Incident
from coffre_console.reading.backups import PAGE_SIZE
from coffre_console.reading.source import May, Source, everyone


@dataclass(frozen=True)
class AuditPage:
    """Some events, newest first; `has_more`: older ones exist, which a later `until` of the oldest one's time shows."""

    events: tuple[AuditEvent, ...]
    has_more: bool


def list_alerts(source: Source, target: str | None = None, may: May = everyone) -> tuple[Incident, ...]:
    """Return the problems that were reported and are not over, the newest first."""
    found = (one for one in source.catalog.incidents.open(target) if may(one.target))
    return tuple(sorted(found, key=lambda one: one.since, reverse=True))


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
    found = list(islice(_chosen(source, target, since, until, actor, action), size + 1))
    return AuditPage(tuple(found[:size]), len(found) > size)


def _chosen(
    source: Source,
    target: str | None,
    since: datetime | None,
    until: datetime | None,
    actor: str,
    action: str,
) -> Iterator[AuditEvent]:
    for event in source.catalog.audit.events(target, since):
        if (until is None or event.at < until) and actor in event.actor and event.action.startswith(action):
            yield event
