"""What the steps of a recovery need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from coffre.model.errors import IntegrityError
from coffre.model.recovery import Step
from coffre_cli.commands.recover.progress_file import ProgressFile
from coffre_cli.commands.recover.restore_places import Ground

if TYPE_CHECKING:
    from coffre.model.backup import Backup
    from coffre.model.configuration import Configuration
    from coffre_cli.standalone import StandaloneVault


@dataclass(frozen=True)
class Run:
    """What the steps of a recovery need."""

    place: StandaloneVault
    progress: ProgressFile
    ground: Ground
    configuration: Configuration | None
    streams: int | None
    quiet: bool

    def backup_of(self, step: Step) -> Backup:
        """Return the backup of a step, which has to be the one that the plan chose.

        Raises
        ------
        IntegrityError
            `MANIFEST_SWAPPED`
        """
        backup = self.place.catalog.get_backup(step.backup_id)
        if backup.manifest_sha256 != step.manifest_sha256:
            raise IntegrityError(
                f"The manifest of backup {step.backup_id} is not the one that the plan chose.",
                code="MANIFEST_SWAPPED",
                hint="The copy was changed. Plan again, from another copy: coffre recover --from ADDRESS",
            )
        return backup
