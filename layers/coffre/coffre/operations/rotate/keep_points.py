"""The parts of a restore point live alike: none is deleted as long as the rules of its own target keep another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from coffre.model.backup import Backup, Restore
from coffre.model.retention import Retention
from coffre.model.rotation import Action, Decision


@dataclass(frozen=True)
class PointKeeper:
    """Decides by the rules of each target, and then for backups that belong to restore points.

    Parameters
    ----------
    copies
        The COMPLETED backups of all targets.
    retentions
        Those of the configured targets.
    rules
        Decides on the backups of one target by its own retention.
    """

    copies: Mapping[str, Sequence[Backup]]
    retentions: Mapping[str, Retention]
    rules: Callable[[Sequence[Backup], Retention], Sequence[Decision]]
    _judged: dict[str, tuple[Decision, ...]] = field(default_factory=dict)

    def decide(self, target: str) -> tuple[Decision, ...]:
        """Return the decisions of one target: what other parts of its points keep stays too."""
        decisions = self._judge(target)
        going = {decision.backup_id for decision in decisions if decision.action is Action.DELETE}
        kept = self._kept(going)
        return tuple(
            decision.model_copy(update={"action": Action.KEEP, "held_back": True, "reason": _reason(why)})
            if (why := kept.get(decision.backup_id)) is not None
            else decision
            for decision in decisions
        )

    def _judge(self, target: str) -> tuple[Decision, ...]:
        if target not in self._judged:
            found, retention = self.copies.get(target, ()), self.retentions.get(target)
            decided: Iterable[Decision] = (
                self.rules(found, retention) if retention is not None else (_stays(copy) for copy in found)
            )
            self._judged[target] = tuple(decided)
        return self._judged[target]

    def _kept(self, going: set[str]) -> dict[str, Decision]:
        """Return for each of these backups the decision that keeps another part of its point, if there is one."""
        points = {copy.id: copy.point for copies in self.copies.values() for copy in copies if copy.point is not None}
        wanted = {points[backup_id]: backup_id for backup_id in sorted(going & points.keys())}
        others = {
            target
            for target, copies in self.copies.items()
            for copy in copies
            if copy.point in wanted and copy.id not in going
        }
        found: dict[str, Decision] = {}
        for target in sorted(others):
            for decision in self._judge(target):
                point = points.get(decision.backup_id)
                if decision.action is Action.KEEP and point in wanted:
                    found.setdefault(wanted[point], decision)
        return found


def in_use(copies: Mapping[str, Sequence[Backup]], restores: Iterable[Restore]) -> dict[str, str]:
    """Return the running restores by the id of what they need: their backup, and the other parts of its point.

    A point is restored part by part: what comes next has to be there when the first one is done.
    """
    found = {restore.backup_id: restore.id for restore in restores}
    parts = [copy for backups in copies.values() for copy in backups if copy.point is not None]
    points = {copy.point: found[copy.id] for copy in parts if copy.id in found}
    return {copy.id: points[copy.point] for copy in parts if copy.point in points} | found


def _stays(copy: Backup) -> Decision:
    return Decision(
        backup_id=copy.id,
        target=copy.target,
        tiers=copy.tiers,
        taken_at=copy.created_at,
        action=Action.KEEP,
        reason="its target is not configured any more",
    )


def _reason(other: Decision) -> str:
    return f"part of a restore point whose part {other.backup_id} of {other.target} is kept: {other.reason}"
