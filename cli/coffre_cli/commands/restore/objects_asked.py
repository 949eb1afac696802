"""What was asked for when objects are restored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from coffre_cli.commands.restore.safety import back_to_objects

if TYPE_CHECKING:
    from coffre.model.backup import Backup
    from coffre.model.safety import Safety
    from coffre.model.storage import StorageScope


@dataclass(frozen=True)
class Ask:
    """What the user asked for. Only a stack keeps the failed objects, for a retry.

    `safety` is the backup of what is overwritten; `source` is the copy that the backup is read from alone.
    """

    backup: Backup
    scope: StorageScope
    store: str | None
    streams: int | None
    has_stack: bool = True
    safety: Safety | None = None
    source: str | None = None

    @property
    def way_back(self) -> str:
        """The command that restores what was overwritten."""
        return back_to_objects(self.safety, self.scope) if self.safety else ""
