"""Whether a plan is confirmed or may be approved: pure decisions, which name what is wrong."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from coffre.model.audit import Actor
from coffre.model.confirmation import Act, Confirmation, IssuedPlan, Plan, is_same_name
from coffre.model.errors import ConfirmationError

TOKEN_LIFETIME: Final = timedelta(minutes=10)
# How long a plan waits for the second person. Its token then lives from the approval.
APPROVAL_LIFETIME: Final = timedelta(hours=1)
_AGAIN = "Make the dry run again: its answer has a new plan and a new token. Nothing was changed."


def refuse_plan(plan: Plan) -> Plan:
    """Refuse any plan: the consent of a job that has no other."""
    raise ConfirmationError(
        f"This would overwrite {plan.seen.destination}, and that is not confirmed.",
        hint="Nothing in use was changed. Make a dry run of it first, and confirm its plan.",
    )


def refuse_unconfirmed(
    issued: IssuedPlan | None, now_seen: Plan, given: Confirmation, actor: Actor, now: datetime, *, approvals: int
) -> IssuedPlan:
    """Return the plan that a token belongs to, if it confirms what is about to be done.

    Parameters
    ----------
    issued
        The plan of the token; None when the catalog has none.
    now_seen
        What would be done by this event, from the destination as it is now.
    approvals
        How many approvals the configuration demands now.

    Raises
    ------
    ConfirmationError
        `CONFIRMATION_INVALID`, `CONFIRMATION_MISMATCH`, `APPROVAL_NEEDED`, `APPROVAL_DECLINED` or
        `DESTINATION_CHANGED`.
    """
    is_named_alone = given.token is None and issued is not None and not issued.approvals
    if issued is None or is_named_alone or not _waits(issued, now):
        raise ConfirmationError(
            "The confirmation is not valid: its token was used, has expired, or was never given out.",
            code="CONFIRMATION_INVALID",
            hint=f"A token confirms one run within 10 minutes. {_AGAIN}",
        )
    if wrong := _mismatch(issued, now_seen, given, actor):
        raise ConfirmationError(
            f"The confirmation is of something else: {wrong}.", code="CONFIRMATION_MISMATCH", hint=_AGAIN
        )
    if issued.declined_by is not None:
        raise declined(issued)
    if max(issued.approvals, approvals if issued.plan.needs_approval else 0) and issued.approved_by is None:
        raise ConfirmationError(
            "A second person has to approve this plan.",
            code="APPROVAL_NEEDED",
            hint=f"Another identity than {issued.actor} runs: coffre approve {issued.id[:12]}",
        )
    if changes := issued.plan.seen.facts.changes(now_seen.seen.facts):
        raise ConfirmationError(
            f"{_place(issued.plan)} is not as it was when the plan was made: {'; '.join(changes)}.",
            code="DESTINATION_CHANGED",
            hint=f"Look at what changed. {_AGAIN}",
        )
    return issued


def declined(issued: IssuedPlan) -> ConfirmationError:
    """Return the error for a plan that a person has declined."""
    return ConfirmationError(
        f"{issued.declined_by} has declined this plan: {issued.declined_because}",
        code="APPROVAL_DECLINED",
        hint=_AGAIN,
    )


def refuse_approval(
    issued: IssuedPlan | None, plan_sha256: str, approver: Actor, now: datetime, *, in_console: bool = False
) -> IssuedPlan:
    """Return the plan, if this person may approve it.

    Parameters
    ----------
    plan_sha256
        Of the plan that the person was shown.
    in_console
        Whether the configuration lets people approve in the console.

    Raises
    ------
    ConfirmationError
        `CONFIRMATION_INVALID`, or `APPROVAL_REFUSED`.
    """
    found = _waiting(issued, now)
    if why := _why_not_approved(found, plan_sha256, approver):
        raise ConfirmationError(f"The plan {found.id[:12]} was not approved: {why}.", code="APPROVAL_REFUSED")
    if approver.is_of_console and not in_console:
        raise ConfirmationError(
            f"The plan {found.id[:12]} was not approved: approvals need credentials of AWS here.",
            code="APPROVAL_REFUSED",
            hint=f"Run: coffre approve {found.id[:12]} . `confirmation.in_console` allows it in the console too.",
        )
    return found


def refuse_declining(issued: IssuedPlan | None, plan_sha256: str, who: Actor, now: datetime) -> IssuedPlan:
    """Return the plan, if this person may decline it: anyone who is verified, also who made it, until it is used.

    Raises
    ------
    ConfirmationError
        `CONFIRMATION_INVALID`, or `APPROVAL_REFUSED`.
    """
    found = _waiting(issued, now)
    why = _why_not_decided(found, plan_sha256, who)
    if why:
        raise ConfirmationError(f"The plan {found.id[:12]} was not declined: {why}.", code="APPROVAL_REFUSED")
    return found


def _mismatch(issued: IssuedPlan, now_seen: Plan, given: Confirmation, actor: Actor) -> str | None:
    then, now = issued.plan, now_seen
    if actor.person != Actor(issued.actor).person or (issued.verified and not actor.verified):
        return "another person made the plan, or this event does not prove who sent it"
    if then.request.act is not now.request.act:
        return "it confirms another act"
    if (then.request.target, then.request.backup_id) != (now.request.target, now.request.backup_id):
        return f"it is of the backup {then.request.backup_id} of {then.request.target}"
    if then.request.manifest_sha256 != now.request.manifest_sha256:
        return "the manifest of the backup is another one now"
    if then.request.scope != now.request.scope:
        return "it is of another choice of what is restored, and how"
    if then.seen.destination != now.seen.destination:
        return f"it is for {then.seen.destination}, not for {now.seen.destination}"
    if not is_same_name(given.name, then.seen.name):
        return f'the name is "{then.seen.name}", not "{given.name}"'
    return None


def _why_not_approved(issued: IssuedPlan, plan_sha256: str, approver: Actor) -> str | None:
    if why := _why_not_decided(issued, plan_sha256, approver):
        return why
    if not issued.verified:
        return "it is not verified who made it"
    if approver.person == Actor(issued.actor).person:
        return f"{approver.name} made it, and another person has to approve it"
    if issued.approved_by is not None:
        return f"{issued.approved_by} has approved it already"
    return None


def _why_not_decided(issued: IssuedPlan, plan_sha256: str, who: Actor) -> str | None:
    if issued.approvals == 0:
        return "it needs no approval"
    if plan_sha256 != issued.plan_sha256:
        return "it is not the plan that was shown"
    if not who.verified:
        return "it is not verified who approves or declines it"
    return f"{issued.declined_by} has declined it already" if issued.declined_by is not None else None


def _waits(issued: IssuedPlan, now: datetime) -> bool:
    return now < issued.expires_at and issued.plan_sha256 == issued.plan.sha256


def _waiting(issued: IssuedPlan | None, now: datetime) -> IssuedPlan:
    if issued is None or not _waits(issued, now):
        raise ConfirmationError(
            "No such plan waits for an approval: it was used, has expired, or was never made.",
            code="CONFIRMATION_INVALID",
            hint="A plan waits for an hour. Ask for a new one: the first person starts again.",
        )
    return issued


def _place(plan: Plan) -> str:
    deletes = plan.request.act is Act.DELETION
    return f"What remains of {plan.request.target}" if deletes else plan.seen.destination
