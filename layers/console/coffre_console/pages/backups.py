"""The list of backups, whose filters and place are in the address; and one backup: what it holds, and how proven."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from coffre.model.backup import Backup
from coffre.model.export import ExportScope
from coffre.model.kinds import Status, TargetKind
from coffre.model.points import PointPart
from coffre.model.target import TARGET_NAME
from coffre.operations.points.find import bad_parts, find_backup
from coffre_console.access.permissions import Permission
from coffre_console.pages.acts import ACTS
from coffre_console.pages.asked import id_of, one_of, sent_of, time_of, wrong
from coffre_console.pages.show import Html, command, show
from coffre_console.problems import NOT_FOUND
from coffre_console.reading.backups import PAGE_SIZE, Filter, list_backups
from coffre_console.reading.drills import MOST_COMPARED, one_drill
from coffre_console.reading.one_backup import one_backup, sources_of
from coffre_console.routing import Visit

FIELDS: Final = ("target", "type", "status", "since", "until", "cursor")
SHOWN_PARTS: Final = 100


def backups(visit: Visit) -> Html:
    sent, may = sent_of(visit, *FIELDS), visit.may()
    wanted = _filter(visit, sent)
    page = list_backups(visit.source, wanted, size=PAGE_SIZE, cursor=id_of("cursor", sent["cursor"]), may=may)
    return show(
        visit,
        "backups",
        command=_command(sent),
        sent=sent,
        page=page,
        targets=[one.name for one in visit.source.configuration().targets if may(one.name)],
        statuses=list(Status),
        kinds=list(TargetKind),
        is_filtered=any(sent[name] for name in FIELDS if name != "cursor"),
    )


def _filter(visit: Visit, sent: dict[str, str]) -> Filter:
    """Read the filter; raises ProblemError, naming the field, for a value that it cannot have."""
    if sent["target"]:
        if not re.fullmatch(TARGET_NAME, sent["target"]):
            raise wrong("target", "expected the name of a target")
        visit.demand(Permission.READ, sent["target"])
    until = time_of("until", sent["until"])
    return Filter(
        target=sent["target"] or None,
        kind=one_of(TargetKind, "type", sent["type"]),
        status=one_of(Status, "status", sent["status"]),
        since=time_of("since", sent["since"]),
        until=until + timedelta(days=1) if until is not None else None,
    )


def _command(sent: dict[str, str]) -> str:
    """Return the command for a filter. It has no end of a period: it lists until now."""
    kind = {TargetKind.BUCKET.value: "buckets", TargetKind.REPOSITORY.value: "repositories"}.get(
        sent["type"], sent["type"]
    )
    return command("list", sent["target"], type=kind, status=sent["status"].lower(), since=sent["since"])


def backup(visit: Visit, one: Backup) -> Html:
    done = sent_of(visit, "done")["done"]
    found = one_backup(visit.source, one)
    return show(
        visit,
        "backup",
        command=f"coffre show {one.id}",
        found=found,
        backup=found.backup,
        parts=found.parts[:SHOWN_PARTS],
        acts=possible(visit, found.backup),
        may_see_point=_may_see_point(visit, found.backup.point),
        done=done if done in (*ACTS, "start", "delete") else "",
    )


def _may_see_point(visit: Visit, point_id: str | None) -> bool:
    """Return whether a restore point exists, and all its parts are of targets that who asks may read."""
    found = visit.source.catalog.points.find(point_id) if point_id else None
    return found is not None and all(visit.caller.may(Permission.READ, part.target) for part in found.parts)


def possible(visit: Visit, one: Backup) -> Sequence[tuple[str, bool]]:
    """Return what may be done to a backup and makes sense in its state, and whether that is grave."""

    def may(permission: Permission) -> bool:
        return visit.caller.may(permission, one.target)

    is_kept = one.status is Status.COMPLETED
    is_somewhere = is_kept or (one.status is Status.DELETED and sources_of(visit.source, one))
    found = [("restore", False)] if is_somewhere and may(Permission.RESTORE) else []
    if is_kept and may(Permission.EXPORT) and ExportScope().problem_with(one.kind) is None:
        found.append(("download", False))
    found += [(act.name, act.is_grave) for act in ACTS.values() if act.fits(one) and may(act.permission)]
    return [*found, ("delete", True)] if is_kept and may(Permission.DELETE) else found


def drill(visit: Visit, one: Backup, drill_id: str) -> Html:
    """Show the report of a drill. The command shows the newest one."""
    found = one_drill(visit.source, one, drill_id)
    if found is None:
        raise NOT_FOUND
    line = command("report", one.id) if found.is_newest else ""
    return show(visit, "drill", command=line, backup=one, report=found.report, found=found, most=MOST_COMPARED)


def point(visit: Visit, point_id: str) -> Html:
    """Show a restore point: a database and its buckets, each restored by the wizard, the database first."""
    catalog = visit.source.catalog
    found = catalog.points.find(point_id)
    if found is None:
        raise NOT_FOUND
    for part in found.parts:
        visit.demand_known(Permission.READ, part.target, NOT_FOUND)

    def may_restore(part: PointPart, one: Backup | None) -> bool:
        is_good = one is not None and one.status is Status.COMPLETED
        return is_good and visit.caller.may(Permission.RESTORE_ALL, part.target)

    return show(
        visit,
        "point",
        command=f"coffre restore point {found.id} --replace --mode overwrite --dry-run",
        point=found,
        parts=[(part, find_backup(catalog, part.backup_id)) for part in (found.database, *found.buckets)],
        missing=bad_parts(catalog, found),
        may_restore=may_restore,
    )


PAGES: Final = {
    "GET /backups": backups,
    "GET /backups/<backup_id>": backup,
    "GET /backups/<backup_id>/drills/<drill_id>": drill,
    "GET /points/<point_id>": point,
}
