"""What the catalog and the vault remember of a target."""

from datetime import timedelta

from tests.unit.operations.conftest import NOW, Scene

from coffre.model.any_target import AnyTarget
from coffre.model.audit import AuditEvent
from coffre.model.backup import Tier
from coffre.model.bucket_target import BucketTarget
from coffre.model.database_target import DatabaseTarget
from coffre.model.drill import Outcome
from coffre.model.drill_options import BucketDrill
from coffre.model.drill_report import DrillReport
from coffre.model.kinds import TargetKind
from coffre.operations.doctor.history import keys_opened, read_history
from coffre.policy.checks.answers import Trouble
from coffre.policy.checks.history_facts import DrillSeen, NewestBackup, Proofs
from coffre.vault.reports import DrillReports

SHOP = DatabaseTarget(name="shop", secret="coffre/database/shop")


def read(scene: Scene, target: AnyTarget = SHOP) -> list[object]:
    return list(read_history(scene.catalog, scene.store, target, NOW))


def proofs_of(scene: Scene) -> Proofs:
    _, proofs = read(scene)
    assert isinstance(proofs, Proofs)
    return proofs


def drill(scene: Scene, backup_id: str, number: int, outcome: Outcome = Outcome.PASSED) -> None:
    at = NOW - timedelta(days=9 - number)
    report = DrillReport(
        id=f"01K9X00000000000000000000{number}",
        backup_id=backup_id,
        target="shop",
        outcome=outcome,
        backup_created_at=at,
        started_at=at,
        completed_at=at,
        coffre_version="0.1.0",
        problems=("Rows differ.",) if outcome is Outcome.FAILED else (),
    )
    DrillReports(scene.store).write(report, "<html></html>")


def test_a_target_without_backups_has_nothing_to_prove(scene: Scene) -> None:
    assert read(scene) == [NewestBackup("shop", TargetKind.DATABASE, None)]


def test_the_newest_backup_and_the_newest_verified_one(scene: Scene) -> None:
    verified = scene.backup(3, Tier.DAILY)
    newest = scene.backup(1, Tier.DAILY, verified=False)

    assert read(scene)[0] == NewestBackup("shop", TargetKind.DATABASE, newest.created_at)
    assert proofs_of(scene).verified_at == verified.verified_at
    assert proofs_of(scene).drill is None


def test_the_newest_drill_of_all_backups_counts(scene: Scene) -> None:
    older, newer = scene.backup(3, Tier.DAILY), scene.backup(1, Tier.DAILY)
    drill(scene, newer.id, 1)
    drill(scene, older.id, 2, Outcome.FAILED)

    assert proofs_of(scene).drill == DrillSeen("failed", NOW - timedelta(days=7), older.id, "Rows differ.")


def test_a_report_that_cannot_be_read_is_said(scene: Scene) -> None:
    backup = scene.backup(1, Tier.DAILY)
    scene.put(f"v1/backups/shop/{backup.id}/reports/drill-01K9X000000000000000000001.json", b"{}")

    found = proofs_of(scene).drill

    assert isinstance(found, Trouble)
    assert found.code == "REPORT_DAMAGED"


def test_drills_of_buckets_can_be_off(scene: Scene) -> None:
    scene.backup(1, Tier.DAILY, target="files")
    files = BucketTarget.model_validate(
        {"name": "files", "kind": "bucket", "buckets": [{"name": "photos"}], "drill": BucketDrill(objects=0)}
    )

    _, proofs = read(scene, files)

    assert isinstance(proofs, Proofs)
    assert proofs.drills_off


def test_the_last_time_counts_that_a_key_opened_a_backup() -> None:
    def event(action: str, days: int, result: str = "done") -> AuditEvent:
        return AuditEvent(
            id=str(days),
            at=NOW - timedelta(days=days),
            actor="arn:aws:iam::123456789012:user/ada",
            action=action,
            subject="age1x",
            result=result,  # type: ignore[arg-type]
        )

    events = [
        event("key.opened", 5),
        event("key.opened", 2),
        event("key.opened", 1, "failed"),
        event("key.exported", 0),
    ]

    assert keys_opened(events) == {"age1x": NOW - timedelta(days=2)}
