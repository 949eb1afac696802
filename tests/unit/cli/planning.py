"""Functions that give out plans, played: what they answer, and what they delete or pin."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, Final, cast

import pytest
from tests.unit.cli.conftest import BUCKET, Account

from coffre.model.audit import Actor
from coffre.model.configuration import Configuration
from coffre.model.confirmation import Act, Facts, Overwritten, Plan, Request, Seen
from coffre.model.errors import CoffreError
from coffre.runtime.bootstrap import Services
from coffre.runtime.cancelling import answer_cancel
from coffre.runtime.deletion import decide
from coffre.runtime.events.restore import RestoreEvent, StorageRestoreEvent, parse_restore
from coffre.runtime.events.rotate import ApiKeyEvent, ConfigurationEvent, RotateEvent, parse_rotate
from coffre.runtime.observability import make_logger
from coffre.runtime.pins import answer_pin
from coffre.stores.s3 import S3Store
from coffre.stores.s3_client import make_client
from coffre.vault.vault import Vault

DESTINATION: Final = "db.example:5432/copy as me"
NAME: Final = "copy"
LOST: Final = Overwritten(
    database="copy", size_bytes=1_500_000_000, tables=12, rows_estimate=3_400_000,
    newest_row="2026-11-28 03:01:12", newest_row_in="public.orders.created_at",
)  # fmt: skip


def plan_of(event: Mapping[str, Any], lost: Overwritten = LOST) -> Plan:
    """Return the plan of an event of `restore`."""
    wanted = parse_restore(event)
    assert isinstance(wanted, RestoreEvent | StorageRestoreEvent)
    request = Request.of(Act.RESTORE, "shop", wanted.backup_id, "0" * 64, wanted.scope)
    return Plan(request=request, seen=Seen(destination=DESTINATION, name=NAME, facts=Facts(), overwrites=lost))


def is_planned(event: Mapping[str, Any]) -> bool:
    """Return whether an event is the dry run of something that overwrites."""
    wanted = parse_restore(event)
    return isinstance(wanted, RestoreEvent | StorageRestoreEvent) and wanted.dry_run and wanted.overwrites


def answer_to(account: Account, plan: Plan, *, approvals: int = 0) -> dict[str, Any]:
    """Return what the function answers; the catalog has the plan then."""
    token, issued = account.catalog.confirmations.issue(
        plan, Actor("me", verified=True), datetime.now(UTC), lifetime=timedelta(minutes=10), approvals=approvals
    )
    return {"plan": issued.answer(), "token": token}


def deciding(account: Account, *, approvals: int = 0) -> None:
    """Let the function `rotate` delete, approve, pin and cancel as it does; other rotations are only noted."""
    configuration = Configuration.model_validate(
        {
            "encryption": "none",
            "targets": [{"name": "shop", "secret": "coffre/database/shop"}],
            "confirmation": {"approvals": approvals},
        }
    )
    services = SimpleNamespace(
        catalog=account.catalog,
        vault=Vault(S3Store(BUCKET, client=make_client())),
        actor=lambda event: Actor(event.actor or account.caller, verified=True),
        configuration=lambda: configuration,
        edge=SimpleNamespace(
            logger=make_logger("rotate"),
            reporting=lambda *_, **__: nullcontext(),
            count_refusal=lambda *_, **__: None,
            attempt=lambda what, act: None,
        ),
    )

    def play(function: str, event: Mapping[str, Any]) -> object:
        wanted = parse_rotate(event)
        if function != "rotate" or isinstance(wanted, ApiKeyEvent | ConfigurationEvent):
            return None
        if isinstance(wanted, RotateEvent) and wanted.cancel is not None:
            return answer_cancel(cast(Services, services), wanted, wanted.cancel).model_dump(mode="json")
        if isinstance(wanted, RotateEvent):
            pins = wanted.pin is not None or wanted.unpin is not None
            return answer_pin(cast(Services, services), wanted).model_dump(mode="json") if pins else None
        try:
            return decide(cast(Services, services), wanted, "request-1")
        except CoffreError as error:
            return {"errorType": type(error).__name__, "errorMessage": str(error)}

    account.play = play


def at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let a person sit in front of the command; returns the seconds that it waited."""
    waited: list[float] = []
    monkeypatch.setattr("coffre_cli.commands.backups.approve.is_interactive", lambda: True)
    monkeypatch.setattr("coffre_cli.commands.restore.safety.is_interactive", lambda: True)
    # The last one: the others are imported on first use, and must not bind what stands here.
    monkeypatch.setattr("coffre_cli.confirming.is_interactive", lambda: True)
    monkeypatch.setattr("coffre_cli.confirming.time", SimpleNamespace(sleep=waited.append))
    return waited
