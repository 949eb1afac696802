"""The edge of a function: every error that stops a run is logged, counted, sent as an alert, and raised again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

from aws_lambda_powertools import Logger

from coffre.alerts.alert import EVERY_TARGET, Alert, AlertKind
from coffre.alerts.audit import audit_failed, request_refused
from coffre.alerts.publish import AlertError
from coffre.alerts.runs import configuration_invalid
from coffre.catalog.catalog import Catalog
from coffre.model.audit import Actor, AuditResult
from coffre.model.backup import Failure
from coffre.model.errors import CoffreError, EventError, TargetUnknownError
from coffre.operations.monitoring.alerting import Alerting, Review
from coffre.operations.monitoring.audit_notes import note_refusal
from coffre.operations.runs.heartbeat import RECORDING_SECONDS
from coffre.runtime.observability import count_unsent, log_failure

_LONGEST_NAME: Final = 256
# Rules of the stack send events without a name.
_UNNAMED: Final = Actor("unknown")
_REFUSED: Final = "request.refused"


class LambdaContext(Protocol):
    """What Lambda passes about an invocation."""

    aws_request_id: str
    function_name: str

    def get_remaining_time_in_millis(self) -> int:
        """Return the time until the function is killed."""


@dataclass(frozen=True)
class Edge:
    """Logs, alerts and re-raises."""

    logger: Logger
    alerting: Alerting

    @contextlib.contextmanager
    def reporting(self, describe: Callable[[Exception], Alert], **keys: str | None) -> Iterator[None]:
        """Report what is raised inside, and raise it again: the platform must see a failure as one (field note 5)."""
        try:
            yield
        except Exception as error:
            log_failure(self.logger, error, **keys)
            self.publish(describe(error), **keys)
            raise

    @contextlib.contextmanager
    def beginning(self, context: LambdaContext, event: object) -> Iterator[None]:
        """Report what prevents a function from starting its work. Once it starts, the alert about that is over.

        A wrong event that says who sent it is a request of theirs, and no schedule's: it is refused, and nothing lasts.
        """
        name, request_id = context.function_name, context.aws_request_id

        def invalid(error: Exception) -> Alert:
            if isinstance(error, EventError | TargetUnknownError):
                if (sender := actor_of(event)) != _UNNAMED:
                    return self.refused(sender, _REFUSED, error)
                self.count_refusal(sender, _REFUSED, error)
            return configuration_invalid(Failure.of(error), function=name, request_id=request_id)

        with self.reporting(invalid, request_id=request_id):
            yield
        self.recovered(EVERY_TARGET, AlertKind.CONFIG_INVALID, about=f"{name}: ", request_id=request_id)

    # --- the audit ---

    def audit(
        self,
        actor: Actor,
        action: str,
        target: str | None = None,
        subject: str | None = None,
        detail: str | None = None,
        *,
        result: AuditResult = "done",
    ) -> None:
        """Record what is done already. If that fails, it is logged and alerted, and stays done."""
        try:
            self.catalog.audit.record(utc_now(), actor, action, target, subject, detail, result=result)
        except Exception as error:  # noqa: BLE001 - with any error, it is done
            log_failure(self.logger, error, action=action, target=target, subject=subject)
            self.publish(audit_failed(action, Failure.of(error), target=target, subject=subject))

    def refused(self, actor: Actor, action: str, error: CoffreError, *, target: str | None = None) -> Alert:
        """Record a refused request, and return the alert about it."""
        self.count_refusal(actor, action, error, target=target)
        return request_refused(actor, action, Failure.of(error), utc_now(), target=target)

    def count_refusal(self, actor: Actor, action: str, error: CoffreError, *, target: str | None = None) -> None:
        """Record a refused request about which another alert is sent."""
        self.attempt("refusal", lambda: note_refusal(self.catalog, utc_now(), actor, action, error, target=target))

    @property
    def catalog(self) -> Catalog:
        """The catalog."""
        return self.alerting.catalog

    def attempt(self, what: str, act: Callable[[], None]) -> None:
        """Do what may fail without any consequence for the run: its error is logged."""
        with self._unsent(what):
            act()

    # --- alerts ---

    def publish(self, alert: Alert, **keys: str | None) -> None:
        """Send an alert, unless it is a repetition (docs/alerts.md)."""
        with self._unsent(alert.kind.value, **keys):
            self.alerting.raise_alert(alert)

    def recovered(self, target: str, /, *kinds: AlertKind, about: str = "", **keys: str | None) -> None:
        """Send that alerts about a target are over (`about`: only those whose fingerprints begin with it)."""
        with self._unsent("recovery", **keys):
            self.alerting.recovered(target, *kinds, about=about)

    def review(self, look: Callable[[], Review], **keys: str | None) -> None:
        """Send the alerts that a review found, and that others are over."""
        with self._unsent("review", **keys):
            self.alerting.settle(look())

    @contextlib.contextmanager
    def _unsent(self, what: str, **keys: str | None) -> Iterator[None]:
        """Log and count an alert that cannot be sent; it stops nothing, and a run that is done stays done."""
        try:
            yield
        except Exception as unsent:  # noqa: BLE001 - any error is logged, and must not hide what the alert is about
            log_failure(self.logger, unsent, alert=what, **keys)
            if isinstance(unsent, AlertError):
                count_unsent(self.logger.service)


def actor_of(event: object) -> Actor:
    """Return who sent an event, as far as it says: nothing proves it."""
    named = event.get("actor") if isinstance(event, Mapping) else None
    if isinstance(named, str) and named.isprintable() and 0 < len(named) <= _LONGEST_NAME:
        return Actor(named)
    return _UNNAMED


def utc_now() -> datetime:
    """Return the time now."""
    return datetime.now(UTC)


def remaining_seconds(context: LambdaContext) -> Callable[[], float]:
    """Return a function that returns how long this invocation has left."""
    return lambda: context.get_remaining_time_in_millis() / 1000


def clearing_seconds(context: LambdaContext) -> Callable[[], float]:
    """Return a function that returns how long this invocation can still clean up: recording how it ended comes last."""
    return lambda: context.get_remaining_time_in_millis() / 1000 - RECORDING_SECONDS
