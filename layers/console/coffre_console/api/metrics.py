"""Numbers for Prometheus, Grafana, Datadog: OpenMetrics text, the same numbers as in CloudWatch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from aws_lambda_powertools.event_handler import Response as Answer

from coffre.model.status import Standing, StatusReport, TargetStatus
from coffre_console.access.permissions import Permission
from coffre_console.api.routes import ApiRoutes
from coffre_console.reading.overview import read_status

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
type _Sample = tuple[dict[str, str], float]
type _Value = Callable[[TargetStatus, datetime], float | None]


def register(routes: ApiRoutes) -> None:
    """Register the route."""

    @routes.add(
        "GET", "/api/v1/metrics", summary="Numbers of all targets, as OpenMetrics", tag="metrics", kind=CONTENT_TYPE
    )
    def metrics() -> Answer[str]:
        visit = routes.visit
        text = openmetrics(read_status(visit.source, visit.may(Permission.METRICS)))
        return Answer(200, CONTENT_TYPE, text)


def openmetrics(report: StatusReport) -> str:
    """Return a report as OpenMetrics text (prometheus.io/docs/specs/om/open_metrics_spec)."""
    return "".join(f"{line}\n" for line in [*_lines(report), "# EOF"])


_OF_TARGETS: Final[Mapping[str, tuple[str, _Value]]] = {
    "coffre_target_safe": ("1: safe, 0: not safe. Absent: not known.", lambda one, _: _safe(one)),
    "coffre_backup_age_hours": ("Age of the newest good backup.", lambda one, _: one.age_hours),
    "coffre_backup_age_limit_hours": ("What that age may be.", lambda one, _: one.limit_hours),
    "coffre_verified_age_hours": (
        "Time since the newest verified backup was verified.",
        lambda one, now: _hours(one.verified_at, now),
    ),
    "coffre_drill_age_hours": (
        "Time since the newest drill ended.",
        lambda one, now: _hours(one.drill.completed_at if one.drill else None, now),
    ),
    "coffre_restore_seconds": (
        "How long the restore of the newest drill took.",
        lambda one, _: one.drill.restore_seconds if one.drill else None,
    ),
    "coffre_backup_size_bytes": ("Plaintext of the newest good backup.", lambda one, _: one.size_bytes),
    "coffre_backup_stored_bytes": ("What it added to the vault.", lambda one, _: one.stored_bytes),
    "coffre_backup_running": ("1: a backup runs.", lambda one, _: float(one.running_since is not None)),
}
"""Name of a gauge with the label `target` -> its help, and its value; None: the target has no sample."""


def _lines(report: StatusReport) -> Iterator[str]:
    for name, (words, value) in _OF_TARGETS.items():
        found = [(one.name, value(one, report.at)) for one in report.targets]
        yield from _family(name, words, [({"target": target}, one) for target, one in found if one is not None])
    counts = Counter((alert.target, alert.severity) for alert in report.alerts)
    alerts: list[_Sample] = [({"target": target, "severity": bad}, n) for (target, bad), n in counts.items()]
    yield from _family("coffre_open_alerts", "Problems that are not over.", alerts)
    copies: list[_Sample] = [({"copy": one.name}, float(one.standing is Standing.SAFE)) for one in report.copies]
    yield from _family("coffre_copy_complete", "1: the copy of the vault is complete.", copies)
    lags: list[_Sample] = [
        ({"target": one.target}, one.lag_seconds) for one in report.journals if one.lag_seconds is not None
    ]
    yield from _family("coffre_journal_lag_seconds", "Age of the newest moment that can be restored.", lags)
    vault, cost = report.vault, report.cost
    yield from _family("coffre_vault_bytes", "What the vault holds.", [({}, vault.held_bytes)] if vault else [])
    journals: list[_Sample] = [({}, vault.journal_bytes)] if vault and vault.journal_bytes else []
    yield from _family("coffre_journal_bytes", "What of it are journals.", journals)
    spent: list[_Sample] = [({}, float(cost.until_now))] if cost else []
    yield from _family("coffre_month_cost_dollars", "Cost of this month until now, about.", spent)


def _family(name: str, words: str, samples: Sequence[_Sample]) -> Iterator[str]:
    if not samples:
        return
    yield f"# TYPE {name} gauge"
    yield f"# HELP {name} {words}"
    for labels, value in samples:
        said = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        yield f"{name}{{{said}}} {value:g}" if abs(value) < 1e6 else f"{name}{{{said}}} {value:.0f}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _safe(one: TargetStatus) -> float | None:
    return {Standing.SAFE: 1.0, Standing.NOT_SAFE: 0.0}.get(one.standing)


def _hours(then: datetime | None, now: datetime) -> float | None:
    return round((now - then).total_seconds() / 3600, 2) if then is not None else None
