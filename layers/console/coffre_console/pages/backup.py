"""One backup: what it holds, where it is, and how well it is proven."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from aws_lambda_powertools.event_handler import Response as Answer

from coffre.model.backup import Backup
from coffre.model.drill import DrillReport, TableProof, Verdict
from coffre.model.errors import BackupStateError
from coffre.model.kinds import Status
from coffre.vault.reports import DrillReports
from coffre_console.access.permissions import Permission
from coffre_console.pages.acts import ACTS
from coffre_console.pages.show import backup_of, checked_id, known_fields, show
from coffre_console.problems import NOT_FOUND
from coffre_console.reading.one_backup import one_backup
from coffre_console.reading.runs import running
from coffre_console.routing import Routes, Visit

SHOWN_PARTS: Final = 100


class Button(NamedTuple):
    """Leads to the page of something that can be done; its text is `act.NAME`."""

    name: str
    is_grave: bool = False


class Compared(NamedTuple):
    """One table or object that a drill has restored and compared."""

    name: str
    rows: str
    found: str
    size_bytes: int
    look: str
    result: str
    detail: str | None


def register(routes: Routes) -> None:
    """Register the route."""

    @routes.add("GET", "/backups/<backup_id>")
    def page(backup_id: str) -> Answer[str]:
        visit = routes.visit
        done = known_fields(visit.request.query, ("done",))["done"]
        try:
            backup = backup_of(visit, backup_id, Permission.READ)
        except BackupStateError:
            if done != "start":
                raise
            return show(visit, "starting", command=f"coffre show {backup_id}")
        found = one_backup(visit.source, backup_id)
        return show(
            visit,
            "backup",
            command=f"coffre show {backup_id}",
            found=found,
            backup=found.backup,
            parts=found.parts[:SHOWN_PARTS],
            run=running(backup, visit.now) if backup.status is Status.IN_PROGRESS else None,
            acts=possible(visit, found.backup),
            done=done if done in (*ACTS, "start", "delete") else "",
        )

    @routes.add("GET", "/backups/<backup_id>/drills/<drill_id>")
    def drill(backup_id: str, drill_id: str) -> Answer[str]:
        return _drill(routes.visit, backup_of(routes.visit, backup_id, Permission.READ), checked_id(drill_id))


def _drill(visit: Visit, backup: Backup, drill_id: str) -> Answer[str]:
    """Show the report of a drill: what is not as it was first. The command shows the newest one."""
    from coffre.operations.drill.report_page import heading_of

    reports = DrillReports(visit.source.vault.store)
    report, newest = reports.of(backup.target, backup.id, drill_id), reports.newest(backup.target, backup.id)
    if report is None or newest is None:
        raise NOT_FOUND
    rows = sorted(_compared(report), key=lambda row: (row.look == "good", row.name))
    return show(
        visit,
        "drill",
        command=f"coffre report {backup.id}" if newest.id == report.id else "",
        backup=backup,
        report=report,
        heading=heading_of(report),
        rows=rows[:SHOWN_PARTS],
        count=len(rows),
    )


def _compared(report: DrillReport) -> Iterator[Compared]:
    from coffre.operations.drill.report_page import VERDICTS

    for one in (*report.tables, *report.objects):
        is_table = isinstance(one, TableProof)
        yield Compared(
            name=one.table if is_table else one.name,
            rows=f"{one.rows:,}" if is_table else "",
            found=f"{one.rows_found:,}" if is_table else "",
            size_bytes=one.size_bytes,
            look={Verdict.EQUAL: "good", Verdict.DIFFERENT: "bad"}.get(one.verdict, "odd"),
            result=VERDICTS[one.verdict],
            detail=one.detail,
        )


def possible(visit: Visit, backup: Backup) -> Sequence[Button]:
    """Return what may be done to a backup, and makes sense in its state."""

    def may(permission: Permission) -> bool:
        return visit.caller.may(permission, backup.target)

    is_kept = backup.status is Status.COMPLETED
    found = [Button("restore")] if is_kept and may(Permission.RESTORE) else []
    found += [Button(act.name, act.is_grave) for act in ACTS.values() if act.fits(backup) and may(act.permission)]
    return [*found, Button("delete", is_grave=True)] if is_kept and may(Permission.DELETE) else found
