"""The sample of `coffre local up` as the pages restore it: functions that answer what they answer there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from tests.unit.cli.planning import answer_to, at_a_terminal, is_planned, plan_of
from tests.unit.docs.scenes import Stage

from coffre.model.backup import Tier
from coffre.model.confirmation import Overwritten, Seen
from coffre.model.database_target import DatabaseTarget
from coffre.model.restore_report import LeftOut, RestoredTable
from coffre.model.safety import Safety
from coffre.operations.runs.safety import SafetyRecords, decide
from coffre.stores.s3 import S3Store
from coffre.stores.s3_client import make_client
from coffre.vault.vault import Vault

HERE: Final = "127.0.0.1:48351/casa"
DESTINATION: Final = "postgresql://postgres:secret@127.0.0.1:48351/casa_copy"
LOST: Final = Overwritten(database="casa", size_bytes=92_100_000, tables=49, rows_estimate=765_000)


def tables(number: int) -> tuple[RestoredTable, ...]:
    """Return what a report says with this number of tables."""
    return tuple(RestoredTable(table=f"casa.t{at}", rows=1, size_bytes=1, duration_ms=1) for at in range(number))


def whole() -> dict[str, Any]:
    """Return what the report of a restore of the whole sample says."""
    return {"tables": tables(49), "rows": 766_090}


def play(
    stage: Stage,
    *,
    milliseconds: int,
    report: Mapping[str, Any],
    steps: Sequence[str] = (),
    where: str = HERE,
    target: str = "casa",
    lost: Overwritten = LOST,
    is_backed_up: bool = False,
) -> None:
    """Let a stack hold a backup of the sample, and a restore of it end like this.

    `report` may have functions of the restore's id; `steps` are those of its dry run. `is_backed_up`: the present state
    is backed up first.
    """
    account = stage.account
    account.configure(target)
    stage.terminal.values["01M8GA..."] = account.backup(target=target).id

    def restore(event: Mapping[str, Any]) -> object:
        dry_run, run = bool(event.get("dry_run")), str(event["restore_id"]).lower()
        ids = {"id": event["restore_id"], "backup_id": event["backup_id"], "target": target}
        said: dict[str, Any] = {"dry_run": dry_run, "destination": where, "target": target, "tables": (), "rows": 0}
        plan = None
        if dry_run:
            seen = Seen(
                destination=f"{where} as postgres", name="casa", facts=plan_of(event).seen.facts, overwrites=lost
            )
            plan = plan_of(event).model_copy(update={"seen": seen}) if is_planned(event) else None
            safety = _safety(stage, where) if is_backed_up else None
            said |= {"plan": plan, "safety": safety, "steps": tuple(step.replace("<id>", run) for step in steps)}
        else:
            said |= {name: value(run) if callable(value) else value for name, value in report.items()}
        left_out: Sequence[LeftOut] = said.get("left_out", ())
        account.restore(
            **ids,
            dry_run=dry_run,
            destination=where,
            duration_ms=milliseconds,
            exceptions=tuple(str(one) for one in left_out),
            report=said,
        )
        return answer_to(account, plan) if plan else None

    def answer(function: str, event: Mapping[str, Any]) -> object:
        if function == "restore":
            return restore(event)
        account.backup(id=event["backup_id"], target=event["target"], tiers=(Tier(event["tier"]),))
        return None

    account.play = answer


def person(stage: Stage) -> None:
    """Let a person sit in front of the command."""
    at_a_terminal(stage.monkeypatch)


def _safety(stage: Stage, where: str) -> Safety:
    """Return what the function says about the backup of what is overwritten."""
    vault = Vault(S3Store("vault", client=make_client()))
    records = SafetyRecords(stage.account.catalog, vault, datetime.now(UTC), restored="")
    target = DatabaseTarget(name="casa", secret="coffre/database/casa")
    return decide(records, target, lambda _: (), place=where, is_essential=True, is_trial=True)
