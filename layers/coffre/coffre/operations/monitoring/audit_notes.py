"""What the audit notes without an operator's command: refused requests, and changes of the configuration.

A flood of refusals must not fill the audit: the first of an hour is recorded, the others are counted, and their number
is recorded later. The counters are stored with the incidents.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timedelta
from typing import Final

from coffre.alerts.alert import EVERY_TARGET, digest_of
from coffre.catalog.catalog import Catalog
from coffre.model.audit import Actor
from coffre.model.errors import CoffreError
from coffre.model.incident import Incident

WINDOW: Final = timedelta(hours=1)
# These two are no kinds of alerts: their items are counters, never open, and so in no list of problems.
_REFUSALS: Final = "REFUSALS"
_CONFIGURATION: Final = "CONFIGURATION"
_ATTEMPTS: Final = 5  # Each lost attempt means that another function counted at the same moment.
_NOBODY: Final = Actor("unknown")


def note_refusal(
    catalog: Catalog, now: datetime, actor: Actor, action: str, error: CoffreError, *, target: str | None = None
) -> None:
    """Record a refused request: once an hour for the same actor, action and code, otherwise count it.

    All actors that nothing proves count as one: another name costs a caller nothing.
    """
    fingerprint = digest_of(f"actor {actor.name if actor.verified else ''}", f"action {action}", f"code {error.code}")
    for _ in range(_ATTEMPTS):
        found = catalog.incidents.find(EVERY_TARGET, _REFUSALS, fingerprint)
        if found is not None and not _is_due(found, now):
            counted = found.model_copy(update={"seen": found.seen + 1, "seen_at": now})
            if catalog.incidents.replace(found, counted):
                return
            continue
        about = json.dumps([actor.name, actor.verified, action, error.code, target])
        first = _counter(_REFUSALS, fingerprint, about, now, found)
        if catalog.incidents.replace(found, first):
            if found is not None:
                _record_count(catalog, now, found)
            detail = f"{error.message} [{error.code}]"
            catalog.audit.record(now, actor, action, target, None, detail, result="refused")
            return


def record_counts(catalog: Catalog, now: datetime) -> None:
    """Record how many refusals were only counted, an hour after the first. Meant to be called hourly."""
    for found in list(catalog.incidents.of_kind(_REFUSALS)):
        if found.seen > found.recorded and _is_due(found, now):
            done = found.model_copy(update={"recorded": found.seen, "recorded_at": now})
            if catalog.incidents.replace(found, done):
                _record_count(catalog, now, found)


def note_configuration(catalog: Catalog, now: datetime, document: str, *, in_effect: bool = True) -> None:
    """Record that the template's configuration document is another one than the last that was recorded.

    Who changed it is not known: CloudTrail has it, as `PutParameter`. It is not in effect once a version was written
    by `coffre config`, which records who did that.
    """
    sha256 = hashlib.sha256(document.encode()).hexdigest()
    found = catalog.incidents.find(EVERY_TARGET, _CONFIGURATION, "")
    if found is not None and found.subject == sha256:
        return
    before = f"before: {found.subject}" if found is not None else "the first that was recorded"
    # The event comes first: two functions may record one change twice, but none is lost.
    action = "configuration.changed" if in_effect else "configuration.template_changed"
    detail = f"SHA-256 {sha256}, {before}" if in_effect else f"SHA-256 {sha256}, not in effect, {before}"
    catalog.audit.record(now, _NOBODY, action, detail=detail)
    catalog.incidents.replace(found, _counter(_CONFIGURATION, "", sha256, now, found))


def _counter(kind: str, fingerprint: str, subject: str, now: datetime, found: Incident | None) -> Incident:
    return Incident(
        target=EVERY_TARGET,
        kind=kind,
        fingerprint=fingerprint,
        subject=subject,
        since=now,
        seen_at=now,
        ended_at=now,
        recorded=1,
        recorded_at=now,
        version=found.version if found is not None else 1,
    )


def _is_due(counter: Incident, now: datetime) -> bool:
    return counter.recorded_at is None or now - counter.recorded_at >= WINDOW


def _record_count(catalog: Catalog, now: datetime, counter: Incident) -> None:
    """Record the refusals of a counter that were only counted."""
    more = counter.seen - counter.recorded
    if more <= 0:
        return
    name, verified, action, code, target = json.loads(counter.subject)
    who = Actor(name, verified=verified) if verified else _NOBODY
    detail = f"{more:,} more since {counter.since:%Y-%m-%d %H:%M} UTC, until {counter.seen_at:%H:%M} [{code}]"
    catalog.audit.record(now, who, action, target, None, detail, result="refused")
