"""The edge of a function: whatever stops a run is logged, counted, told to a person, and raised again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from aws_lambda_powertools import Logger

from coffre.alerts.alert import Alert
from coffre.alerts.publish import AlertError, Publisher
from coffre.runtime.observability import log_failure


class LambdaContext(Protocol):
    """What Lambda says about an invocation."""

    aws_request_id: str
    function_name: str

    def get_remaining_time_in_millis(self) -> int:
        """Return the time until the function is killed."""


@dataclass(frozen=True)
class Edge:
    """Logs, alerts and re-raises."""

    logger: Logger
    publisher: Publisher

    @contextlib.contextmanager
    def reporting(self, describe: Callable[[Exception], Alert], **keys: str | None) -> Iterator[None]:
        """Report what is raised inside, and raise it again: the platform must see a failure as one (field note 5)."""
        try:
            yield
        except Exception as error:
            log_failure(self.logger, error, **keys)
            self.publish(describe(error), **keys)
            raise

    def publish(self, alert: Alert, **keys: str | None) -> None:
        """Tell a person; an alert that cannot be sent is logged and stops nothing."""
        try:
            self.publisher.publish(alert)
        except AlertError as unsent:
            log_failure(self.logger, unsent, **keys)


def utc_now() -> datetime:
    """Return the time now."""
    return datetime.now(UTC)


def remaining_seconds(context: LambdaContext) -> Callable[[], float]:
    """Return a function that tells how long this invocation has left."""
    return lambda: context.get_remaining_time_in_millis() / 1000
