"""Hold the snapshot of a spread backup for a while, and hand it on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from coffre.catalog.spread import Epoch
from coffre.model.backup import Progress
from coffre.model.errors import DumpError
from coffre.model.times import parse_span
from coffre.operations.backup_database.spread.step import SILENT_AFTER, Step, newest_snapshot
from coffre.operations.runs.heartbeat import DEADLINE_RESERVE_SECONDS
from coffre.postgres.source.snapshot_relay import SnapshotGoneError

PLANNER: Final = "plan"
# Of another epoch, before this one may end. A worker that reads an epoch imports it within seconds.
_OVERLAP_SECONDS: Final = 60.0
# Between the record that it ends and its end: for those who have just read that it lives.
_GRACE_SECONDS: Final = 2.0
# Between the end of an epoch's planned life and the deadline: if no other one has begun, it is prolonged that long.
_SPARE_SECONDS: Final = 120.0
# Of a life: an epoch that begins while the other one has more than this left would end at the same time.
_STAGGERED_SHARE: Final = 0.75
_LOOK_SECONDS: Final = 1.0
_LAST_LOOK_SECONDS: Final = 5.0
_ALIVE_EVERY: Final = 5  # looks


@dataclass(frozen=True)
class Held:
    """How an invocation of a holder ended: `epoch` is the last one that it held."""

    epoch: int


class Holding:
    """An epoch while it is held: its heartbeat, and the progress of the whole run.

    Parameters
    ----------
    life_seconds
        How long an epoch lives at most; None: as long as the function can.
    """

    def __init__(self, step: Step, holder: str, life_seconds: float | None) -> None:
        self._step = step
        self._holder = holder
        own = step.remaining_seconds() - DEADLINE_RESERVE_SECONDS - _SPARE_SECONDS
        self._life = max(1.0, min(own, life_seconds or own))
        self._transactions = 0
        self.number: int | None = None

    def hold(self) -> Held:
        """Import the snapshot, export it again as a new epoch, and keep that until another one has taken over.

        Raises
        ------
        DumpTransientError
            `SNAPSHOT_LOST`
        DumpError
            `SNAPSHOT_TOO_OLD`
        ConnectError
            `WRONG_SERVER`
        LockLostError
            The run has ended.
        """
        step = self._step
        with newest_snapshot(step) as joined:
            self._transactions = joined.transactions
            epoch = self._begin(joined.holder.snapshot)
            try:
                looks = 0
                while not self._may_end(epoch):
                    self._refuse_old()
                    if looks % _ALIVE_EVERY == 0:
                        joined.holder.keep_alive()
                    looks += 1
                    step.pause(min(_LOOK_SECONDS, self._life / 10))
            finally:
                step.catalog.spread.end_epoch(step.header.backup_id, epoch.number)
            step.pause(min(_GRACE_SECONDS, self._life / 10))
        return Held(epoch.number)

    def beat(self) -> None:
        """Renew the lock, the record and the epoch.

        Raises
        ------
        LockLostError
            The run has ended.
        """
        step, now = self._step, self._step.job.now()
        backup_id = step.header.backup_id
        step.catalog.locks.renew(step.header.target, backup_id, now)
        step.catalog.heartbeat_backup(backup_id, now, self._progress())
        if self.number is not None:
            step.catalog.spread.keep_epoch(backup_id, self.number, now)

    def _begin(self, snapshot: str) -> Epoch:
        """Add an epoch with the next free number. One that would end about when another does lives half as long."""
        step = self._step
        while True:
            now = step.job.now()
            epochs = step.catalog.spread.epochs(step.header.backup_id)
            late = now + timedelta(seconds=self._life * _STAGGERED_SHARE)
            life = self._life / 2 if any(one.expires_at > late for one in self._others(epochs, now)) else self._life
            number = max((epoch.number for epoch in epochs), default=0) + 1
            epoch = Epoch(number, self._holder, snapshot, now + timedelta(seconds=life), now)
            if step.catalog.spread.begin_epoch(step.header.backup_id, epoch):
                self.number = number
                return epoch

    def _others(self, epochs: list[Epoch], now: datetime) -> list[Epoch]:
        """Return the epochs of the other holder that live. The planner's ends as soon as there is one of a holder."""
        return [one for one in epochs if one.holder not in (self._holder, PLANNER) and one.is_alive(now, SILENT_AFTER)]

    def _may_end(self, epoch: Epoch) -> bool:
        step, now = self._step, self._step.job.now()
        if now < epoch.expires_at:
            return False
        safe = now + timedelta(seconds=min(_OVERLAP_SECONDS, self._life / 4))
        for other in self._others(step.catalog.spread.epochs(step.header.backup_id), now):
            # Two that are both due must not wait for each other: the older one goes, the newer has its spare time.
            spare = _SPARE_SECONDS if other.number > epoch.number else 0.0
            if other.expires_at + timedelta(seconds=spare) >= safe:
                return True
        if step.remaining_seconds() <= DEADLINE_RESERVE_SECONDS + _LAST_LOOK_SECONDS:
            raise SnapshotGoneError(
                "The function that holds the backup's snapshot has no time left, and no other one has taken over.",
                hint="Nothing was published. Look at the state machine's execution: did its branches of holders run? "
                "Then run the backup again.",
            )
        return False

    def _refuse_old(self) -> None:
        age = self._step.job.now() - self._step.header.taken_at
        limit = self._step.job.target.limits.snapshot_age
        if age > parse_span(limit):
            raise DumpError(
                f"The backup has held its snapshot for more than {limit}, the longest that limits.snapshot_age allows.",
                code="SNAPSHOT_TOO_OLD",
                hint="Nothing was published. The server kept all dead rows since then. Raise limits.snapshot_age, or "
                "limits.streams so that it is read faster, or take the backup at a quiet hour.",
            )

    def _progress(self) -> Progress:
        step, now = self._step, self._step.job.now()
        groups = step.catalog.spread.groups(step.header.backup_id)
        working = [group for group in groups if group.is_alive(now, SILENT_AFTER)]
        is_sealing = step.catalog.spread.is_sealing(step.header.backup_id)
        return Progress(
            phase="seal" if is_sealing else "tables",
            done_bytes=sum(group.done_bytes for group in groups),
            total_bytes=step.header.total_bytes,
            done_tables=sum(group.done_tables for group in groups),
            total_tables=step.header.total_tables,
            current=next((group.current for group in working if group.current), None),
            workers=len(working),
            snapshot_seconds=int((now - step.header.taken_at).total_seconds()),
            snapshot_transactions=self._transactions,
        )
