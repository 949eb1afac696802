"""The parts of a restore point live alike: none is deleted as long as the rules of its own target keep another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from coffre.model.backup import Backup
from coffre.model.rotation import Action, Decision


@dataclass(frozen=True)
class PointKeeper:
    """Decides for backups that belong to restore points.

    Parameters
    ----------
    copies
        The COMPLETED backups of all targets.
    judge
        Returns the decisions of a target's own rules.
    """

    copies: Mapping[str, Sequence[Backup]]
    judge: Callable[[str], Iterable[Decision]]

    def keep(self, decisions: Sequence[Decision]) -> list[Decision]:
        """Return the decisions of one target, with those of its backups that other parts of their points keep."""
        going = {decision.backup_id for decision in decisions if decision.action is Action.DELETE}
        kept = self._kept(going)
        return [
            decision.model_copy(update={"action": Action.KEEP, "held_back": True, "reason": _reason(why)})
            if (why := kept.get(decision.backup_id)) is not None
            else decision
            for decision in decisions
        ]

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
            for decision in self.judge(target):
                point = points.get(decision.backup_id)
                if decision.action is Action.KEEP and point in wanted:
                    found.setdefault(wanted[point], decision)
        return found


def _reason(other: Decision) -> str:
    return f"part of a restore point whose part {other.backup_id} of {other.target} is kept: {other.reason}"
