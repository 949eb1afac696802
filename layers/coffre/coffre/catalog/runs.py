"""What the records of backups and restores have in common: made once, changed only from the states that allow it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from coffre.catalog.items import index_value
from coffre.catalog.records import read_record, sorted_tiers
from coffre.catalog.run_items import BackupItem, RunItem
from coffre.catalog.run_kinds import RunKind
from coffre.catalog.tables import ConditionFailedError, DynamoTable
from coffre.model.backup import Backup, Progress, Restore, Status, Tier
from coffre.model.errors import BackupStateError, LockLostError, RunCancelledError

_NOT_RESULTS: Final = frozenset(
    {"target", "kind", "tiers", "status", "slot", "created_at", "heartbeat_at", "backup_id", "confirmed"}
    | {"verified_at", "damaged_at", "damage", "damage_count", "read_until", "read_frames", "pinned_at", "expires_at"}
    | {"cancelled_by", "deleted_at", "deletion", "held_at", "hold", "hold_progress", "lock_progress"}
)


class Runs[R: (Backup, Restore)]:
    """The records of one kind."""

    def __init__(self, table: DynamoTable, kind: RunKind[R]) -> None:
        self._table = table
        self._kind: RunKind[R] = kind

    def create(self, record: R) -> None:
        """Add a record, whose id must be new."""
        kind = self._kind
        item = kind.item(pk=kind.partition, sk=record.id, **self._attributes(_fields(record), target=record.target))
        try:
            self._table.put(item, RunItem.pk.does_not_exist())
        except ConditionFailedError as error:
            if error.repeated and self._is_stored(record):
                return  # The answer to our own first attempt was lost.
            raise BackupStateError(
                f"The {kind.noun} {record.id} exists already.",
                code=f"{kind.partition}_EXISTS",
                hint="Every run has an id of its own: was a record used twice?",
            ) from error

    def _is_stored(self, record: R) -> bool:
        found = self.find(record.id)
        return found is not None and _fields(found) == _fields(record)

    def find(self, run_id: str) -> R | None:
        """Return a record as it is at this instant, or None."""
        raw = self._table.get(self._kind.partition, run_id)
        return read_record(raw, self._kind.item, self._kind.record) if raw else None

    def get(self, run_id: str) -> R:
        """Return a record as it is at this instant."""
        record = self.find(run_id)
        if record is None:
            raise unknown_run(self._kind, run_id)
        return record

    def heartbeat(self, run_id: str, now: datetime, progress: Progress) -> None:
        """Record that a run in progress is alive, and how far it is.

        Raises
        ------
        RunCancelledError
            A person wants it to end.
        """
        fields = {"heartbeat_at": now, "progress": progress.model_dump()}
        try:
            record = self.change(run_id, fields, allowed=(Status.IN_PROGRESS,))
        except ConditionFailedError as error:
            found = self.find(run_id)
            raise LockLostError(
                f"The {self._kind.noun} {run_id} is no longer this run's.",
                detail=f"Its record says {found.status}." if found else "It has no record.",
                hint="Another run or a check of freshness took it for dead. It has stopped; see the audit events.",
            ) from error
        if record.cancelled_by is not None:
            raise cancelled_by(self._kind.noun, run_id, record.cancelled_by)

    def cancel(self, run_id: str, by: str) -> R:
        """Ask a run in progress to end, and return its record; the first who asks is kept.

        Raises
        ------
        BackupStateError
            `RUN_ENDED`: it has ended just now.
        """
        try:
            return self.change(
                run_id,
                {"cancelled_by": by},
                allowed=(Status.IN_PROGRESS,),
                where=self._kind.item.cancelled_by.does_not_exist(),
            )
        except ConditionFailedError as error:
            found = self.get(run_id)
            if found.status is Status.IN_PROGRESS:
                return found
            raise BackupStateError(
                f"The {self._kind.noun} {run_id} has just ended: it is {found.status}.",
                code="RUN_ENDED",
                hint="Nothing is left to cancel.",
            ) from error

    def change_own(self, run_id: str, fields: Mapping[str, Any], hint: str) -> None:
        """Set fields of a run in progress, for the run itself.

        Raises
        ------
        LockLostError
            It is not in progress any more. `hint` says what that means for what the run has done.
        """
        try:
            self.change(run_id, fields, allowed=(Status.IN_PROGRESS,))
        except ConditionFailedError as error:
            raise LockLostError(f"The {self._kind.noun} {run_id} is no longer this run's.", hint=hint) from error

    def change(
        self,
        run_id: str,
        fields: Mapping[str, Any],
        *,
        allowed: Sequence[Status],
        status: Status | None = None,
        tiers: Sequence[Tier] = (),
        where: Condition | None = None,
        also: Sequence[Action] = (),
    ) -> R:
        """Set fields (and the status), join tiers, and return the record; only from the allowed states.

        A field that is None is removed; `also` are changes that the store computes. Tiers are added in the store, never
        written whole, so that one that joins meanwhile is not lost.

        Raises
        ------
        ConditionFailedError
            The record is in another state, does not exist, or `where` is not met.
        """
        item = self._kind.item
        actions: list[Action] = [
            getattr(item, name).remove() if value is None else getattr(item, name).set(value)
            for name, value in self._attributes(fields, status=status).items()
        ]
        actions.extend(also)
        if tiers:
            actions.append(BackupItem.tiers.add({tier.value for tier in tiers}))
        condition = RunItem.status.is_in(*(state.value for state in allowed))
        if where is not None:
            condition &= where
        raw = self._table.update(self._kind.partition, run_id, actions, condition)
        return read_record(raw, item, self._kind.record)

    def close(
        self,
        record: R,
        status: Status,
        *,
        allowed: Sequence[Status],
        tiers: Sequence[Tier] = (),
        where: Condition | None = None,
    ) -> R:
        """Write how a run ended: every result that the record has. Progress that was never counted is no result.

        Of a run that was FAILED, and is done after all, the failure goes.
        """
        fields = {name: value for name, value in _fields(record).items() if name not in _NOT_RESULTS}
        if status is Status.COMPLETED:
            fields["failure"] = None
        if record.progress == Progress():
            del fields["progress"]
        return self.change(record.id, fields, allowed=allowed, status=status, tiers=tiers, where=where)

    def _attributes(
        self, fields: Mapping[str, Any], *, target: str | None = None, status: Status | None = None
    ) -> dict[str, Any]:
        attributes = dict(fields)
        if target is not None:
            attributes["target_key"] = index_value(self._kind.partition, target)
        if status is not None:
            attributes["status"] = status
        if "status" in attributes:
            attributes["status"] = Status(attributes["status"]).value
            attributes["status_key"] = index_value(self._kind.partition, attributes["status"])
        return attributes


def unknown_run(kind: RunKind[Any], run_id: str) -> BackupStateError:
    """Return the error for an id that no run has."""
    return BackupStateError(f'There is no {kind.noun} "{run_id}".', code=f"{kind.partition}_UNKNOWN", hint=kind.hint)


def cancelled_by(noun: str, run_id: str, who: str) -> RunCancelledError:
    """Return what ends a run that a person cancelled."""
    return RunCancelledError(
        f"The {noun} {run_id} was cancelled by {who}.",
        hint="Nothing else is wrong. Start it again whenever it suits.",
    )


def _fields(record: Backup | Restore) -> dict[str, Any]:
    # pynamodb takes only lists for lists; sorted tiers make equal records equal.
    fields = {name: value for name, value in record.model_dump(exclude={"id"}).items() if value is not None}
    fields["exceptions"] = list(record.exceptions)
    fields["notes"] = list(record.notes)
    if isinstance(record, Backup):
        fields["tiers"] = sorted_tiers(record.tiers)
    return fields
