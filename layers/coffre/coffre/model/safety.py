"""Whether a backup holds what a restore is about to overwrite (docs/adr/0021)."""

from __future__ import annotations

from datetime import datetime

from coffre.model.document import FrozenModel
from coffre.model.kinds import SafetyState as SafetyState


class Safety(FrozenModel):
    """The backup of what a restore overwrites.

    Parameters
    ----------
    text
        The state in a sentence, for a person.
    target
        The target that the destination belongs to: the one to back up.
    backup_id, taken_at
        The backup that holds what is overwritten, and the time of what it holds.
    kept_days
        How long a backup of the tier SAFETY of this target is kept, if by age.
    lacks
        What is at stake and not in such a backup, as the target's configuration is now; in words.
    """

    state: SafetyState
    text: str
    target: str | None = None
    backup_id: str | None = None
    taken_at: datetime | None = None
    kept_days: int | None = None
    lacks: tuple[str, ...] = ()
