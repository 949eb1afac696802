"""Plans whose tokens were given out: kept by the hash of the token, taken once."""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import ValidationError
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from coffre.catalog.items import ConfirmItem
from coffre.catalog.records import damaged, read_item, readable
from coffre.catalog.tables import ConditionFailedError, DynamoTable, ItemQuery, RawItem
from coffre.model.audit import Actor
from coffre.model.confirmation import IssuedPlan, Plan, token_id
from coffre.model.document import describe_validation
from coffre.model.errors import IntegrityError

_PARTITION: Final = "CONFIRM"
_TOKEN_BYTES: Final = 32
_REQUIRED: Final = ("plan", "plan_sha256", "actor", "made_at", "expires_at")
_FIELDS: Final = tuple(name for name in IssuedPlan.model_fields if name not in ("id", "plan", "further"))


class Confirmations:
    """The plans that wait for a confirmation. DynamoDB deletes expired ones late: every read and write looks itself."""

    def __init__(self, table: DynamoTable) -> None:
        self._table = table

    def issue(
        self,
        plan: Plan,
        actor: Actor,
        now: datetime,
        *,
        lifetime: timedelta,
        approvals: int,
        further: Mapping[str, Any] | None = None,
    ) -> tuple[str, IssuedPlan]:
        """Keep a plan, and return its token, which is kept nowhere, with the record."""
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        issued = IssuedPlan(
            id=token_id(token),
            plan=plan,
            plan_sha256=plan.sha256,
            actor=actor.name,
            verified=actor.verified,
            made_at=now,
            expires_at=now + lifetime,
            approvals=approvals,
            further=dict(further or {}),
        )
        item = ConfirmItem(
            pk=_PARTITION,
            sk=issued.id,
            plan=plan.model_dump_json(exclude_defaults=True),
            further=json.dumps(issued.further) if issued.further else None,
            expires_at_epoch=math.ceil(issued.expires_at.timestamp()),
            **{name: value for name, value in issued if name in _FIELDS and value is not None},
        )
        self._table.put(item, ConfirmItem.pk.does_not_exist())
        return token, issued

    def find(self, plan_id: str) -> IssuedPlan | None:
        """Return a plan as it is at this instant, expired or not; None when none has this id."""
        raw = self._table.get(_PARTITION, plan_id)
        return _read(raw) if raw else None

    def beginning_with(self, start: str) -> tuple[list[IssuedPlan], list[IntegrityError]]:
        """Return the plans whose ids begin so, expired ones too; all for an empty text. And those that are damaged."""
        keys = ConfirmItem.sk.startswith(start) if start else None
        unread: list[IntegrityError] = []
        return list(readable(self._table.query(ItemQuery(_PARTITION, keys=keys)), _read, unread)), unread

    def take(self, seen: IssuedPlan, now: datetime) -> bool:
        """Remove a plan if it is as it was `seen` and has not expired; False: another call took it, or it has expired.

        Of any number of calls at most one returns True. A call whose answer was lost counts as made: then no one has
        the plan.
        """
        condition = _unchanged(seen, now) & ConfirmItem.declined_by.does_not_exist()
        if seen.approved_by is not None:
            condition &= ConfirmItem.approved_by == seen.approved_by
        try:
            self._table.delete(_PARTITION, seen.id, condition)
        except ConditionFailedError:
            return False
        return True

    def approve(self, seen: IssuedPlan, approver: str, now: datetime, *, lifetime: timedelta) -> IssuedPlan | None:
        """Record the second person, and let the plan live from now for a while at least.

        None: the plan is not as it was `seen`.
        """
        until = max(seen.expires_at, now + lifetime)
        actions = [
            ConfirmItem.approved_by.set(approver),
            ConfirmItem.approved_at.set(now),
            ConfirmItem.expires_at.set(until),
            ConfirmItem.expires_at_epoch.set(math.ceil(until.timestamp())),
        ]
        condition = ConfirmItem.approved_by.does_not_exist() & (ConfirmItem.actor != approver)
        return self._change(seen, now, actions, condition)

    def decline(self, seen: IssuedPlan, who: str, because: str, now: datetime) -> IssuedPlan | None:
        """Record who declines a plan, and why: no one can take it any more. None: it is not as it was `seen`."""
        actions = [
            ConfirmItem.declined_by.set(who),
            ConfirmItem.declined_at.set(now),
            ConfirmItem.declined_because.set(because),
        ]
        return self._change(seen, now, actions)

    def _change(
        self, seen: IssuedPlan, now: datetime, actions: Sequence[Action], condition: Condition | None = None
    ) -> IssuedPlan | None:
        still = _unchanged(seen, now) & ConfirmItem.declined_by.does_not_exist()
        try:
            found = self._table.update(_PARTITION, seen.id, actions, still if condition is None else still & condition)
        except ConditionFailedError:
            return None
        return _read(found)


def _unchanged(seen: IssuedPlan, now: datetime) -> Condition:
    condition: Condition = (
        (ConfirmItem.plan_sha256 == seen.plan_sha256)
        & (ConfirmItem.actor == seen.actor)
        & (ConfirmItem.expires_at > now)
    )
    return condition


def _read(raw: RawItem) -> IssuedPlan:
    item = read_item(raw, ConfirmItem, required=_REQUIRED)
    fields: dict[str, Any] = {name: item.attribute_values.get(name) for name in _FIELDS}
    try:
        plan, further = Plan.model_validate_json(item.plan), json.loads(item.further or "{}")
        known = {name: value for name, value in fields.items() if value is not None}
        return IssuedPlan(id=item.sk, plan=plan, further=further, **known)
    except ValidationError as error:
        raise damaged(raw, "; ".join(describe_validation(error))) from error
    except ValueError as error:
        raise damaged(raw, f"further: {error}") from error
