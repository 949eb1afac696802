"""Plans that wait for a second person: seen, approved or declined, and started later by who made them."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

from aws_lambda_powertools.event_handler import Response as Answer
from aws_lambda_powertools.event_handler.openapi.params import Path
from pydantic import Field

from coffre.model.audit import Actor
from coffre.model.confirmation import Act, Confirmation, IssuedPlan
from coffre.operations.stored_backup.open_backup import refuse_unrestorable
from coffre.operations.stored_backup.read_copies import as_read
from coffre.runtime.events.approval import LONGEST_REASON
from coffre_console.access.permissions import Permission
from coffre_console.api.answers import Body, Listed, Shown, Started, accepted
from coffre_console.api.backups import PATH
from coffre_console.api.restores import RestoreWanted, permission_of, restore_or_plan
from coffre_console.api.routes import ApiRoutes
from coffre_console.problems import ProblemError
from coffre_console.reading.damaged import unread_of
from coffre_console.routing import Visit

_TAG = "approvals"
_PLANS = "/api/v1/approvals"
_ONE = f"{_PLANS}/<plan_id>"
_HASH = r"^[0-9a-f]{64}$"
PlanId = Annotated[str, Path(pattern=_HASH, description="The id of a plan.")]
NEEDED: Final = {Act.RESTORE: Permission.RESTORE_ALL, Act.DELETION: Permission.DELETE}
"""What a person needs who approves: to be allowed to do all of it alone."""


class WaitingPlan(Shown):
    """A plan that needs another person, from when it was made until it is started or expires.

    `decided_by` approved or declined it, `reason` says why it was declined. `may_approve`: the caller is another
    person who may; `in_console` says whether that is possible here, and not by `coffre approve` alone.
    """

    id: str
    sha256: str
    act: Act
    state: Literal["waiting", "approved", "declined"]
    target: str
    backup_id: str
    scope: dict[str, Any]
    destination: str
    name: str
    overwrites: dict[str, Any]
    asked_by: str
    made_at: datetime
    expires_at: datetime
    decided_by: str | None = None
    reason: str | None = None
    is_own: bool
    may_approve: bool
    in_console: bool


class WaitingPlans(Listed):
    """The plans that the caller has made or may approve, the newest first."""

    plans: tuple[WaitingPlan, ...]


class AsShown(Body):
    """The plan as it was shown: its `sha256`."""

    sha256: str = Field(pattern=_HASH)


class Declined(AsShown):
    """The same, with the reason that who made it reads."""

    reason: str = Field(min_length=1, max_length=LONGEST_REASON, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")


class Named(Body):
    """The plan's `name`, typed again."""

    name: str = Field(min_length=1, max_length=1000)


def register(routes: ApiRoutes) -> None:
    """Register the routes."""

    @routes.add("GET", _PLANS, summary="Plans that wait for a second person", tag=_TAG)
    def list_them() -> WaitingPlans:
        return waiting_plans(routes.visit)

    @routes.add("GET", _ONE, summary="One of these plans", tag=_TAG)
    def one(plan_id: PlanId) -> WaitingPlan:
        return waiting_plan(routes.visit, plan_id)

    @routes.add("POST", f"{_ONE}/approve", summary="Approve another person's plan", tag=_TAG)
    def approve(plan_id: PlanId, body: AsShown) -> WaitingPlan:
        return decide(routes.visit, plan_id, body.sha256)

    @routes.add("POST", f"{_ONE}/decline", summary="Decline a plan, with a reason", tag=_TAG)
    def decline(plan_id: PlanId, body: Declined) -> WaitingPlan:
        return decide(routes.visit, plan_id, body.sha256, body.reason)

    @routes.add(
        "POST", f"{_ONE}/run", summary="Start one's own plan once it is approved", tag=_TAG, status=HTTPStatus.ACCEPTED
    )
    def run(plan_id: PlanId, body: Named) -> Answer[Started]:
        return start_plan(routes.visit, plan_id, body.name)


def waiting_plans(visit: Visit) -> WaitingPlans:
    """Return the plans that the caller has made or may approve; what is damaged hides no other one."""
    found, damaged = visit.source.catalog.confirmations.beginning_with("")
    issued = sorted(found, key=lambda one: one.made_at, reverse=True)
    return WaitingPlans(
        plans=tuple(_shown(visit, one) for one in issued if _is_seen(visit, one)),
        unread=unread_of(damaged, visit.may()),
    )


