"""How `coffre restore objects` runs: start it, follow it, show the result."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import typer

from coffre.model.errors import BackupStateError
from coffre.model.kinds import Mode, TargetKind
from coffre.model.words import counted, duration, size
from coffre_cli.backup_argument import find_restore
from coffre_cli.commands.restore.confirm_restore import confirm
from coffre_cli.commands.restore.follow_restore import (
    end_restore,
    how_it_failed,
    plan_restore,
    run_restore,
    show_record,
)
from coffre_cli.commands.restore.object_options import ObjectChoices, store_secret
from coffre_cli.commands.restore.objects_asked import Ask
from coffre_cli.commands.restore.options import How, Which
from coffre_cli.commands.restore.safety import show_plan, show_way_back
from coffre_cli.confirming import Confirmed, PlanAnswer
from coffre_cli.deployed import DeployedStack
from coffre_cli.place import Place
from coffre_cli.screen import say, say_command, show_failure
from coffre_cli.standalone import StandaloneVault

if TYPE_CHECKING:
    from coffre.model.backup import Backup, Restore
    from coffre.model.restore_report import RestoreReport
    from coffre.model.safety import Safety
    from coffre.model.storage import StorageResult

_EXAMPLES_SHOWN = 10


def run_objects(
    which: Which, choices: ObjectChoices, how: How, seen: Callable[[StorageResult], None] = lambda _: None
) -> None:
    """Restore objects of a backup; overwriting and deleting are shown and confirmed first. `seen` gets the result."""
    place, backup = which.find()
    if not isinstance(place, StandaloneVault):
        _restore(place, backup, choices, how, seen, which.source)
        return
    with place.with_staging() as apart:
        _restore(apart, backup, choices, how, seen)


def _restore(
    place: Place,
    backup: Backup,
    choices: ObjectChoices,
    how: How,
    seen: Callable[[StorageResult], None],
    source: str | None = None,
) -> None:
    from ulid import ULID

    restore_id = str(ULID())
    ask = replace(_ask(place, backup, choices, restore_id, how.streams), source=source)
    confirmed = None
    if ask.scope.touches and not ask.scope.dry_run:
        way, confirmed = confirm(_Way(place, ask), yes=how.yes, as_json=how.as_json)
        ask = way.ask
    record, report = _run(place, ask, restore_id, confirmed, quiet=how.as_json)
    if report is not None and report.storage is not None:
        seen(report.storage)
    end_restore(record, report, lambda: _show(ask, record, report), as_json=how.as_json, safety=ask.safety)


def _ask(deployed: Place, backup: Backup, choices: ObjectChoices, restore_id: str, streams: int | None) -> Ask:
    if choices.retry is None:
        with tempfile.TemporaryDirectory() as scratch:
            scope = choices.scope(deployed, backup, restore_id, Path(scratch))
        return Ask(backup, scope, choices.store, streams, not isinstance(deployed, StandaloneVault))
    if isinstance(deployed, StandaloneVault):
        raise typer.BadParameter("--retry needs a stack: restores from a vault alone are not recorded")
    retried = find_restore(deployed, choices.retry)
    before = _storage_of(deployed, retried, backup)
    store = choices.store or before.store_secret
    if choices.store is None and before.store_secret == f"coffre/destination/{retried.id}":
        raise typer.BadParameter("that restore went to another store, whose key was not kept: give --store again")
    return Ask(backup, choices.again(before), store, streams)


def _storage_of(deployed: DeployedStack, record: Restore, backup: Backup) -> StorageResult:
    report = deployed.vault.read_report(record.report_key) if record.report_key else None
    if record.backup_id != backup.id or report is None or report.storage is None:
        raise BackupStateError(
            f"{record.id} is not a finished restore of backup {backup.id}.",
            code="RESTORE_UNKNOWN",
            hint=f"The backup of that restore is {record.backup_id}; look at it: coffre show {record.id}",
        )
    return report.storage


@dataclass(frozen=True)
class _Way:
    """How a restore of objects is planned and shown (`confirm_restore.Way`)."""

    place: Place
    ask: Ask
    changes: str = "objects in use"
    kind: TargetKind = TargetKind.BUCKET

    @property
    def _trial(self) -> Ask:
        return replace(self.ask, scope=self.ask.scope.model_copy(update={"dry_run": True}))

    def plan(self, *, quiet: bool) -> tuple[Restore, RestoreReport | None, PlanAnswer | None]:
        from ulid import ULID

        restore_id = str(ULID())
        if isinstance(self.place, StandaloneVault):
            return *_run(self.place, self._trial, restore_id, None, quiet=quiet), None
        with _event_of(self.place, self._trial, restore_id) as event:
            return plan_restore(self.place, self.ask.backup, event, quiet=quiet)

    def show(self, record: Restore, report: RestoreReport | None) -> None:
        _show(self._trial, record, report)

    def with_safety(self, safety: Safety | None, *, is_declined: bool) -> Self:
        scope = self.ask.scope.model_copy(update={"no_safety": is_declined or self.ask.scope.no_safety})
        return replace(self, ask=replace(self.ask, scope=scope, safety=safety))


@contextmanager
def _event_of(deployed: DeployedStack, ask: Ask, restore_id: str) -> Iterator[dict[str, Any]]:
    """Yield the event of a restore, with a secret for its store that exists meanwhile."""
    from coffre_cli.follow import left_on_interrupt

    with store_secret(deployed, ask.store, restore_id) as store, left_on_interrupt(deployed, restore_id):
        storage = ask.scope.model_dump(mode="json", exclude_defaults=True)
        event = {"restore_id": restore_id, "store": store, "streams": ask.streams, "from": ask.source}
        yield {**event, "storage": storage}


def _run(
    deployed: Place, ask: Ask, restore_id: str, confirmed: Confirmed | None, *, quiet: bool
) -> tuple[Restore, RestoreReport | None]:
    if isinstance(deployed, StandaloneVault):
        from coffre_cli.commands.restore.without_stack import restore_objects_here

        return restore_objects_here(deployed, ask, confirmed, quiet=quiet)
    with _event_of(deployed, ask, restore_id) as event:
        event["confirmation"] = confirmed.in_event if confirmed else None
        return run_restore(deployed, ask.backup, event, dry_run=ask.scope.dry_run, quiet=quiet)


def _show(ask: Ask, record: Restore, report: RestoreReport | None) -> None:
    if record.failure is not None:
        say(how_it_failed(ask.backup.target, record.failure), style="red")
        show_failure(record.failure)
        show_way_back(ask.safety, ask.way_back)
    if report is None or report.storage is None:
        show_record(record)
        return
    if report.dry_run:
        say(f"Nothing was changed in {report.destination}. This would be done:")
        show_plan(report.safety)
        for step in report.steps:
            say(f"  {step}")
        show_examples(report.storage)
    else:
        say(_done(ask, record, report.storage), style="green")
        for note in report.storage.notes:
            say(f"  Note: {note}")
    for exception in record.exceptions:
        say(f"  Exception: {exception}", style="yellow")
    _show_next(ask, record, report.storage)


def _done(ask: Ask, record: Restore, result: StorageResult) -> str:
    bytes_written = size(result.restored.size_bytes + result.overwritten.size_bytes)
    written = f"{counted(result.written, 'object')} ({bytes_written}) in {duration(record.duration_ms)}"
    changed = _listed((result.overwritten.count, "overwritten"), (result.deleted.count, "deleted"))
    skipped = _listed((result.same.count, "identical"), (result.left.count, "different (not overwritten)"))
    failed = _listed((result.failed.count, "failed"))
    return (
        f"Restored {ask.backup.target} in {record.destination}: {written}{changed and f', {changed}'}."
        f"{skipped and f' Skipped: {skipped}.'}{failed and f' {failed.capitalize()}.'}"
    )


def _listed(*counts: tuple[int, str]) -> str:
    """Return those that are not zero: `2 identical, 1 different`."""
    return ", ".join(f"{count:,} {what}" for count, what in counts if count)


def show_examples(result: StorageResult) -> None:
    """Print the first names of what is overwritten or deleted."""
    from coffre.model.storage import StorageOutcome

    for outcome, word in ((StorageOutcome.OVERWRITTEN, "Overwrite"), (StorageOutcome.DELETED, "Delete")):
        names, amount = result.examples.get(outcome, ()), getattr(result, outcome.value)
        for name in names[:_EXAMPLES_SHOWN]:
            say(f"  {word} {name}")
        if amount.count > len(names[:_EXAMPLES_SHOWN]):
            say(f"  ... and {amount.count - len(names[:_EXAMPLES_SHOWN]):,} more")


def _show_next(ask: Ask, record: Restore, result: StorageResult) -> None:
    if result.left.count and ask.scope.mode is Mode.MISSING:
        say("Existing objects were not changed. To replace them, run this again with --mode overwrite.")
    if result.failed_lists and ask.has_stack:
        say("To retry the failed objects:")
        say_command(f"coffre restore objects {ask.backup.id} --retry {record.id}")
    if record.failure is None:
        show_way_back(ask.safety, ask.way_back)
