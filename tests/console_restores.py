"""Restores and dry runs in the catalog, as the function `restore` leaves them; each has something hostile in it."""

from __future__ import annotations

from typing import Any

from tests.console_scene import NOW, ConsoleScene

from coffre.model.backup import Backup, Restore, Status
from coffre.model.confirmation import Act, Facts, Overwritten, Plan, Request, Seen
from coffre.model.kinds import SafetyState
from coffre.model.restore import Scope
from coffre.model.restore_report import Comparison, Kept, RestoreReport
from coffre.model.safety import Safety
from coffre.stores.store import put_small

HOSTILE = "x</script><script>alert(1)</script>\u202e\x1b[31m\"'🧨 שלום"
DESTINATION = f"db.example.org:5432/{HOSTILE}"
LOST = Overwritten(database=HOSTILE, size_bytes=1_500_000, tables=2, rows_estimate=12)


def started(scene: ConsoleScene, backup: Backup, restore_id: str, *, dry_run: bool = True) -> Restore:
    """Record a dry run, or a restore, as the function does when it begins."""
    restore = Restore(
        id=restore_id,
        backup_id=backup.id,
        target=backup.target,
        destination=DESTINATION,
        status=Status.IN_PROGRESS,
        created_at=NOW,
        heartbeat_at=NOW,
        dry_run=dry_run,
    )
    scene.catalog.create_restore(restore)
    return restore


def ended(
    scene: ConsoleScene,
    backup: Backup,
    restore: Restore,
    safety: SafetyState,
    *,
    tables: tuple[str, ...] = ("orders",),
    **fields: Any,
) -> Plan:
    """Record the end of a dry run with its report and plan."""
    scope = Scope(tables=tables, replace=True)
    request = Request.of(Act.RESTORE, backup.target, backup.id, backup.manifest_sha256, scope)
    plan = Plan(request=request, seen=Seen(destination=DESTINATION, name="shop", facts=Facts(), overwrites=LOST))
    report = RestoreReport(
        id=restore.id,
        backup_id=backup.id,
        target=backup.target,
        destination=DESTINATION,
        dry_run=True,
        steps=(f"Replace the rows of {HOSTILE}",),
        rows=5,
        phases_ms={},
        exceptions=(),
        plan=plan,
        safety=Safety(state=safety, text="A SAFETY backup is needed.", target=backup.target),
    )
    key = f"v1/restores/{restore.id}/report.json"
    put_small(scene.vault.store, key, report.model_dump_json().encode())
    done = {"status": Status.COMPLETED, "completed_at": NOW, "report_key": key, **fields}
    scene.catalog.finish_restore(restore.model_copy(update=done))
    return plan


def compared(scene: ConsoleScene, backup: Backup, restore_id: str) -> None:
    """Record a restore of tables beside those in use, and its end."""
    restore = started(scene, backup, restore_id, dry_run=False)
    report = RestoreReport(
        id=restore.id,
        backup_id=backup.id,
        target=backup.target,
        destination=DESTINATION,
        comparisons=(Comparison(table=HOSTILE, beside="x", missing=1234, changed=2, same=3, extra=4),),
        kept=(Kept(what=f"{HOSTILE} has the backup's rows", remove=f'DROP SCHEMA "{HOSTILE}" CASCADE'),),
        rows=5,
        phases_ms={},
        exceptions=(),
    )
    key = f"v1/restores/{restore.id}/report.json"
    put_small(scene.vault.store, key, report.model_dump_json().encode())
    done = {"status": Status.COMPLETED, "completed_at": NOW, "report_key": key}
    scene.catalog.finish_restore(restore.model_copy(update=done))
