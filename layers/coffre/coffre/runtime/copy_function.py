"""The function `copy`: which targets and destinations an event means, and which alerts follow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

from ulid import ULID

from coffre.alerts.alert import Alert, AlertKind
from coffre.alerts.copies import copy_failed
from coffre.model.backup import Backup, Failure
from coffre.model.configuration import Configuration
from coffre.model.copies import CopyStatus, Destination, DirectoryDestination
from coffre.model.errors import EventError
from coffre.operations.copy.copy_journal import JournalCopy
from coffre.operations.copy.copy_target import Copied, TargetCopyJob, copy_target, refuse_uncopied
from coffre.operations.doctor.copies import try_copies
from coffre.operations.stored_backup.backup_in_copy import completed_copy
from coffre.operations.stored_backup.kept_journal import LONGEST_WINDOW, window_of
from coffre.policy.copies import is_copied
from coffre.policy.locking import lock_until
from coffre.runtime.bootstrap import Services
from coffre.runtime.copies import open_copy
from coffre.runtime.environment import Settings
from coffre.runtime.events.copy import CopiedElsewhere, CopyEvent
from coffre.runtime.function import LambdaContext, remaining_seconds, utc_now
from coffre.runtime.invocations import start_each, start_next
from coffre.runtime.metering import metered
from coffre.vault.layout import manifest_key
from coffre.vault.vault import Vault

# Enough for the packs that are under way, at the pace of a slow destination.
_RESERVE_SECONDS: Final = 60.0
# Of 15 minutes each: two days. At 50 MB/s that is 9 TB.
_MOST_INVOCATIONS: Final = 200


@dataclass(frozen=True)
class CopyFunction:
    """Everything that lives as long as the function's process."""

    services: Services

    @classmethod
    def make(cls, environment: Mapping[str, str]) -> Self:
        """Put the function together from its environment."""
        return cls(Services("copy", Settings.from_env(environment)))

    @metered
    def handle(self, event: object, context: LambdaContext) -> dict[str, Any]:
        """Copy what the event means: one target to one destination here, each other in an invocation of its own."""
        with self.services.edge.beginning(context, event):
            wanted = CopyEvent.parse(event)
            configuration = self.services.configuration()
            if wanted.doctor:
                return self._look(configuration, probe=wanted.probe)
            if wanted.copied is not None:
                return self._note(configuration, wanted, wanted.copied)
            runs = list(_runs(configuration, wanted))
        if wanted.target is not None and wanted.to is not None and not runs:
            why = why_not_here(configuration.destination(wanted.to))
            return asdict(Copied(wanted.to, wanted.target, left_out=why))
        if len(runs) != 1 or wanted.target is None or wanted.to is None:
            sent = wanted.sent_by(self.services.actor(wanted))
            events = [(f"{target} to {to.name}", sent.of(target, to.name)) for target, to in runs]
            return {"started": start_each(self.services.functions, context.function_name, events, "copy")}
        [(target, destination)] = runs

        def failed(error: Exception) -> Alert:
            failure = Failure.of(error)
            return copy_failed(destination.name, target, failure, request_id=context.aws_request_id)

        with self.services.edge.reporting(failed, target=target, destination=destination.name):
            copied = self._copy(configuration, wanted, target, destination, context)
        self._after(copied, wanted, context)
        return asdict(copied)

    def _look(self, configuration: Configuration, *, probe: bool) -> dict[str, Any]:
        """Return what this function's role can do with each destination that it reaches."""
        catalog = self.services.catalog

        def newest(destination: Destination) -> str | None:
            whole = (one for one in catalog.copies.of(destination.name) if one.status is CopyStatus.COMPLETED)
            found = max(whole, key=lambda one: one.backup_id, default=None)
            return manifest_key(found.target, found.backup_id) if found is not None else None

        reached = [one for one in configuration.copies if not isinstance(one.store, DirectoryDestination)]
        places = try_copies(reached, partial(open_copy, self.services), newest, utc_now(), probe=probe)
        return {"places": [asdict(place) for place in places]}

    def _copy(
        self,
        configuration: Configuration,
        wanted: CopyEvent,
        target: str,
        destination: Destination,
        context: LambdaContext,
    ) -> Copied:
        services, left = self.services, remaining_seconds(context)
        services.metering.about(target)
        vault = open_copy(services, destination)
        job = TargetCopyJob(
            run_id=str(ULID.from_datetime(utc_now())),
            catalog=services.catalog,
            source=services.vault,
            destination=destination,
            target=target,
            open_at=partial(_locked, vault, configuration, destination),
            now=utc_now,
            is_time_over=lambda: left() < _RESERVE_SECONDS,
            records_at=vault,
            journal=_journal_at(vault, configuration, target),
            requests=services.metering.tally.requests,
            on_copied=lambda backup: self._audit(wanted, destination, backup),
        )
        return copy_target(job, self._named(wanted, target))

    def _audit(self, wanted: CopyEvent, destination: Destination, backup: Backup) -> None:
        actor = self.services.actor(wanted)
        self.services.edge.audit(actor, "backup.copied", backup.target, backup.id, f"to {destination.name}")

    def _note(self, configuration: Configuration, wanted: CopyEvent, copied: CopiedElsewhere) -> dict[str, Any]:
        """Record what a command has copied into a directory that this function does not have.

        Raises
        ------
        EventError
            `COPY_OF_OTHERS`: the destination is no directory, whose copies this function makes itself.
        BackupStateError
            A backup does not exist, or is no good one: nothing was recorded.
        """
        destination = configuration.destination(copied.to)
        if not isinstance(destination.store, DirectoryDestination):
            raise EventError(
                f"Copies in {destination.name} are recorded by this function when it makes them.",
                code="COPY_OF_OTHERS",
                hint=f"Make them by: coffre copy --to {destination.name}",
            )
        backups, now = [self.services.catalog.get_backup(one) for one in copied.backups], utc_now()
        for backup in backups:
            refuse_uncopied(backup)
        for backup in backups:
            self.services.catalog.copies.keep(completed_copy(destination.name, backup, now, by_command=True))
            self._audit(wanted, destination, backup)
        return {"recorded": [backup.id for backup in backups]}

    def _named(self, wanted: CopyEvent, target: str) -> list[Backup] | None:
        """Return the backups that the event names; None: those that are due."""
        catalog = self.services.catalog
        if wanted.backup_id is not None:
            return [catalog.get_backup(wanted.backup_id)]
        if wanted.all:
            return [one for one in catalog.completed_backups(target) if is_copied(one)]
        return None

    def _after(self, copied: Copied, wanted: CopyEvent, context: LambdaContext) -> None:
        edge, about = self.services.edge, f"{copied.destination}: "
        edge.logger.info("copied", extra=asdict(copied))
        if copied.journal_lacks:
            edge.logger.warning(
                "the vault has lost a part of the journal, which the copy lacks too", extra=asdict(copied)
            )
        if copied.unfinished is not None:
            self._continue(copied, wanted, context)
        elif not copied.busy:
            edge.recovered(copied.target, AlertKind.COPY_FAILED, about=about)

    def _continue(self, copied: Copied, wanted: CopyEvent, context: LambdaContext) -> None:
        number = wanted.after_invocations + 1
        if number >= _MOST_INVOCATIONS:
            self.services.edge.logger.error("the copy is not whole after all invocations", extra=asdict(copied))
            return
        event = wanted.model_copy(update={"after_invocations": number}).of(copied.target, copied.destination)
        hint = f"What was copied stays; the next run continues: coffre copy {copied.unfinished} --to ..."
        start_next(self.services.functions, context.function_name, event, what="The copy", hint=hint)


