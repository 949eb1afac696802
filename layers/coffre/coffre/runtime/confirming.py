"""Confirmations at the edge of a function: bare events are refused, plans are answered with their tokens."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

from coffre.alerts.approvals import approval_needed
from coffre.catalog.catalog import Catalog
from coffre.model.audit import Actor
from coffre.model.backup import Backup, Restore
from coffre.model.confirmation import Act, IssuedPlan, Plan, Request
from coffre.model.errors import ConfirmationError
from coffre.model.restore_report import RestoreReport
from coffre.operations.confirm.confirm import Confirming
from coffre.runtime.bootstrap import Services
from coffre.runtime.events.approval import ApprovalEvent
from coffre.runtime.events.event import SentEvent
from coffre.runtime.events.restore import OWN_DATABASE, RestoreEvent, StorageRestoreEvent
from coffre.runtime.function import utc_now
from coffre.runtime.observability import log_failure

# A dry run of many objects takes several invocations; its counts are of that time.
_REPORT_LIVES: Final = timedelta(hours=1)
_NOT_IN_SCOPE: Final = ("destination", "streams", "from", "store")
# Not a part of the dry run to send: who sent the refused event, and the run that it named.
_OF_ONE_EVENT: Final = {"actor", "proof", "confirmation", "restore_id", "invocation"}


def confirming_of(services: Services, sender: SentEvent | Actor) -> Confirming:
    """Return what confirms in the name of an event's sender."""
    actor = sender if isinstance(sender, Actor) else services.actor(sender)
    return Confirming(
        services.catalog,
        actor,
        utc_now,
        approvals=lambda target: services.configuration().confirmation_of(target).approvals,
        in_console=lambda target: services.configuration().confirmation_of(target).in_console,
        refused=lambda action, error, target: services.edge.count_refusal(actor, action, error, target=target or None),
        asked=lambda issued: services.edge.attempt("approval needed", lambda: _notify(services, issued)),
    )


def _notify(services: Services, issued: IssuedPlan) -> None:
    """Send an alert about a plan that waits, with its page in the console if the stack has one."""
    address = services.settings.console_address
    if address is not None and (console := services.configuration().console) is not None:
        address = console.address or address
    services.edge.publish(approval_needed(issued, address), plan=issued.id)


def consent_of(
    confirming: Confirming, wanted: RestoreEvent | StorageRestoreEvent, restore_id: str
) -> Callable[[Plan], Plan]:
    """Return the consent of a restore: that the event's token is of this plan. It is used up then, and recorded."""

    def consent(plan: Plan) -> Plan:
        if wanted.confirmation is None:
            raise needed(plan.seen.destination, wanted.model_dump(mode="json", exclude_defaults=True))
        confirmed = confirming.confirm(plan, wanted.confirmation, restore_id)
        confirming.catalog.confirm_restore(restore_id, plan.request.sha256)
        return confirmed

    return consent


def refuse_bare(wanted: RestoreEvent | StorageRestoreEvent, backup: Backup) -> None:
    """Refuse an event that would overwrite something and has no confirmation, before anything is opened.

    Raises
    ------
    ConfirmationError
        `CONFIRMATION_NEEDED`: which dry run to send.
    """
    if wanted.confirmation is not None or wanted.dry_run or not wanted.overwrites:
        return
    what = f"the database of {backup.target}" if wanted.place == OWN_DATABASE else wanted.place
    raise needed(what, wanted.model_dump(mode="json", exclude_defaults=True))


def refuse_unconfirmed(
    catalog: Catalog, backup: Backup, wanted: RestoreEvent | StorageRestoreEvent, restore_id: str
) -> None:
    """Refuse to continue with anything but what was begun, and what the restore's own token has confirmed.

    Raises
    ------
    ConfirmationError
        `CONFIRMATION_MISMATCH`
    """
    known = catalog.get_restore(restore_id)
    if (known.backup_id, known.destination) != (backup.id, wanted.place):
        raise ConfirmationError(
            f"The restore {restore_id} is of another backup than {backup.id}, or goes to {known.destination}, not to "
            f"{wanted.place}.",
            code="CONFIRMATION_MISMATCH",
            hint="Only the function itself continues a restore. Nothing was changed by this event.",
        )
    if not wanted.overwrites or wanted.dry_run:
        return
    request = Request.of(Act.RESTORE, backup.target, backup.id, backup.manifest_sha256, wanted.scope)
    if known.confirmed != request.sha256:
        raise ConfirmationError(
            f"The restore {restore_id} was not confirmed as this event would continue it.",
            code="CONFIRMATION_MISMATCH",
            hint="Only the function itself continues a restore. Nothing was changed by this event.",
        )


def needed(what: str, event: Mapping[str, Any]) -> ConfirmationError:
    """Return the error for an event without a confirmation: it says which dry run has one."""
    trial = {name: value for name, value in event.items() if name not in _OF_ONE_EVENT}
    inner = next((name for name in ("storage", "delete", "configuration") if name in trial), None)
    if inner is None:
        trial["dry_run"] = True
    else:
        trial[inner] = {**trial[inner], "dry_run": True}
    return ConfirmationError(
        f"This event would change or delete something in use ({what}), and has no confirmation.",
        hint=f"Send the dry run first: {json.dumps(trial)} . Its answer has plan.name and a token. Look at the plan, "
        'then send this event within 10 minutes with "confirmation": {"token": "...", "name": "..."}. The command '
        "coffre does this by itself. Nothing was changed.",
    )


def give_out(
    confirming: Confirming, wanted: RestoreEvent | StorageRestoreEvent, restore: Restore, report: RestoreReport
) -> dict[str, Any]:
    """Return the plan of a dry run that has ended, with a token.

    Raises
    ------
    ConfirmationError
        `CONFIRMATION_MISMATCH`: the event is not the one of that dry run, or it ended more than an hour ago.
    """
    plan = report.plan
    wanted_request = None
    if plan is not None:
        asked = plan.request
        wanted_request = Request.of(Act.RESTORE, asked.target, asked.backup_id, asked.manifest_sha256, wanted.scope)
    ended_at = restore.completed_at or restore.created_at
    if plan is None or wanted_request != plan.request or utc_now() - ended_at > _REPORT_LIVES:
        raise ConfirmationError(
            f"The dry run {restore.id} was of something else, or is more than an hour old.",
            code="CONFIRMATION_MISMATCH",
            hint="Make a new dry run, with another restore_id or none.",
        )
    said = wanted.model_dump(mode="json", exclude_defaults=True, exclude=_OF_ONE_EVENT)
    return confirming.give_out(plan, {name: said[name] for name in _NOT_IN_SCOPE if name in said})


def approve(confirming: Confirming, event: ApprovalEvent) -> dict[str, Any]:
    """Approve a plan, or decline it, and return it."""
    asked = event.approve
    if asked.decline is not None:
        return {"plan": confirming.decline(asked.plan, asked.sha256, asked.decline).answer()}
    return {"plan": confirming.approve(asked.plan, asked.sha256).answer()}


@contextmanager
def logged(services: Services, **keys: str | None) -> Iterator[None]:
    """Log what is raised, and raise it again: the answer of a call that a person waits for, not an incident."""
    try:
        yield
    except Exception as error:
        log_failure(services.edge.logger, error, **keys)
        raise
