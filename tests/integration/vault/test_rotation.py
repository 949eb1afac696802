"""The function `rotate` beside real backups: what is left restores, whatever went, and people hear what they must."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.stub import Stubber
from tests.catalog_table import create_table
from tests.integration.conftest import BUCKET, TABLE, Coffre, Context, client, new_id, run_sql

from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup, Restore, Status, Tier
from coffre.model.errors import CoffreError
from coffre.operations.admin.catalog_rebuild import ADDED, KNOWN, rebuild
from coffre.operations.admin.pin_and_delete import BackupAdmin
from coffre.runtime import rotate_function

ROWS = "SELECT count(*), sum(id), min(note) FROM orders"

type Later = Callable[[float], datetime]


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    """Let the function `rotate` run so many days from now."""

    def travel(days: float) -> datetime:
        now = datetime.now(UTC) + timedelta(days=days)
        monkeypatch.setattr(rotate_function, "utc_now", lambda: now)
        return now

    return travel


def verified(coffre: Coffre, **event: Any) -> Backup:
    """Take a backup, and say that it was verified."""
    made = coffre.backup(**event)
    return coffre.catalog.keeping.mark_verified(made["id"], datetime.now(UTC))


def packs_in(objects: dict[str, bytes]) -> set[str]:
    return {key for key in objects if key.startswith("v1/packs/")}


def packs_of(coffre: Coffre, backup: Backup) -> set[str]:
    manifest = json.loads(coffre.objects(str(backup.manifest_key))[str(backup.manifest_key)])
    return {pack["key"] for pack in manifest["packs"]}


def told(coffre: Coffre) -> list[tuple[str, str, str]]:
    """Take what was sent so far: kind, state and target of each message."""
    found = [alert["MessageAttributes"] for alert in coffre.alerts()]
    return [(one["kind"]["Value"], one["state"]["Value"], one["target"]["Value"]) for one in found]


def dailies(coffre: Coffre, shop: str, count: int) -> list[Backup]:
    """Take daily backups of a shop that sells something in between, and forgets each day's visitors."""
    made = []
    for number in range(count):
        run_sql(shop, "CREATE TABLE visitors AS SELECT md5(random()::text) FROM generate_series(1, 20000)")
        made.append(verified(coffre, tier="DAILY"))
        run_sql(shop, f"INSERT INTO orders (customer, note) SELECT 1, 'day {number}' FROM generate_series(1, 2000)")
        run_sql(shop, "DROP TABLE visitors")
    return made


def test_what_is_left_restores_after_the_backups_it_points_at_are_gone(
    coffre: Coffre, shop: str, new_database: str, later: Later
) -> None:
    # Given three daily backups that share what did not change
    coffre.configure(shop)
    run_sql(shop, "CREATE TABLE products AS SELECT md5(random()::text) FROM generate_series(1, 120000)")
    first, second, third = [*dailies(coffre, shop, 2), verified(coffre, tier="DAILY")]
    expected = run_sql(shop, ROWS)
    shared = packs_of(coffre, first) & packs_of(coffre, third)
    assert shared
    assert packs_of(coffre, first) - shared - packs_of(coffre, second)

    # When two of them must stay, and all are too old
    later(8)
    report = coffre.rotate()

    # Then the first went, with what it alone needed
    assert [(one["backup_id"], one["action"]) for one in report["decisions"]] == [
        (first.id, "delete"),
        (third.id, "keep"),
        (second.id, "keep"),
    ]
    objects = coffre.objects()
    assert packs_in(objects) == packs_of(coffre, second) | packs_of(coffre, third)
    assert not [key for key in objects if key.startswith(f"v1/backups/shop/{first.id}/")]
    assert report["sweep"]["living"]["objects"] == len(packs_in(objects))
    assert report["sweep"]["packs_removed"]["objects"] > 0
    # And the catalog knows what the vault holds, and that two backups share some of it
    use = coffre.catalog.latest.vault()
    assert use is not None
    assert (use.packs, use.size_bytes) == (len(packs_in(objects)), sum(len(objects[key]) for key in packs_in(objects)))
    assert 0 < use.saved_bytes < use.used_bytes
    assert use.plaintext_bytes == sum(coffre.catalog.get_backup(one.id).plaintext_bytes or 0 for one in (second, third))
    # And what stayed is whole
    assert coffre.restore(third.id, new_database)["status"] == "COMPLETED"
    assert run_sql(new_database, ROWS) == expected
    assert coffre.troubles() == []


