"""How `coffre restore database`, `tables` and `rows` plan, confirm, run and follow a restore."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from coffre.model.kinds import TargetKind
from coffre_cli.commands.restore.confirm_restore import confirm
from coffre_cli.commands.restore.database_result import Ask, show_result
from coffre_cli.commands.restore.destination import DestinationChoice, destination_secret
from coffre_cli.commands.restore.follow_restore import end_restore, plan_restore, run_restore
from coffre_cli.commands.restore.options import How, Which
from coffre_cli.confirming import Confirmed, PlanAnswer
from coffre_cli.deployed import DeployedStack
from coffre_cli.place import Place
from coffre_cli.standalone import StandaloneVault

if TYPE_CHECKING:
    from coffre.model.backup import Restore
    from coffre.model.restore import Scope
    from coffre.model.restore_report import RestoreReport
    from coffre.model.safety import Safety


def run_database(which: Which, scope: Scope, wanted: DestinationChoice | None, how: How) -> None:
    """Restore a database or parts of one; what overwrites is planned and confirmed first."""
    deployed, backup = which.find()
    ask = Ask(backup, scope, wanted, source=which.source, is_named=which.backup_id != "latest")
    if isinstance(deployed, StandaloneVault):
        ask = _of_base(deployed, replace(ask, command=deployed.command, has_stack=False))
    confirmed = None
    if scope.overwrites and not scope.dry_run:
        way, confirmed = confirm(_Way(deployed, ask), yes=how.yes, as_json=how.as_json)
        ask = way.ask
    record, report = _run(deployed, ask, how.streams, confirmed, quiet=how.as_json)
    if record.backup_id != ask.backup.id:
        ask = replace(ask, backup=deployed.catalog.get_backup(record.backup_id))
    if report is not None and not (ask.has_stack or scope.dry_run):
        from coffre_cli.commands.restore.without_stack import keep_report

        ask = replace(ask, report=keep_report(report))
    end_restore(record, report, lambda: show_result(ask, record, report), as_json=how.as_json, safety=ask.safety)


@dataclass(frozen=True)
class _Way:
    """How a restore of a database is planned and shown (`confirm_restore.Way`)."""

    place: Place
    ask: Ask
    changes: str = "a database in use"
    kind: TargetKind = TargetKind.DATABASE

    @property
    def _trial(self) -> Ask:
        return replace(self.ask, scope=self.ask.scope.model_copy(update={"dry_run": True}))

    def plan(self, *, quiet: bool) -> tuple[Restore, RestoreReport | None, PlanAnswer | None]:
        if isinstance(self.place, StandaloneVault):
            return *_run(self.place, self._trial, None, None, quiet=quiet), None
        with _event_of(self.place, self._trial, None) as event:
            return plan_restore(self.place, self.ask.backup, event, quiet=quiet)

    def show(self, record: Restore, report: RestoreReport | None) -> None:
        show_result(self._trial, record, report)

    def with_safety(self, safety: Safety | None, *, is_declined: bool) -> Self:
        scope = self.ask.scope.model_copy(update={"no_safety": is_declined or self.ask.scope.no_safety})
        return replace(self, ask=replace(self.ask, scope=scope, safety=safety))


@contextmanager
def _event_of(deployed: DeployedStack, ask: Ask, streams: int | None) -> Iterator[dict[str, Any]]:
    """Yield the event of a restore, with a secret for its destination that exists meanwhile."""
    from ulid import ULID

    from coffre_cli.follow import left_on_interrupt

    restore_id = str(ULID())
    with destination_secret(deployed, ask.wanted, restore_id) as reference, left_on_interrupt(deployed, restore_id):
        event = {"destination": reference, "restore_id": restore_id, "streams": streams, "from": ask.source}
        if ask.scope.at is not None and not ask.is_named:
            event |= {"backup_id": "latest", "target": ask.backup.target}
        yield event | ask.scope.model_dump(mode="json", exclude_defaults=True)


def _of_base(place: StandaloneVault, ask: Ask) -> Ask:
    """Return what was asked for, with the backup that its moment is made from."""
    from coffre.operations.restore_database.moments import base_for

    if ask.scope.at is None or ask.is_named:
        return ask
    backups = place.catalog.completed_backups(ask.backup.target)
    base = base_for(ask.scope.at, place.vault, ask.backup.target, backups, None, lambda: place.decoder_of(ask.backup))
    return replace(ask, backup=base)


def _run(
    deployed: Place, ask: Ask, streams: int | None, confirmed: Confirmed | None, *, quiet: bool
) -> tuple[Restore, RestoreReport | None]:
    if isinstance(deployed, StandaloneVault):
        from coffre_cli.commands.restore.without_stack import restore_database_here

        return restore_database_here(deployed, ask, streams, confirmed, quiet=quiet)
    with _event_of(deployed, ask, streams) as event:
        event["confirmation"] = confirmed.in_event if confirmed else None
        return run_restore(deployed, ask.backup, event, dry_run=ask.scope.dry_run, quiet=quiet)
