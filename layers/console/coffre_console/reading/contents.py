"""What is in a backup, and what differs between two: read from manifests and entries; nothing is decrypted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from coffre.model.backup import Backup
from coffre.model.errors import BackupStateError
from coffre.model.kinds import Status
from coffre.model.manifest import Manifest
from coffre.model.storage import ObjectChoice
from coffre.operations.stored_backup.open_backup import manifest_of, refuse_unrestorable
from coffre_console.reading.backups import Filter, list_backups
from coffre_console.reading.source import Source

if TYPE_CHECKING:
    from coffre.operations.browse.diff import Difference

MOST: Final = 500
_CHOICE: Final = 40


@dataclass(frozen=True)
class Folder:
    """What is directly below a prefix of a bucket, at most `MOST`; a size of None is a folder's.

    `bucket`: empty, when the backup has several and none is chosen; its rows are then the buckets.
    """

    bucket: str
    rows: Sequence[tuple[str, int | None]]
    has_more: bool


@dataclass(frozen=True)
class Comparison:
    """What differs between two backups of a target, the older one first, at most `MOST`.

    `others` are those with which `first` can be compared; `second` None: none was chosen.
    """

    first: Backup
    second: Backup | None
    others: Sequence[Backup]
    found: Sequence[Difference]
    has_more: bool


def manifest_for(source: Source, backup: Backup) -> Manifest:
    """Return the manifest of a backup that can be restored."""
    refuse_unrestorable(backup)
    return manifest_of(source.vault, backup)


def folder(source: Source, manifest: Manifest, bucket: str, prefix: str) -> Folder:
    """Return the folders and objects directly below a prefix."""
    from coffre.operations.browse.contents import Folder as Below
    from coffre.operations.browse.contents import folder_view

    known = [one.name for one in manifest.storage.buckets]
    named = bucket if bucket in known else known[0] if len(known) == 1 else None
    choice = ObjectChoice(bucket=named, prefix=prefix if named else "")
    found = list(islice(folder_view(source.vault, manifest, choice), MOST + 1))
    start = len(f"{named}/") if named else 0
    rows = [(one.name[start:], None if isinstance(one, Below) else one.size) for one in found[:MOST]]
    return Folder(named or "", rows, len(found) > MOST)


def compare(source: Source, one: Backup, other: Backup | None) -> Comparison:
    """Compare two backups; raises `BackupStateError` (`BACKUP_KIND`) for those of different targets."""
    from coffre.operations.browse.diff import differences

    page = list_backups(source, Filter(one.target, None, Status.COMPLETED), size=_CHOICE)
    others = [backup for backup in page.backups if backup.id != one.id]
    if other is None:
        return Comparison(one, None, others, (), has_more=False)
    if other.target != one.target:
        raise BackupStateError("The two backups are of different targets.", code="BACKUP_KIND")
    before, after = sorted((one, other), key=lambda backup: backup.id)
    manifests = manifest_for(source, before), manifest_for(source, after)
    found = list(islice(differences(source.vault, *manifests, ObjectChoice()), MOST + 1))
    return Comparison(before, after, others, found[:MOST], len(found) > MOST)