def test_the_next_backup_does_not_point_at_what_was_deleted(
    coffre: Coffre, shop: str, new_database: str, later: Later
) -> None:
    coffre.configure(shop)
    old, deleted = dailies(coffre, shop, 2)
    vault = coffre.rotate_function().services.vault
    BackupAdmin(coffre.catalog, vault, "me", datetime.now(UTC)).delete(deleted.id, force=True)
    coffre.rotate()

    newest = verified(coffre)

    assert deleted.id not in {key.split("/")[2] for key in packs_of(coffre, newest)}
    assert packs_of(coffre, newest) & packs_of(coffre, old)
    assert coffre.restore(newest.id, new_database)["status"] == "COMPLETED"


def test_a_backup_that_runs_while_its_previous_one_is_deleted_and_swept_is_whole(
    coffre: Coffre, shop: str, new_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    coffre.configure(shop)
    (previous,) = dailies(coffre, shop, 1)
    store = coffre.backup_function().services.vault.store
    put = store.put
    reports: list[dict[str, Any]] = []

    def meanwhile(key: str, *arguments: Any, **named: Any) -> None:
        # The run has chosen its previous backup, and stores its first pack.
        if not reports:
            reports.append({})
            keeper = BackupAdmin(coffre.catalog, coffre.rotate_function().services.vault, "me", datetime.now(UTC))
            keeper.delete(previous.id, force=True)
            reports[0] = coffre.rotate()
        put(key, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(store, "put", meanwhile)
        newest = coffre.backup()

    assert "is running" in reports[0]["sweep"]["waits"][0]
    assert coffre.catalog.get_backup(previous.id).status is Status.DELETED
    assert previous.id in {key.split("/")[2] for key in packs_of(coffre, coffre.catalog.get_backup(newest["id"]))}
    coffre.rotate()
    assert coffre.restore(newest["id"], new_database)["status"] == "COMPLETED"


def test_an_index_that_lags_gives_no_deleted_backup_to_the_next_one(
    coffre: Coffre, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    coffre.configure(shop)
    (deleted,) = dailies(coffre, shop, 1)
    as_it_was = list(coffre.catalog.backups())
    vault = coffre.rotate_function().services.vault
    BackupAdmin(coffre.catalog, vault, "me", datetime.now(UTC)).delete(deleted.id, force=True)
    catalog = coffre.backup_function().services.catalog
    monkeypatch.setattr(catalog, "backups", lambda **wanted: iter(as_it_was))

    assert catalog.latest_completed("shop") is None


def test_until_backups_are_verified_nothing_goes(coffre: Coffre, shop: str, later: Later) -> None:
    coffre.configure(shop)
    for _ in range(3):
        coffre.backup(tier="DAILY")
    before = coffre.objects("v1/backups/") | coffre.objects("v1/packs/")

    later(400)
    report = coffre.rotate()

    assert coffre.objects("v1/backups/") | coffre.objects("v1/packs/") == before
    assert {one["action"] for one in report["decisions"]} == {"keep"}
    assert report["decisions"][-1]["reason"] == "0 of at least 2 backups are verified: nothing goes before"


# --- what starts it ---


def test_a_complete_backup_is_announced_on_the_bus(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop)
    function = coffre.backup_function()
    sent: dict[str, Any] = {}
    # moto hands no events on without a further library; the rule is held to this event by tests/template.
    function.services.bus.meta.events.register(
        "provide-client-params.events.PutEvents", lambda params, **_: sent.update(params["Entries"][0])
    )

    made = coffre.backup()

    assert (sent["Source"], sent["DetailType"]) == ("coffre", "Coffre Backup Completed")
    detail = json.loads(sent["Detail"])
    assert detail == {"catalog": TABLE, "target": "shop", "backup_id": made["id"]}
    # And its rotation has nothing to do
    report = coffre.rotate(target=detail["target"], after=detail["backup_id"])
    assert report["sweep"] is None


def test_a_bus_that_refuses_fails_no_backup(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop)
    function = coffre.backup_function()
    with Stubber(function.services.bus) as bus:
        bus.add_client_error("put_events", "AccessDeniedException", http_status_code=403)

        made = coffre.backup()

    assert made["outcome"] == "completed"
    assert "EVENT_NOT_SENT" in coffre.log_lines[-1] + coffre.log_lines[-2]
    assert coffre.alerts() == []


# --- what a person hears ---


def test_a_vault_that_does_not_agree_with_the_catalog_is_told_once_a_day(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop)
    lost, _ = dailies(coffre, shop, 2)
    client("s3").delete_object(Bucket=BUCKET, Key=lost.manifest_key)

    coffre.rotate(target="shop", after=lost.id)
    coffre.rotate(dry_run=True)
    assert coffre.alerts() == []
    coffre.rotate()

    (alert,) = coffre.alerts()
    assert alert["Subject"] == "The vault does not agree with the catalog: shop"
    assert lost.id in alert["Message"]
    assert alert["MessageAttributes"]["kind"]["Value"] == "VAULT_INCONSISTENT"

    # What another target lacks is no end of it; and one that is not configured any more has an end too
    other = lost.model_copy(update={"id": new_id(), "target": "crm", "status": Status.IN_PROGRESS})
    coffre.catalog.create_backup(other)
    coffre.catalog.complete_backup(other)
    coffre.rotate()
    assert told(coffre) == [("VAULT_INCONSISTENT", "new", "crm")]
    BackupAdmin(coffre.catalog, coffre.rotate_function().services.vault, "me", datetime.now(UTC)).delete(
        other.id, force=True
    )
    coffre.rotate()
    assert told(coffre) == [("VAULT_INCONSISTENT", "recovered", "crm")]


def test_a_rotation_that_stops_is_an_error_and_told(
    coffre: Coffre, shop: str, later: Later, monkeypatch: pytest.MonkeyPatch
) -> None:
    coffre.configure(shop)
    dailies(coffre, shop, 3)
    later(8)

    def refuse(key: str) -> None:
        raise CoffreError("The store does not want it.", code="STORE_DENIED", hint="Wait for the end of the test.")

    with monkeypatch.context() as patch:
        patch.setattr(coffre.rotate_function().services.vault.store, "delete", refuse)
        with pytest.raises(CoffreError):
            coffre.rotate()

    (alert,) = coffre.alerts()
    assert alert["Subject"] == "Rotation FAILED: STORE_DENIED"
    assert "No backup is lost" in alert["Message"]
    # And the next one goes on
    assert coffre.rotate()["sweep"]["packs_removed"]["objects"] > 0


@pytest.mark.parametrize(
    ("event", "code"), [({"targte": "shop"}, "EVENT_INVALID"), ({"target": "nope"}, "TARGET_UNKNOWN")]
)
def test_an_event_that_means_nothing_is_refused_and_told(
    coffre: Coffre, shop: str, event: dict[str, str], code: str
) -> None:
    coffre.configure(shop)

    with pytest.raises(CoffreError) as caught:
        coffre.rotate_function().handle(event, Context(function_name="rotate"))

    assert caught.value.code == code
    assert len(coffre.alerts()) == 1


# --- the catalog made anew ---


def test_a_lost_catalog_is_made_anew_from_the_vault(coffre: Coffre, shop: str, new_database: str) -> None:
    # Given backups with a pin, a tier that joined, and one that failed; and a deleted one
    coffre.configure(shop)
    first, second, gone = dailies(coffre, shop, 3)
    vault = coffre.rotate_function().services.vault
    keeper = BackupAdmin(coffre.catalog, vault, "me", datetime.now(UTC))
    keeper.pin(first.id)
    keeper.pin(second.id)
    keeper.unpin(second.id)
    coffre.catalog.add_tier(second.id, Tier.WEEKLY)
    vault.mark_tier("shop", second.id, Tier.WEEKLY)
    keeper.delete(gone.id, force=True)
    coffre.rotate()
    kept = coffre.backup(keep="7d")["id"]
    before = {backup.id: backup for backup in coffre.backups() if backup.status is Status.COMPLETED}
    assert before[kept].expires_at == before[kept].created_at + timedelta(days=7)

    # When the table is lost and an empty one is in its place
    client("dynamodb").delete_table(TableName=TABLE)
    create_table(TABLE)
    planned = list(rebuild(coffre.catalog, vault, dry_run=True))
    assert coffre.backups() == []
    done = list(rebuild(coffre.catalog, vault))

    # Then it knows the same backups, but for what only the catalog knew
    assert [one.outcome for one in planned] == [one.outcome for one in done] == [ADDED, ADDED, ADDED]
    unknown = ("verified_at", "heartbeat_at", "progress", "request_id", "slot", "pinned_at", "started_at")
    for backup in coffre.backups():
        assert backup.model_dump(exclude=set(unknown)) == before[backup.id].model_dump(exclude=set(unknown))
        assert (backup.pinned_at is None) == (before[backup.id].pinned_at is None)
    # And they restore, and rotation finds nothing wrong
    assert coffre.restore(second.id, new_database)["status"] == "COMPLETED"
    assert coffre.rotate()["sweep"]["problems"] == []
    assert [one.outcome for one in rebuild(coffre.catalog, vault)] == [KNOWN, KNOWN, KNOWN]


def test_a_manifest_that_cannot_be_trusted_is_left_out_of_the_catalog(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop)
    (good,) = dailies(coffre, shop, 1)
    (body,) = coffre.objects(str(good.manifest_key)).values()
    forged, damaged = new_id(), new_id()
    coffre.put_object(f"v1/backups/shop/{forged}/manifest.json", body)
    coffre.put_object(f"v1/backups/shop/{damaged}/manifest.json", body[:-100])
    client("dynamodb").delete_table(TableName=TABLE)
    create_table(TABLE)

    outcomes = {one.backup_id: one.outcome for one in rebuild(Catalog(TABLE), coffre.rotate_function().services.vault)}

    assert outcomes[good.id] == ADDED
    assert "MANIFEST_SWAPPED" in outcomes[forged]
    assert "MANIFEST_DAMAGED" in outcomes[damaged]
    assert [backup.id for backup in coffre.backups()] == [good.id]


def test_a_restore_whose_backup_was_deleted_while_it_started_is_refused(
    coffre: Coffre, shop: str, new_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the backup and the restore's own record, rotation knows nothing of it."""
    coffre.configure(shop)
    (backup,) = dailies(coffre, shop, 1)
    catalog = coffre.restore_function().services.catalog
    create = catalog.create_restore

    vault = coffre.rotate_function().services.vault

    def deleted_just_before(restore: Restore) -> None:
        BackupAdmin(catalog, vault, "me", datetime.now(UTC)).delete(backup.id, force=True)
        coffre.rotate()
        create(restore)

    monkeypatch.setattr(catalog, "create_restore", deleted_just_before)

    with pytest.raises(CoffreError, match="it was deleted"):
        coffre.restore(backup.id, new_database)

    assert next(coffre.catalog.restores()).status is Status.FAILED
