"""What is in a backup, table by table or folder by folder, and what differs between two."""

from __future__ import annotations

from typing import Final

from coffre.model.backup import Backup
from coffre.model.kinds import TargetKind
from coffre_console.access.permissions import Permission
from coffre_console.pages.asked import id_of, sent_of
from coffre_console.pages.show import Html, command, show
from coffre_console.reading.contents import MOST, compare, folder, manifest_for
from coffre_console.reading.one_backup import parts_of
from coffre_console.routing import Visit


def contents(visit: Visit, backup: Backup) -> Html:
    """Show the tables, or the folders and objects directly below a prefix."""
    sent, manifest = sent_of(visit, "q", "bucket", "prefix"), manifest_for(visit.source, backup)
    may_restore = visit.caller.may(Permission.RESTORE, backup.target)
    values = {"backup": backup, "sent": sent, "may_restore": may_restore}
    if manifest.kind is TargetKind.DATABASE:
        parts = [part for part in parts_of(manifest) if sent["q"].lower() in part.name.lower()]
        parts.sort(key=lambda part: part.name)
        line = command("ls", backup.id, sent["q"])
        return show(visit, "tables", command=line, parts=parts[:MOST], count=len(parts), **values)
    found = folder(visit.source, manifest, sent["bucket"], sent["prefix"])
    line = command("ls", backup.id, sent["prefix"], bucket=found.bucket)
    return show(visit, "objects", command=line, found=found, **values)


def diff(visit: Visit) -> Html:
    """Compare two backups of one target; without a second one, the choice of it is shown."""
    sent = sent_of(visit, "first", "second")
    first, second = id_of("first", sent["first"]), id_of("second", sent["second"])
    other = visit.backup(second, Permission.READ) if second else None
    found = compare(visit.source, visit.backup(first or "", Permission.READ), other)
    line = command("diff", found.first.id, found.second.id if found.second else "latest")
    return show(visit, "diff", command=line, diff=found)


PAGES: Final = {"GET /backups/<backup_id>/contents": contents, "GET /diff": diff}
