"""The edge of a function: every error that stops a run is logged, counted, sent as an alert, and raised again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from aws_lambda_powertools import Logger

from coffre.alerts.alert import EVERY_TARGET, Alert, AlertKind
from coffre.alerts.publish import AlertError
from coffre.alerts.runs import configuration_invalid
from coffre.model.backup import Failure
from coffre.operations.monitoring.alerting import Alerting, Review
from coffre.operations.runs.watchdog import RECORDING_SECONDS
from coffre.runtime.observability import count_unsent, log_failure


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
    def beginning(self, context: LambdaContext) -> Iterator[None]:
        """Report what prevents a function from starting its work. Once it starts, the alert about that is over."""
        name, request_id = context.function_name, context.aws_request_id

        def invalid(error: Exception) -> Alert:
            return configuration_invalid(Failure.of(error), function=name, request_id=request_id)

        with self.reporting(invalid, request_id=request_id):
            yield
        self.recovered(EVERY_TARGET, AlertKind.CONFIG_INVALID, about=f"{name}: ", request_id=request_id)

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


def utc_now() -> datetime:
    """Return the time now."""
    return datetime.now(UTC)


def remaining_seconds(context: LambdaContext) -> Callable[[], float]:
    """Return a function that returns how long this invocation has left."""
    return lambda: context.get_remaining_time_in_millis() / 1000


def clearing_seconds(context: LambdaContext) -> Callable[[], float]:
    """Return a function that returns how long this invocation can still clean up: recording how it ended comes last."""
    return lambda: context.get_remaining_time_in_millis() / 1000 - RECORDING_SECONDS
