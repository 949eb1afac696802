"""A restore point: a database and its buckets, each restored by the wizard, the database first."""

from __future__ import annotations

from aws_lambda_powertools.event_handler import Response as Answer

from coffre.model.backup import Backup
from coffre.model.kinds import Status
from coffre.model.points import PointPart
from coffre.operations.points.find import find_backup, missing_parts
from coffre_console.access.permissions import Permission
from coffre_console.pages.show import checked_id, show
from coffre_console.problems import NOT_FOUND
from coffre_console.routing import Routes


def register(routes: Routes) -> None:
    """Register the route."""

    @routes.add("GET", "/points/<point_id>")
    def one(point_id: str) -> Answer[str]:
        visit = routes.visit
        catalog = visit.source.catalog
        point = catalog.points.find(checked_id(point_id))
        if point is None:
            raise NOT_FOUND
        for part in point.parts:
            visit.demand(Permission.READ, part.target)

        def may_restore(part: PointPart, backup: Backup | None) -> bool:
            is_good = backup is not None and backup.status is Status.COMPLETED
            return is_good and visit.caller.may(Permission.RESTORE_ALL, part.target)

        return show(
            visit,
            "point",
            command=f"coffre restore point {point.id} --replace --mode overwrite --dry-run",
            point=point,
            parts=[(part, find_backup(catalog, part.backup_id)) for part in (point.database, *point.buckets)],
            missing=missing_parts(catalog, point),
            may_restore=may_restore,
        )
