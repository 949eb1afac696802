"""What is in a backup, table by table or folder by folder, and what differs between two."""

from __future__ import annotations

import shlex
from itertools import islice
from typing import Final

from aws_lambda_powertools.event_handler import Response as Answer

from coffre.model.backup import Backup
from coffre.model.errors import BackupStateError
from coffre.model.kinds import Status, TargetKind
from coffre.model.manifest import Manifest
from coffre.model.storage import ObjectChoice
from coffre.operations.stored_backup.open import manifest_of, refuse_unrestorable
from coffre_console.access.permissions import Permission
from coffre_console.api.answers import ULID_PATTERN
from coffre_console.pages.fields import refuse_unlike
from coffre_console.pages.show import backup_of, known_fields, show
from coffre_console.reading.backups import Filter, list_backups
from coffre_console.reading.one_backup import parts_of
from coffre_console.routing import Routes, Visit

MOST: Final = 500
_CHOICE: Final = 40


def register(routes: Routes) -> None:
    """Register the routes."""

    @routes.add("GET", "/backups/<backup_id>/contents")
    def contents(backup_id: str) -> Answer[str]:
        visit = routes.visit
        backup = backup_of(visit, backup_id, Permission.READ)
        sent = known_fields(visit.request.query, ("q", "bucket", "prefix"))
        manifest = _manifest(visit, backup)
        if manifest.kind is TargetKind.DATABASE:
            return _tables(visit, backup, manifest, sent["q"])
        return _objects(visit, backup, manifest, sent["bucket"], sent["prefix"])

    @routes.add("GET", "/diff")
    def diff() -> Answer[str]:
        visit = routes.visit
        sent = known_fields(visit.request.query, ("first", "second"))
        return _diff(visit, sent["first"], sent["second"])


def _manifest(visit: Visit, backup: Backup) -> Manifest:
    refuse_unrestorable(backup)
    return manifest_of(visit.source.vault, backup)


def _tables(visit: Visit, backup: Backup, manifest: Manifest, wanted: str) -> Answer[str]:
    parts = [part for part in parts_of(manifest) if wanted.lower() in part.name.lower()]
    parts.sort(key=lambda part: part.name)
    command = f"coffre ls {backup.id} {shlex.quote(wanted)}" if wanted else f"coffre ls {backup.id}"
    return show(
        visit,
        "tables",
        command=command,
        backup=backup,
        wanted=wanted,
        parts=parts[:MOST],
        count=len(parts),
        may_restore=visit.caller.may(Permission.RESTORE, backup.target),
    )


def _objects(visit: Visit, backup: Backup, manifest: Manifest, bucket: str, prefix: str) -> Answer[str]:
    """Show the folders and objects directly below a prefix; names are read from the vault, and nothing is decrypted."""
    from coffre.operations.browse.contents import Folder, folder_view

    known = [one.name for one in manifest.storage.buckets]
    named = bucket if bucket in known else known[0] if len(known) == 1 else None
    choice = ObjectChoice(bucket=named, prefix=prefix if named else "")
    found = list(islice(folder_view(visit.source.vault, manifest, choice), MOST + 1))
    start = len(f"{named}/") if named and len(known) > 0 else 0
    rows = [
        (one.name[start:] if named else one.name, None if isinstance(one, Folder) else one.size) for one in found[:MOST]
    ]
    parts = ["coffre", "ls", backup.id, *([prefix] if prefix else []), *(["--bucket", named] if named else [])]
    return show(
        visit,
        "objects",
        command=shlex.join(parts),
        backup=backup,
        bucket=named or "",
        prefix_shown=prefix,
        rows=rows,
        has_more=len(found) > MOST,
        may_restore=visit.caller.may(Permission.RESTORE, backup.target),
    )


def _diff(visit: Visit, first: str, second: str) -> Answer[str]:
    """Compare two backups of one target; without a second one, the choice of it is shown."""
    from coffre.operations.browse.diff import differences

    for where, text in (("first", first), *((("second", second),) if second else ())):
        refuse_unlike(where, text, ULID_PATTERN, "the id of a backup")
    one = visit.backup(first, Permission.READ)
    wanted = Filter(one.target, None, Status.COMPLETED)
    others = [other for other in list_backups(visit.source, wanted, size=_CHOICE).backups if other.id != one.id]
    other = visit.backup(second, Permission.READ) if second else None
    found = []
    if other is not None:
        if other.target != one.target:
            raise BackupStateError("The two backups are of different targets.", code="BACKUP_KIND")
        pair = sorted((one, other), key=lambda backup: backup.id)
        one, other = pair
        before, after = _manifest(visit, one), _manifest(visit, other)
        found = list(islice(differences(visit.source.vault, before, after, ObjectChoice()), MOST + 1))
    return show(
        visit,
        "diff",
        command=f"coffre diff {one.id} {other.id if other else 'latest'}",
        first=one,
        second=other,
        others=others,
        found=found[:MOST],
        has_more=len(found) > MOST,
    )
