"""Refused requests: logged with their true cause, recorded in the audit, and reported when they repeat."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from aws_lambda_powertools import Logger

from coffre.alerts.alert import Alert
from coffre.alerts.console import console_refused
from coffre.catalog.refused_attempts import Attempts
from coffre.model.audit import Actor, AuditResult
from coffre.model.errors import CatalogError, CoffreError, PermanentError
from coffre.model.names import visible
from coffre_console.access.caller import Caller
from coffre_console.access.identify import Refused
from coffre_console.access.request import Request

WINDOW: Final = timedelta(minutes=10)
REPORTED_AT: Final = 5
_ACTION: Final = "console.used"
# Of these the caller is not the cause.
_NO_ATTEMPT: Final = frozenset({429, 503})


class Reporter(Protocol):
    """What records and reports: `coffre.runtime.function.Edge` is one."""

    @property
    def logger(self) -> Logger:
        """The log."""

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
        """Record what is done already."""

    def count_refusal(self, actor: Actor, action: str, error: CoffreError, *, target: str | None = None) -> None:
        """Record a refused request, or count it if its like was recorded within the hour."""

    def publish(self, alert: Alert, **keys: str | None) -> None:
        """Send an alert, unless it is a repetition."""


class AccessError(PermanentError):
    """The console refused a request; its message is the true cause, which the caller is not shown."""

    default_code = "CONSOLE_REFUSED"


@dataclass(frozen=True, slots=True)
class Refusals:
    """Notes refused requests. It never raises: that a refusal cannot be recorded must not turn it into an error."""

    attempts: Attempts
    reporter: Reporter

    def note(self, refused: Refused, request: Request, now: datetime, caller: Caller | None = None) -> Refused:
        """Note a refusal, and return it.

        A request without any credential is no attempt, nor is a session that is over.
        """
        if not refused.why or refused.status in _NO_ATTEMPT:
            if refused.why:
                self.reporter.logger.warning("request not answered", extra={"why": refused.why})
            return refused
        origin = refused.name or origin_of(request.address)
        why = visible(refused.why)
        about = {"why": why, "origin": origin, "code": refused.code, "method": request.method, "path": request.path}
        self.reporter.logger.warning("request refused", extra=about)
        actor = caller.actor if caller is not None else Actor(refused.name or "unknown")
        self.reporter.count_refusal(actor, _ACTION, AccessError(f"{why} (from {origin})", code=refused.code))
        try:
            count = self.attempts.count(origin, now, window=WINDOW)
        except CatalogError as error:
            self.reporter.logger.warning("attempt not counted", extra={"why": error.detail})
            return refused
        if count == REPORTED_AT:
            self.reporter.publish(console_refused(origin, why, count, int(WINDOW.total_seconds()) // 60, now))
        return refused


def origin_of(address: str) -> str:
    """Return the address whose attempts are counted together: of IPv6 the network, which one machine has whole."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown address"
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    return str(ipaddress.ip_network(f"{parsed}/64", strict=False))
