"""Telling people: each problem once, then a reminder a day, then that it is over (docs/alerts.md).

What is remembered of a problem is in the catalog. A catalog that does not answer never keeps an alert back: it is then
told without asking whether it was told before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Final

from coffre.alerts.alert import Alert, AlertKind, State
from coffre.alerts.deduplication import ended, next_of, notified, recovery, reminder, unnotified
from coffre.alerts.publish import AlertError, Publisher
from coffre.alerts.runs import SAFE_UNKNOWN, safe_backups
from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup
from coffre.model.errors import CatalogError, CoffreError
from coffre.model.incident import Incident

_ATTEMPTS: Final = 5  # Each lost attempt means that another function noticed the same at the same moment.
# Of a target whose newest verified backup is older than this many, nobody is helped by its id.
_LOOKED_AT: Final = 100


@dataclass(frozen=True)
class Review:
    """What somebody looked at, and what was found.

    `checked` are the kinds and targets that were looked at: of those, whatever is not in `alerts` is in order, and what
    people were told about it before is over.
    """

    alerts: tuple[Alert, ...] = ()
    checked: frozenset[tuple[AlertKind, str]] = frozenset()

    def plus(self, other: Review) -> Review:
        """Return both together."""
        return Review((*self.alerts, *other.alerts), self.checked | other.checked)


@dataclass(frozen=True)
class Alerting:
    """The one way in which people are told.

    Parameters
    ----------
    now
        The clock.
    note
        Gets what went wrong on the way, for the log: an alert must not be lost by it, nor hide what it is about.
    """

    catalog: Catalog
    publisher: Publisher
    now: Callable[[], datetime]
    note: Callable[[Exception], None]

    def raise_alert(self, alert: Alert) -> State | None:
        """Tell people of a problem if it is new, or goes on since the last reminder; return as what it was told.

        Raises
        ------
        AlertError
            The topic did not take it. Whoever notices the problem next tries again.
        """
        try:
            claim = self._claim(alert)
        except Exception as error:  # noqa: BLE001 - whatever keeps the catalog from answering, people are told
            self.note(error)
            self.publisher.publish(alert)
            return State.NEW
        if claim is None:
            return None
        state, incident = claim
        said = reminder(alert, incident) if state is State.REMINDER else alert
        self._publish(said, incident)
        return state

    def recovered(self, target: str, *kinds: AlertKind, about: str = "") -> tuple[Alert, ...]:
        """Tell people that the problems of these kinds are over, if they were told of any; return what was told.

        Parameters
        ----------
        about
            What the fingerprints of those that are over begin with.

        Raises
        ------
        AlertError
            The topic did not take it: the problem then still counts as going on.
        """
        try:
            going_on = [
                one
                for one in self.catalog.incidents.open(target)
                if one.kind in kinds and one.fingerprint.startswith(about)
            ]
        except CoffreError as error:
            self.note(error)
            return ()
        by_kind: dict[AlertKind, list[Incident]] = defaultdict(list)
        for incident in going_on:
            by_kind[AlertKind(incident.kind)].append(incident)
        return tuple(filter(None, (self._end(kind, found) for kind, found in sorted(by_kind.items()))))

    def settle(self, review: Review) -> None:
        """Tell people what a review found, and that everything else that it looked at is in order."""
        for alert in review.alerts:
            self.raise_alert(alert)
        self._supersede(review.alerts)
        found = {(alert.kind, alert.target) for alert in review.alerts}
        for target in sorted({target for _, target in review.checked}):
            good = [kind for kind, of in review.checked - found if of == target]
            self.recovered(target, *good)

    def _claim(self, alert: Alert) -> tuple[State, Incident] | None:
        """Remember that a problem was noticed; return as what this function alone is to tell it now, if at all."""
        incidents = self.catalog.incidents
        for _ in range(_ATTEMPTS):
            found = incidents.find(alert.target, alert.kind.value, alert.fingerprint)
            state, incident = next_of(found, alert, self.now())
            if incident == found:
                return None
            if incidents.replace(found, incident):
                stored = incident.model_copy(update={"version": found.version + 1 if found else 1})
                return (state, stored) if state else None
        raise CatalogError(f"The record of {alert.kind} changed {_ATTEMPTS} times.", code="INCIDENT_CONTENDED")

    def _publish(self, alert: Alert, incident: Incident) -> None:
        try:
            self.publisher.publish(alert)
        except AlertError:
            self._remember(incident, unnotified(incident))
            raise
        self._remember(incident, notified(incident, self.now()))

    def _end(self, kind: AlertKind, going_on: Iterable[Incident]) -> Alert | None:
        now = self.now()
        mine = [(one, ended(one, now)) for one in going_on]
        mine = [(one, over) for one, over in mine if self._remember(one, over)]
        heard_of = [one for one, _ in mine if one.told_at is not None]
        if not heard_of:
            return None
        alert = recovery(kind, heard_of, now)
        try:
            self.publisher.publish(alert)
        except AlertError:
            for one, over in mine:
                self._remember(over.model_copy(update={"version": one.version + 1}), one)
            raise
        return alert

    def _supersede(self, alerts: Iterable[Alert]) -> None:
        """End without a word what was told before of the same kinds and targets: what goes on was just told."""
        current = {(alert.target, alert.kind.value, alert.fingerprint) for alert in alerts}
        about = {(target, kind) for target, kind, _ in current}
        for target in sorted({target for target, _ in about}):
            try:
                for one in list(self.catalog.incidents.open(target)):
                    known = (one.target, one.kind, one.fingerprint)
                    if (one.target, one.kind) in about and known not in current:
                        self._remember(one, ended(one, self.now()))
            except CoffreError as error:
                self.note(error)

    def _remember(self, found: Incident, incident: Incident) -> bool:
        """Write an incident unless it changed meanwhile; without the catalog, people may be told once too often."""
        try:
            return self.catalog.incidents.replace(found, incident)
        except CoffreError as error:
            self.note(error)
            return False


def what_is_safe(catalog: Catalog, target: str) -> str:
    """Say which backup of a target can be restored, without ever hiding an alert behind a catalog that is silent."""
    try:
        newest = catalog.latest_completed(target)
        completed = catalog.completed_backups(target)
        verified: Backup | None = next((one for one in islice(completed, _LOOKED_AT) if one.verified_at), None)
    except CoffreError:
        return SAFE_UNKNOWN
    return safe_backups(newest, verified)
