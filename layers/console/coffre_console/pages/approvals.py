"""Plans that wait for a second person; who made one comes back here, and starts it."""

from __future__ import annotations

from typing import Final

from coffre_console.api.approvals import decide, start_plan, waiting_plan, waiting_plans
from coffre_console.pages.asked import reason_of, sent_of, wrong
from coffre_console.pages.show import Html, command, see_other, show
from coffre_console.pages.wizard import last_page, with_losses
from coffre_console.routing import Visit

_FIELDS: Final = ("step", "sha256", "reason", "name")


def approvals(visit: Visit) -> Html:
    sent_of(visit)
    return show(visit, "approvals", command="coffre approve PLAN", found=waiting_plans(visit))


def look(visit: Visit, plan_id: str) -> Html:
    """Show a plan, with what may be done to it now."""
    sent, one = sent_of(visit, *_FIELDS), waiting_plan(visit, plan_id)
    line = command("approve", one.id[:12], decline=sent["reason"])
    return show(visit, "approval", command=line, one=one, plan=with_losses(one.model_dump()), sent=sent)


def act(visit: Visit, plan_id: str) -> Html:
    """Approve or decline a plan; or start it, with its name typed and ten seconds to stop."""
    sent, here = sent_of(visit, *_FIELDS), f"/approvals/{plan_id}"
    if sent["step"] == "confirm":
        plan = waiting_plan(visit, plan_id).model_dump()
        what = "delete" if plan["act"] == "deletion" else "restore"
        return last_page(visit, {**plan, "approvals": 0}, "", sent["name"], "", what=what, stop=here, fields={})
    if sent["step"] == "run":
        started = start_plan(visit, plan_id, sent["name"])
        place = started.body.location.removeprefix("/api/v1")  # type: ignore[union-attr]
        return see_other(visit, place, done="delete" if place.startswith("/backups") else "start")
    if sent["step"] == "approve":
        decide(visit, plan_id, sent["sha256"])
    elif sent["step"] == "decline":
        decide(visit, plan_id, sent["sha256"], reason_of(sent))
    else:
        raise wrong("step", "expected one of approve, decline, confirm, run")
    return see_other(visit, here)


PAGES: Final = {"GET /approvals": approvals, "GET /approvals/<plan_id>": look, "POST /approvals/<plan_id>": act}