def _runs(configuration: Configuration, wanted: CopyEvent) -> Iterator[tuple[str, Destination]]:
    """Yield each target with each destination that an event means.

    Raises
    ------
    TargetUnknownError, CopyUnknownError
        It names one that is not configured.
    EventError
        `COPY_OF_OTHERS`: the named destination has other targets.
    """
    if wanted.target is not None:
        configuration.target(wanted.target)
    if wanted.to is not None:
        _refuse(configuration, configuration.destination(wanted.to), wanted.target)
    for target in configuration.targets:
        if wanted.target not in (None, target.name):
            continue
        for destination in configuration.copies_of(target.name):
            if wanted.to in (None, destination.name) and why_not_here(destination) is None:
                yield target.name, destination


def why_not_here(destination: Destination) -> str | None:
    """Return why this process cannot copy to a destination; None: it can."""
    if destination.copied_by == "replication":
        return "your own replication copies to it (copied_by)"
    place = destination.store
    if isinstance(place, DirectoryDestination) and not Path(place.path).is_dir():
        return f"the function does not have the directory {place.path}"
    return None


def _refuse(configuration: Configuration, destination: Destination, target: str | None) -> None:
    if target is not None and destination not in configuration.copies_of(target):
        raise EventError(
            f"Backups of {target} are not copied to {destination.name}.",
            code="COPY_OF_OTHERS",
            detail=f"Its targets: {', '.join(destination.targets)}",
            hint="Add the target there: coffre config edit",
        )


def _journal_at(vault: Vault, configuration: Configuration, target: str) -> JournalCopy:
    """Return where a destination gets a journal: in its vault, with the locks that it needs there."""
    window = next((window_of(one) for one in configuration.targets if one.name == target), LONGEST_WINDOW)
    return JournalCopy(vault.locking_new_until(utc_now() + window), utc_now() - window)


def _locked(vault: Vault, configuration: Configuration, destination: Destination, backup: Backup) -> Vault:
    """Return the destination's vault for one backup: with the locks that it needs there."""
    if vault.locks is None:
        return vault
    retention = destination.retention or configuration.target(backup.target).retention
    return vault.locking_new_until(lock_until(backup, retention, utc_now()))
