"""What keeps the audit checkable, hourly and at each rotation: anchors, a log line, and a mail once a week."""

from __future__ import annotations

from coffre.alerts.audit import audit_anchored, audit_broken
from coffre.operations.monitoring.audit_anchors import Anchored, anchor_chains
from coffre.operations.monitoring.audit_notes import record_counts
from coffre.runtime.bootstrap import Services
from coffre.runtime.function import utc_now


def keep_audit(services: Services, *, by_mail: bool = False) -> None:
    """Record what was only counted, and anchor the chains. Errors are logged: nothing else waits for this.

    Parameters
    ----------
    by_mail
        Also send the heads, once a week.
    """
    services.edge.attempt("audit", lambda: _keep(services, by_mail=by_mail))


def _keep(services: Services, *, by_mail: bool) -> None:
    record_counts(services.catalog, utc_now())
    anchored = anchor_chains(services.catalog, services.vault, utc_now())
    if anchored is None:
        return
    if anchored.is_new:
        _log(services, anchored)
    if anchored.findings:
        services.edge.publish(audit_broken(anchored.findings))
    if by_mail:
        services.edge.publish(audit_anchored(anchored.anchor))


def _log(services: Services, anchored: Anchored) -> None:
    anchor = anchored.anchor
    services.edge.logger.info(
        "audit anchored",
        extra={
            "anchor_id": anchor.id,
            "previous": anchor.previous,
            "heads": [head.model_dump() for head in anchor.heads],
            "findings": len(anchored.findings),
        },
    )
