"""The texts of alerts about the audit: refused requests, events that were not recorded, broken chains, anchors."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from coffre.alerts.alert import EVERY_TARGET, Alert, AlertKind, digest_of
from coffre.alerts.wording import alert_of, because, body_of, bullets, ids_of, moment
from coffre.model.audit import Actor, Anchor
from coffre.model.backup import Failure
from coffre.policy.audit_chain import Finding


def request_refused(actor: Actor, action: str, failure: Failure, now: datetime, *, target: str | None = None) -> Alert:
    """Report a request that was refused: once a day for the same actor, action and code."""
    who = actor.name if actor.verified else f"{actor.name} (as the request claims)"
    return alert_of(
        AlertKind.REQUEST_REFUSED,
        target or EVERY_TARGET,
        f"Refused: {action} [{failure.code}]",
        body_of(
            f"A request was refused, and nothing was done. Asked for: {action}. By: {who}.",
            why=because(failure),
            hint=f"Nothing, if you know who asked: the command said the same to them. {failure.hint or ''}".strip(),
            commands=["coffre audit --since 24h"],
        ),
        fingerprint=f"{now:%Y-%m-%d} {digest_of(who, action, failure.code)}",
    )


def audit_failed(action: str, failure: Failure, *, target: str | None, subject: str | None) -> Alert:
    """Report that something was done and could not be recorded."""
    return alert_of(
        AlertKind.AUDIT_FAILED,
        target or EVERY_TARGET,
        f"Not recorded: {action} [{failure.code}]",
        body_of(
            f'"{action}" is not in the audit. It was done all the same, and is not undone: only the record is missing.',
            why=because(failure),
            hint=f"Keep this message: it is the record. {failure.hint or ''}".strip(),
            commands=["coffre audit --verify-chain"],
        ),
        ids=ids_of(subject=subject),
        fingerprint=f"{action} {subject}",
    )


def audit_broken(findings: Sequence[Finding]) -> Alert:
    """Report that events of the audit are not as they were recorded. `findings` has at least one."""
    shown = [f"{one.shard or 'anchors'} {one.sequence or ''}: {one.text} [{one.code}]" for one in findings]
    return alert_of(
        AlertKind.AUDIT_BROKEN,
        EVERY_TARGET,
        f"The audit was CHANGED: {findings[0].code}",
        body_of(
            "\n".join(["Events of the audit are not as they were recorded.", *bullets(shown)]),
            hint="If the table was set back just now, that is the cause. Otherwise an identity with write access to "
            "the table changed it: keep the table as it is, and find out who.",
            commands=["coffre audit --verify-chain"],
        ),
        fingerprint=digest_of(*(f"{one.shard} {one.sequence} {one.code}" for one in findings)),
    )


def audit_anchored(anchor: Anchor) -> Alert:
    """Report the heads of all chains, once a week: with this mail alone the audit can be checked."""
    lines = [f"{head.shard} {head.sequence} {head.hash}" for head in anchor.heads]
    year, week, _ = anchor.at.isocalendar()
    return alert_of(
        AlertKind.AUDIT_ANCHORED,
        EVERY_TARGET,
        f"Audit: the heads of {len(lines)} chains, week {week}",
        body_of(
            "\n".join([f"Anchor {anchor.id} of {moment(anchor.at)}: chain, number of its newest event, hash.", *lines]),
            hint="Keep this mail: with it you can prove later that no event until now was changed or removed. Save it "
            "in a file, and check.",
            commands=["coffre audit --verify-chain --anchor mail.txt"],
        ),
        fingerprint=f"{year}-W{week:02d}",
    )
