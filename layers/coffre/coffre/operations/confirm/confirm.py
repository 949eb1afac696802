"""Gives out plans with their tokens, takes each token once, and records approvals. Each act leaves an audit event."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from coffre.catalog.catalog import Catalog
from coffre.model.audit import Actor
from coffre.model.confirmation import Confirmation, IssuedPlan, Plan
from coffre.model.errors import ConfirmationError
from coffre.policy.confirmation import (
    APPROVAL_LIFETIME,
    TOKEN_LIFETIME,
    refuse_approval,
    refuse_declining,
    refuse_unconfirmed,
)

_SHORT: Final = 12
_REPLACED: Final = "What would be lost is not the same any more: the plan {id} replaces this one."


@dataclass(frozen=True)
class Confirming:
    """Confirms in the name of `actor`.

    Parameters
    ----------
    approvals
        Returns how many approvals the configuration demands for what replaces a target, or deletes a backup of it.
    refused
        Records that an act (the action of its audit event) on a target was refused.
    in_console
        Returns whether people may approve in the console what replaces a target.
    asked
        Notifies other people of a plan that waits for one of them.
    """

    catalog: Catalog
    actor: Actor
    now: Callable[[], datetime]
    approvals: Callable[[str], int]
    refused: Callable[[str, ConfirmationError, str], None]
    in_console: Callable[[str], bool] = lambda _: False
    asked: Callable[[IssuedPlan], None] = lambda _: None

    def give_out(self, plan: Plan, further: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Keep a plan, and return it with its token as the function answers: nothing else ever has the token.

        A plan that waits for another person waits once: who asks for it again gets it without a token, since its id
        names it. If what would be lost is not the same any more, the plan that waited is declined.

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
        before = self._waiting(plan, further or {}) if approvals else []
        until = self.now() + TOKEN_LIFETIME
        again = next((one for one in before if one.plan_sha256 == plan.sha256 and one.expires_at > until), None)
        if again is not None:
            return {"plan": again.answer(), "token": None}
        lifetime = APPROVAL_LIFETIME if approvals else TOKEN_LIFETIME
        token, issued = self.catalog.confirmations.issue(
            plan, self.actor, self.now(), lifetime=lifetime, approvals=approvals, further=further
        )
        self._record(issued.plan, "planned", plan.request.backup_id, f"plan {issued.id[:_SHORT]}: {plan.seen.name}")
        for one in before:
            self._replace(one, issued)
        if approvals:
            self.asked(issued)
        return {"plan": issued.answer(), "token": token}

    def _waiting(self, plan: Plan, further: Mapping[str, Any]) -> Sequence[IssuedPlan]:
        """Return the plans that this person has asked for with the same request."""
        plans, _ = self.catalog.confirmations.beginning_with("")
        return [one for one in plans if one.expires_at > self.now() and one.is_for(plan, self.actor, further)]

    def _replace(self, before: IssuedPlan, issued: IssuedPlan) -> None:
        """Decline a plan that another one replaces, unless it is approved: then it can be started."""
        because = _REPLACED.format(id=issued.id[:_SHORT])
        if before.approved_by is not None:
            return
        if self.catalog.confirmations.decline(before, self.actor.name, because, self.now()) is not None:
            self._record(before.plan, "declined", before.plan.request.backup_id, f"{_of(before)}: {because}")

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
                self.catalog.confirmations.find(given.plan_id),
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
        # A plan of the configuration has no target, and can concern the rules of each: that needs credentials of AWS.
        target = found.plan.request.target if found is not None else ""
        in_console = bool(target) and self.in_console(target)
        with self._refused(found, "approved"):
            waiting = refuse_approval(found, plan_sha256, self.actor, self.now(), in_console=in_console)
            approved = self._changed(
                waiting,
                self.catalog.confirmations.approve(waiting, self.actor.name, self.now(), lifetime=TOKEN_LIFETIME),
            )
        self._record(approved.plan, "approved", approved.plan.request.backup_id, _of(approved))
        return approved

    def decline(self, plan_id: str, plan_sha256: str, because: str) -> IssuedPlan:
        """Decline a plan, with the reason that who made it reads.

        Raises
        ------
        ConfirmationError
            `CONFIRMATION_INVALID`, or `APPROVAL_REFUSED`.
        """
        found = self.catalog.confirmations.find(plan_id)
        with self._refused(found, "declined"):
            waiting = refuse_declining(found, plan_sha256, self.actor, self.now())
            declined = self._changed(
                waiting, self.catalog.confirmations.decline(waiting, self.actor.name, because, self.now())
            )
        self._record(declined.plan, "declined", declined.plan.request.backup_id, f"{_of(declined)}: {because}")
        return declined

    @contextlib.contextmanager
    def _refused(self, found: IssuedPlan | None, verb: str) -> Iterator[None]:
        try:
            yield
        except ConfirmationError as error:
            if found is not None:
                self.refused(f"{found.plan.request.act}.{verb}", error, found.plan.request.target)
            raise

    @staticmethod
    def _changed(waiting: IssuedPlan, changed: IssuedPlan | None) -> IssuedPlan:
        if changed is None:
            raise ConfirmationError(
                f"The plan {waiting.id[:_SHORT]} was used, approved, declined or expired at this moment.",
                code="APPROVAL_REFUSED",
            )
        return changed

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


def _of(issued: IssuedPlan) -> str:
    return f"plan {issued.id[:_SHORT]} of {issued.actor}"
