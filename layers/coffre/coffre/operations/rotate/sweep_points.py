"""The records of restore points in the vault, which go when a part of the point has gone."""

from __future__ import annotations

from collections.abc import Callable

from coffre.model.backup import Status
from coffre.model.points import PointRecord
from coffre.operations.rotate.batch_delete import Remover
from coffre.operations.rotate.sweep_job import GRACE, SweepJob, SweepTally
from coffre.stores.store import ObjectInfo
from coffre.vault.layout import point_of


class PointsWalk:
    """Goes through the objects of points. The catalog is read when the first one comes."""

    def __init__(self, job: SweepJob, remover: Remover, tally: SweepTally) -> None:
        self._job = job
        self._remover = remover
        self._tally = tally
        self._is_over: Callable[[str], bool] | None = None

    def visit(self, info: ObjectInfo) -> bool:
        """Remove an object whose point is over; return whether it belongs to a point at all."""
        key = point_of(info.key)
        if key is None:
            return False
        self._is_over = self._is_over or self._judge()
        if self._is_over(key.id) and self._remover.locked(info.key).why_kept(self._job.now) is None:
            self._remover.remove_soon(info.key)
            self._tally.records_removed = self._tally.records_removed.plus(info.size)
        return True

    def _judge(self) -> Callable[[str], bool]:
        backups, points = self._job.summaries(), self._job.records.points()

        def states(point: PointRecord) -> set[Status | None]:
            found = (backups.get(part.backup_id) for part in point.parts)
            return {one.status if one is not None else None for one in found}

        def is_over(point_id: str) -> bool:
            point = points.get(point_id)
            if point is None:
                return False  # the catalog was rebuilt, or the point is just being begun
            seen = states(point)
            # A part that runs for days still reads the lists; a point whose parts are all COMPLETED waits for its seal.
            is_waiting = Status.IN_PROGRESS in seen or seen == {Status.COMPLETED}
            was_left = point.sealed_at is None and not is_waiting and self._job.now - point.taken_at > GRACE
            return was_left or Status.DELETED in seen

        return is_over
