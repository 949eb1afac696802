"""Notification of problems: once when one is new, then a daily reminder, then once when it is over (docs/alerts.md).

The catalog stores which problems were notified. If it does not answer, an alert is sent anyway, without asking whether
it was sent before.
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

_ATTEMPTS: Final = 5  # Each lost attempt means that another function noticed the same problem at the same moment.
# A verified backup that is older than this many newer ones is not worth naming.
_LOOKED_AT: Final = 100


@dataclass(frozen=True)
class Review:
    """The result of a check.

    `checked` are the kinds and targets that were checked. Those that are not in `alerts` are in order: problems that
    were notified before are over.
    """

    alerts: tuple[Alert, ...] = ()
    checked: frozenset[tuple[AlertKind, str]] = frozenset()

    def plus(self, other: Review) -> Review:
        """Return both reviews as one."""
        return Review((*self.alerts, *other.alerts), self.checked | other.checked)


@dataclass(frozen=True)
class Alerting:
    """Sends all alerts of Coffre, each problem once.

    Parameters
    ----------
    now
        The clock.
    note
        Gets errors of the catalog for the log: they must not suppress an alert, nor hide its cause.
    """

    catalog: Catalog
    publisher: Publisher
    now: Callable[[], datetime]
    note: Callable[[Exception], None]

    def raise_alert(self, alert: Alert) -> State | None:
        """Send the alert if the problem is new, or a reminder is due. Return what was sent; None: nothing.

        Raises
        ------
        AlertError
            The topic did not accept it. The next function that notices the problem tries again.
        """
        try:
            claim = self._claim(alert)
        except Exception as error:  # noqa: BLE001 - any error of the catalog: the alert is sent anyway
            self.note(error)
            self.publisher.publish(alert)
            return State.NEW
        if claim is None:
            return None
        state, incident = claim
        self._publish(reminder(alert, incident) if state is State.REMINDER else alert, incident)
        return state

    def recovered(self, target: str, *kinds: AlertKind, about: str = "") -> tuple[Alert, ...]:
        """Send that the problems of these kinds are over, if any was notified. Return what was sent.

        Parameters
        ----------
        about
            Only problems whose fingerprints begin with this.

        Raises
        ------
        AlertError
            The topic did not accept it: the problem still counts as open.
        """
        try:
            still_open = [
                one
                for one in self.catalog.incidents.open(target)
                if one.kind in kinds and one.fingerprint.startswith(about)
            ]
        except CoffreError as error:
            self.note(error)
            return ()
        return self.end(still_open)

    def end(self, still_open: Iterable[Incident], why: str | None = None) -> tuple[Alert, ...]:
        """Send that these open problems of one target are over (and `why`), if any was notified. Return what was sent.

        Raises
        ------
        AlertError
            As `recovered` does.
        """
        by_kind: dict[AlertKind, list[Incident]] = defaultdict(list)
        for incident in still_open:
            by_kind[AlertKind(incident.kind)].append(incident)
        return tuple(filter(None, (self._end(kind, found, why) for kind, found in sorted(by_kind.items()))))

    def settle(self, review: Review) -> None:
        """Send the alerts of a review, and that everything else that it checked is in order."""
        for alert in review.alerts:
            self.raise_alert(alert)
        self._supersede(review.alerts)
        found = {(alert.kind, alert.target) for alert in review.alerts}
        for target in sorted({target for _, target in review.checked}):
            good = [kind for kind, of in review.checked - found if of == target]
            self.recovered(target, *good)

    def _claim(self, alert: Alert) -> tuple[State, Incident] | None:
        """Store that a problem was noticed. Return what this function alone has to send now; None: nothing."""
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

    def _end(self, kind: AlertKind, still_open: Iterable[Incident], why: str | None) -> Alert | None:
        now = self.now()
        mine = [(one, ended(one, now)) for one in still_open]
        mine = [(one, over) for one, over in mine if self._remember(one, over)]
        notified_before = [one for one, _ in mine if one.told_at is not None]
        if not notified_before:
            return None
        alert = recovery(kind, notified_before, now, why)
        try:
            self.publisher.publish(alert)
        except AlertError:
            for one, over in mine:
                self._remember(over.model_copy(update={"version": one.version + 1}), one)
            raise
        return alert

    def _supersede(self, alerts: Iterable[Alert]) -> None:
        """End earlier incidents of the same kinds and targets silently: the current ones were just sent."""
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
        """Write an incident unless it changed meanwhile. Without the catalog, an alert may be sent once too often."""
        try:
            return self.catalog.incidents.replace(found, incident)
        except CoffreError as error:
            self.note(error)
            return False


def what_is_safe(catalog: Catalog, target: str) -> str:
    """Return which backup of a target can be restored. Without the catalog that is unknown: an alert must not fail."""
    try:
        newest = catalog.latest_completed(target)
        completed = (one for one in catalog.completed_backups(target) if not one.is_safety)
        verified: Backup | None = next((one for one in islice(completed, _LOOKED_AT) if one.verified_at), None)
    except CoffreError:
        return SAFE_UNKNOWN
    return safe_backups(newest, verified)
