"""Gives out plans with their tokens, takes each token once, and records approvals. Each act leaves an audit event."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from coffre.catalog.catalog import Catalog
from coffre.model.audit import Actor
from coffre.model.confirmation import (
    APPROVAL_LIFETIME,
    TOKEN_LIFETIME,
    Confirmation,
    IssuedPlan,
    Plan,
    token_id,
)
from coffre.model.errors import ConfirmationError
from coffre.policy.confirmation import refuse_approval, refuse_unconfirmed

_SHORT: Final = 12


@dataclass(frozen=True)
class Confirming:
    """Confirms in the name of `actor`.

    Parameters
    ----------
    approvals
        Returns how many approvals the configuration demands for what replaces a target, or deletes a backup of it.
    refused
        Records that an act (the action of its audit event) on a target was refused.
    """

    catalog: Catalog
    actor: Actor
    now: Callable[[], datetime]
    approvals: Callable[[str], int]
    refused: Callable[[str, ConfirmationError, str], None]

    def give_out(self, plan: Plan) -> dict[str, Any]:
        """Keep a plan, and return it with its token as the function answers: nothing else ever has the token.

        Raises
        ------
        ConfirmationError
            `ACTOR_UNVERIFIED`: a second person has to approve it, and it is not verified who the first one is.
        CatalogError
            Nothing was given out.
        """
        approvals = self._approvals(plan)
        if approvals and not self.actor.verified:
            raise ConfirmationError(
                "This needs the approval of a second person, and it is not verified who you are.",
                code="ACTOR_UNVERIFIED",
                hint="Use the command coffre with AWS credentials that are valid. Nothing was changed.",
            )
        lifetime = APPROVAL_LIFETIME if approvals else TOKEN_LIFETIME
        token, issued = self.catalog.confirmations.issue(
            plan, self.actor, self.now(), lifetime=lifetime, approvals=approvals
        )
        self._record(issued.plan, "planned", plan.request.backup_id, f"plan {issued.id[:_SHORT]}: {plan.seen.name}")
        return {"plan": issued.answer(), "token": token}

    def confirm(self, now_seen: Plan, given: Confirmation, subject: str) -> Plan:
        """Take the token of an event, and return the plan that a person has seen; afterwards no one can use it again.

        Parameters
        ----------
        now_seen
            What the event would do, from a look at the destination just now.
        subject
            The id of what is about to run, for the audit: the restore, or the backup that is deleted.

        Raises
        ------
        ConfirmationError
            It is not confirmed; nothing may be changed.
        CatalogError
            The catalog did not answer, or the audit took no record; nothing may be changed.
        """
        with self._refusals_recorded(now_seen):
            issued = refuse_unconfirmed(
                self.catalog.confirmations.find(token_id(given.token)),
                now_seen,
                given,
                self.actor,
                self.now(),
                approvals=self._approvals(now_seen),
            )
            if not self.catalog.confirmations.take(issued, self.now()):
                raise ConfirmationError(
                    "The confirmation is not valid: its token was used or expired at this moment.",
                    code="CONFIRMATION_INVALID",
                    hint="Make the dry run again. Nothing was changed by this event.",
                )
        approved = f", approved by {issued.approved_by}" if issued.approved_by else ""
        self._record(now_seen, "confirmed", subject, f"plan {issued.id[:_SHORT]}: {issued.plan.seen.name}{approved}")
        return issued.plan

    def approve(self, plan_id: str, plan_sha256: str) -> IssuedPlan:
        """Approve another person's plan, as it was shown.

        Raises
        ------
        ConfirmationError
            `CONFIRMATION_INVALID`, or `APPROVAL_REFUSED`.
        """
        found = self.catalog.confirmations.find(plan_id)
        try:
            approved = self._approved(refuse_approval(found, plan_sha256, self.actor, self.now()))
        except ConfirmationError as error:
            if found is not None:
                self.refused(f"{found.plan.request.act}.approved", error, found.plan.request.target)
            raise
        self._record(
            approved.plan, "approved", approved.plan.request.backup_id, f"plan {plan_id[:_SHORT]} of {approved.actor}"
        )
        return approved

    def _approved(self, issued: IssuedPlan) -> IssuedPlan:
        approved = self.catalog.confirmations.approve(issued, self.actor.name, self.now(), lifetime=TOKEN_LIFETIME)
        if approved is None:
            raise ConfirmationError(
                f"The plan {issued.id[:_SHORT]} was used, approved or expired at this moment.", code="APPROVAL_REFUSED"
            )
        return approved

    def _approvals(self, plan: Plan) -> int:
        return self.approvals(plan.request.target) if plan.needs_approval else 0

    @contextlib.contextmanager
    def _refusals_recorded(self, plan: Plan) -> Iterator[None]:
        try:
            yield
        except ConfirmationError as error:
            self.refused(f"{plan.request.act}.confirmed", error, plan.request.target)
            raise

    def _record(self, plan: Plan, verb: str, subject: str, detail: str) -> None:
        request = plan.request
        target = request.target or None  # The configuration is of no single target.
        self.catalog.audit.record(self.now(), self.actor, f"{request.act}.{verb}", target, subject, detail)
