"""The level `fresh` of the function `verify`: is every target backed up, and what else is looked at every day."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any, Final

from coffre.alerts.runs import restore_failed
from coffre.alerts.wording import because
from coffre.model.audit import Actor
from coffre.model.backup import Restore
from coffre.model.configuration import Configuration
from coffre.model.freshness import FreshReport
from coffre.operations.monitoring.health_checks import check_all_targets
from coffre.operations.monitoring.late_events import send_late
from coffre.operations.monitoring.removed import end_removed
from coffre.operations.verify.freshness import FreshJob, fresh
from coffre.policy.configured_since import last_changed
from coffre.runtime.audit import keep_audit
from coffre.runtime.backup_alerts import report_died
from coffre.runtime.bootstrap import Services
from coffre.runtime.copies import open_copy
from coffre.runtime.function import Edge
from coffre.runtime.observability import count_fresh
from coffre.runtime.sources import configurations
from coffre.runtime.verify_accesses import look_at_accesses
from coffre.runtime.verify_alerts import review_of_fresh
from coffre.runtime.verify_copies import report_fresh_copies
from coffre.runtime.verify_journals import look_at_journals
from coffre.runtime.verify_objectives import review_of_objectives

_ACTOR: Final = Actor("verify", verified=True)


def check_fresh(
    services: Services, configuration: Configuration, only: str | None, now: datetime, request_id: str
) -> dict[str, Any]:
    """Look whether targets have fresh backups, end the records of dead runs, and send what follows from it.

    With `only` one target is looked at; without, what is no target's too: copies, journals, accesses, the audit.
    """
    edge, catalog = services.edge, services.catalog
    job = FreshJob(
        catalog,
        services.vault,
        configuration,
        now,
        partial(report_died, edge, catalog),
        partial(_report_restore_died, edge),
        partial(open_copy, services),
        last_changed=lambda target: last_changed(
            target, configurations(services.catalog, services.current_configuration())
        ),
    )
    report = fresh(job, only=only)
    count_fresh(services.name, report)
    _log(edge, report, request_id)
    # Not `edge.review`, which continues when no alert could be sent: alerts are the purpose of this check.
    edge.alerting.settle(review_of_fresh(report, catalog, configuration))
    if only is None:
        report_fresh_copies(services, report, request_id)
        edge.review(lambda: check_all_targets(catalog, configuration, now), request_id=request_id)
        edge.review(lambda: review_of_objectives(catalog, configuration, now), request_id=request_id)
        edge.attempt("late events", lambda: send_late(edge.alerting))
        edge.attempt("removed", lambda: end_removed(edge.alerting, configuration))
        edge.attempt("journals", lambda: look_at_journals(services, configuration, now))
        look_at_accesses(services, configuration, now)
        keep_audit(services, by_mail=True)
    return report.model_dump(mode="json")


def _log(edge: Edge, report: FreshReport, request_id: str) -> None:
    failed = [check.model_dump(mode="json") for check in report.checks if not check.is_ok]
    settled = [one.model_dump() for one in report.settled]
    edge.logger.info(
        "freshness checked",
        extra={"request_id": request_id, "status": report.status, "failed": failed, "settled": settled},
    )


def _report_restore_died(edge: Edge, restore: Restore) -> None:
    if restore.failure is not None:
        if not restore.dry_run:
            words = because(restore.failure)
            edge.audit(_ACTOR, "restore.ended", restore.target, restore.id, words, result="failed")
        alert = restore_failed(
            restore.target,
            restore.failure,
            backup_id=restore.backup_id,
            restore_id=restore.id,
            request_id=restore.request_id or "-",
            destination=restore.destination,
        )
        edge.publish(alert, restore_id=restore.id, target=restore.target)
