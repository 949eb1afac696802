"""What setting or ending a hold did: the answer of the function `rotate` to `coffre hold` and `coffre release`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from coffre.model.backup import Backup, Failure


class HoldReport(BaseModel):
    """One hold.

    `backup` is the record afterwards. `legal_holds`: whether the store itself protects the objects (Object Lock), and
    not the record alone. `objects` is the number whose legal hold was set or removed now, `shared` of those that keep
    theirs because another backup on hold refers to them. `unfinished` says what was left for lack of time or for a
    refusal, and `failure` why the request itself was refused: then nothing was changed.
    """

    model_config = ConfigDict(frozen=True)

    backup: Backup | None = None
    legal_holds: bool = False
    objects: int = 0
    shared: int = 0
    unfinished: str | None = None
    failure: Failure | None = None
