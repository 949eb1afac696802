"""What the function `rotate` answers to `coffre hold` and `release`, and to `coffre pin` and `unpin`."""

from __future__ import annotations

from coffre.model.backup import Backup, Failure
from coffre.model.document import FrozenModel


class PinReport(FrozenModel):
    """One pin that was set or removed.

    `backup` is the record afterwards. `failure` says why the request was refused: then nothing was changed.
    """

    backup: Backup | None = None
    failure: Failure | None = None


class HoldReport(PinReport):
    """One hold that was set or ended.

    `legal_holds`: whether the store itself protects the objects (Object Lock), and
    not the record alone. `objects` is the number whose legal hold was set or removed now, `shared` of those that keep
    theirs because another backup on hold refers to them. `unfinished` says what was left for lack of time or for a
    refusal, and `refused` of how many objects: the next call tries these again.
    """

    legal_holds: bool = False
    objects: int = 0
    shared: int = 0
    refused: int = 0
    unfinished: str | None = None
