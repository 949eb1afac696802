"""One backup with everything that is known of it, and what cannot be read is said."""

from tests.console_scene import NOW, ConsoleScene

from coffre.vault.layout import manifest_key
from coffre_console.reading.one_backup import one_backup
from coffre_console.reading.overview import read_status
from coffre_console.reading.records import list_audit
from coffre_console.reading.runs import list_running


def test_a_backup_has_its_parts_and_history(scene: ConsoleScene) -> None:
    backup = scene.backup(3)

    found = one_backup(scene.source, backup)

    assert found.backup == scene.catalog.get_backup(backup.id)
    assert [(part.name, part.rows, part.size_bytes) for part in found.parts] == [
        ("public.orders", 2, 8),
        ("public.customers", 1, 4),
    ]
    assert [(event.what, event.at) for event in found.history] == [("verified", NOW)]
    assert found.unread == ()


def test_a_manifest_that_is_not_what_was_recorded_hides_nothing_else(scene: ConsoleScene) -> None:
    backup = scene.backup(3)
    path = scene.root / "vault" / manifest_key("shop", backup.id)
    path.chmod(0o644)
    path.write_bytes(b"{}")

    found = one_backup(scene.source, backup)

    assert found.manifest is None
    assert len(found.unread) == 1
    assert found.history != ()


def test_what_runs_has_its_share_and_the_time_left(scene: ConsoleScene) -> None:
    from coffre.model.backup import Progress

    backup = scene.begin(1, heartbeat_at=NOW)
    scene.catalog.heartbeat_backup(backup.id, NOW, Progress(phase="rows", done_bytes=250, total_bytes=1000))
    scene.begin(2, target="billing")

    found = list_running(scene.source)
    of_shop = list_running(scene.source, lambda target: target == "shop")

    assert [(one.run.target, one.share, one.seconds_left, one.is_silent) for one in found.runs] == [
        ("shop", 0.25, 10_800.0, False),
        ("billing", None, None, True),
    ]
    assert len(of_shop.runs) == 1


def test_who_sees_some_targets_gets_the_status_of_those_alone(scene: ConsoleScene) -> None:
    scene.backup(3)

    found = read_status(scene.source)
    of_shop = read_status(scene.source, lambda target: target == "shop")

    assert {target.name for target in found.targets} == {"shop", "billing"}
    assert {target.name for target in of_shop.targets} == {"shop"}
    assert "billing" not in of_shop.model_dump_json()
    assert read_status(scene.source, lambda target: False).targets == ()


def test_the_audit_is_read_in_pages(scene: ConsoleScene) -> None:
    for number in range(5):
        scene.catalog.audit.record(NOW, f"person {number}", "backup.pinned", "shop", "x")

    page = list_audit(scene.source, size=3)
    one = list_audit(scene.source, actor="person 2", action="backup")

    assert len(page.events) == 3
    assert page.has_more
    assert [event.actor for event in one.events] == ["person 2"]
    assert not one.has_more
