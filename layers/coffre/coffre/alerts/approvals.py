"""The text of the alert about a plan that waits for a second person."""

from __future__ import annotations

from typing import Final

from coffre.alerts.alert import EVERY_TARGET, Alert, AlertKind
from coffre.alerts.wording import alert_of, body_of, ids_of, moment
from coffre.model.confirmation import Act, IssuedPlan

_SHORT: Final = 12


def approval_needed(issued: IssuedPlan, console: str | None) -> Alert:
    """Ask for another person: once for each plan.

    Parameters
    ----------
    console
        The address of the console; None: the stack has none.
    """
    request, seen = issued.plan.request, issued.plan.seen
    is_of_stack = request.act is Act.CONFIGURATION
    what = {
        Act.RESTORE: f"restore {request.target} over {seen.destination}, from the backup {request.backup_id}",
        Act.DELETION: f"delete the backup {request.backup_id} of {request.target}",
        Act.CONFIGURATION: "change the configuration so that it may protect less",
    }[request.act]
    # The console decides nothing about the configuration.
    place = f" It is at {console}/approvals/{issued.id}" if console and not is_of_stack else ""
    return alert_of(
        AlertKind.APPROVAL_NEEDED,
        request.target or EVERY_TARGET,
        "A change of the configuration waits for approval"
        if is_of_stack
        else f"A {request.act.value} of {request.target} waits for approval",
        body_of(
            f"{issued.actor} wants to {what}. Another person has to approve it before {moment(issued.expires_at)}. "
            "Nothing was changed.",
            hint=f"Ask whether that person has made the plan, and look at it. Then approve or decline it.{place}",
            commands=[
                f"coffre approve {issued.id[:_SHORT]}",
                f"coffre approve {issued.id[:_SHORT]} --decline REASON",
            ],
        ),
        ids=ids_of(plan=issued.id[:_SHORT], backup=request.backup_id),
        fingerprint=issued.id,
    )