def waiting_plan(visit: Visit, plan_id: str) -> WaitingPlan:
    """Return one of them; raises ProblemError (`PLAN_UNKNOWN`) for one that is over, or of nothing to the caller."""
    return _shown(visit, _found(visit, plan_id))


def decide(visit: Visit, plan_id: str, sha256: str, reason: str | None = None) -> WaitingPlan:
    """Ask the function that made a plan to approve it, or (with a reason) to decline it."""
    issued = _found(visit, plan_id)
    request = issued.plan.request
    if reason is None or not _is_own(visit, issued):
        visit.demand(NEEDED[request.act], request.target)
    asked = {"plan": issued.id, "sha256": sha256, **({} if reason is None else {"decline": reason})}
    function = "restore" if request.act is Act.RESTORE else "rotate"
    visit.console.functions.ask(function, {"approve": asked}, visit.actor)
    return waiting_plan(visit, plan_id)


def start_plan(visit: Visit, plan_id: str, name: str) -> Answer[Started]:
    """Start a plan of the caller that another person has approved; the function decides, and takes it once."""
    issued = _found(visit, plan_id)
    if not _is_own(visit, issued):
        raise ProblemError(403, "NOT_ALLOWED", "Another person made this plan, and starts it.", "Approve it.")
    request, confirmation = issued.plan.request, Confirmation(plan=issued.id, name=name)
    if request.act is Act.DELETION:
        visit.backup(request.backup_id, Permission.DELETE)
        event = {"delete": request.scope, "confirmation": confirmation.model_dump(exclude_none=True)}
        visit.console.functions.ask("rotate", event, visit.actor)
        return accepted(request.backup_id, f"{PATH}/{request.backup_id}")
    backup = visit.source.catalog.get_backup(request.backup_id)
    scope = {"storage": request.scope} if backup.kind.has_objects else request.scope
    further = {"source" if name == "from" else name: value for name, value in issued.further.items()}
    wanted = RestoreWanted.model_validate({**scope, **further, "confirmation": confirmation})
    visit.demand(permission_of(wanted), backup.target)
    refuse_unrestorable(as_read(visit.source.catalog, backup, wanted.source))
    return restore_or_plan(visit, backup, wanted)  # type: ignore[return-value]


def _found(visit: Visit, plan_id: str) -> IssuedPlan:
    issued = visit.source.catalog.confirmations.find(plan_id)
    if issued is None or not _is_seen(visit, issued):
        raise ProblemError(
            404,
            "PLAN_UNKNOWN",
            "No such plan waits: it was started, has expired, or is not for you.",
            "A plan waits for an hour. Who made it makes the dry run again. Nothing was changed.",
        )
    return issued


def _is_seen(visit: Visit, issued: IssuedPlan) -> bool:
    act = issued.plan.request.act
    if not issued.approvals or act not in NEEDED or issued.expires_at <= visit.now:
        return False
    return _is_own(visit, issued) or visit.caller.may(NEEDED[act], issued.plan.request.target)


def _is_own(visit: Visit, issued: IssuedPlan) -> bool:
    return Actor(issued.actor).person == Actor.in_console(visit.actor.name).person


def _shown(visit: Visit, issued: IssuedPlan) -> WaitingPlan:
    request, seen, is_own = issued.plan.request, issued.plan.seen, _is_own(visit, issued)
    return WaitingPlan(
        id=issued.id,
        sha256=issued.plan_sha256,
        act=request.act,
        state="declined" if issued.declined_by else "approved" if issued.approved_by else "waiting",
        target=request.target,
        backup_id=request.backup_id,
        scope=request.scope,
        destination=seen.destination,
        name=seen.name,
        overwrites=seen.overwrites.model_dump(mode="json", exclude_none=True),
        asked_by=issued.actor,
        made_at=issued.made_at,
        expires_at=issued.expires_at,
        decided_by=issued.declined_by or issued.approved_by,
        reason=issued.declined_because,
        is_own=is_own,
        may_approve=not is_own and visit.caller.may(NEEDED[request.act], request.target),
        in_console=visit.source.configuration().confirmation_of(request.target).in_console,
    )
