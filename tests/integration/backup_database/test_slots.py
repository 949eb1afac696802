"""One run at a time, one backup for each slot, and what becomes of runs that died."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.stub import ANY, Stubber
from tests.integration.conftest import Coffre, Context, new_id
from tests.integration.expect import failed_backup, lock_is_free, manifests
from tests.integration.faults import answer

from coffre.model.backup import Backup, Progress, Status, Tier
from coffre.model.errors import CoffreError, StoreError
from coffre.model.kinds import TargetKind
from coffre.operations.runs import admission, dead_runs

SLOT = "2026-10-04T02:00:00Z"
SUNDAY = (Tier.DAILY, Tier.WEEKLY, Tier.MONTHLY)


def scheduled(coffre: Coffre, tier: Tier, slot: str = SLOT) -> dict[str, Any]:
    return coffre.backup(tier=tier.value, scheduled_time=slot)


def test_three_rules_of_one_slot_make_one_backup_with_three_tiers(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop)

    answers = [scheduled(coffre, tier) for tier in SUNDAY]

    assert [found["outcome"] for found in answers] == ["completed", "joined", "joined"]
    assert len({found["id"] for found in answers}) == 1
    (backup,) = coffre.backups()
    assert backup.tiers == SUNDAY
    assert len(manifests(coffre)) == 1
    # And the vault alone knows of the tiers that the manifest does not have
    marks = [key.rsplit("/", 1)[1] for key in coffre.objects() if "/marks/" in key]
    assert marks == ["tier-MONTHLY.json", "tier-WEEKLY.json"]
    assert coffre.alerts() == []


def test_three_rules_that_fire_at_the_same_moment_make_one_backup(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop)
    coffre.backup_function()

    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda tier: scheduled(coffre, tier), SUNDAY))

    assert sorted(found["outcome"] for found in answers) == ["completed", "joined", "joined"]
    (backup,) = coffre.backups()
    assert backup.status is Status.COMPLETED
    assert backup.tiers == SUNDAY
    assert coffre.alerts() == []
    assert lock_is_free(coffre)


def test_an_event_that_is_delivered_twice_makes_one_backup(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop)

    assert scheduled(coffre, Tier.DAILY)["id"] == scheduled(coffre, Tier.DAILY)["id"]

    assert len(coffre.backups()) == 1


def test_other_slots_make_other_backups(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop)

    first = scheduled(coffre, Tier.DAILY)
    second = scheduled(coffre, Tier.DAILY, "2026-10-05T02:00:00Z")
    by_hand = coffre.backup()

    assert len({first["id"], second["id"], by_hand["id"]}) == 3
    assert [backup.tiers for backup in coffre.backups()] == [(Tier.MANUAL,), (Tier.DAILY,), (Tier.DAILY,)]


def test_the_repetition_of_a_failed_run_carries_all_tiers_of_its_slot(
    coffre: Coffre, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a slot whose run failed after a second tier had joined it
    coffre.configure(shop)
    function = coffre.backup_function()

    put = function.services.vault.store.put

    def join_and_fail(key: str, *arguments: Any, **named: Any) -> None:
        if "/marks/" in key:
            return put(key, *arguments, **named)
        assert scheduled(coffre, Tier.WEEKLY)["outcome"] == "joined"
        raise StoreError("The store does not want it.", code="STORE_DENIED", hint="Wait for the end of the test.")

    with monkeypatch.context() as faulty:
        faulty.setattr(function.services.vault.store, "put", join_and_fail)
        event = {"target": "shop", "tier": "DAILY", "scheduled_time": SLOT}
        failed_backup(coffre, "STORE_DENIED", event=event)

    # When the platform repeats the first event, and the third rule's event comes late
    again = scheduled(coffre, Tier.DAILY)
    assert scheduled(coffre, Tier.MONTHLY)["outcome"] == "joined"

    # Then one good backup carries them all
    assert again["outcome"] == "completed"
    good, failed = coffre.backups()
    assert (good.id, good.tiers) == (again["id"], SUNDAY)
    assert failed.status is Status.FAILED


def test_a_second_run_by_hand_ends_as_skipped_without_an_alert(
    coffre: Coffre, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a run that is in the middle of its work
    coffre.configure(shop)
    second: list[dict[str, Any]] = []
    store = coffre.backup_function().services.vault.store
    put = store.put

    def meanwhile(key: str, *arguments: Any, **named: Any) -> None:
        if not second:
            second.append({})
            second[0] = coffre.backup(tier="MANUAL")
        put(key, *arguments, **named)

    monkeypatch.setattr(store, "put", meanwhile)

    # When another one is asked for
    first = coffre.backup()

    # Then it says whose turn it is, and that is all
    assert first["outcome"] == "completed"
    assert second[0]["outcome"] == "skipped"
    assert second[0]["id"] == first["id"]
    assert f"backup {first['id']} of shop is already running, since" in second[0]["reason"]
    assert len(coffre.backups()) == 1
    assert coffre.alerts() == []
    # And whoever waits for its id finds the reason
    (event,) = [one for one in coffre.catalog.audit.events(target="shop") if one.action == "backup.skipped"]
    assert event.subject not in (None, first["id"])


def test_a_tier_whose_next_run_is_weeks_away_goes_to_the_run_that_is_in_its_way(
    coffre: Coffre, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a run by hand that is not over when those of the first of the month are due
    coffre.configure(shop)
    due: list[dict[str, Any]] = []
    store = coffre.backup_function().services.vault.store
    put = store.put

    def meanwhile(key: str, *arguments: Any, **named: Any) -> None:
        if not due:
            due.append({})
            due[:] = [scheduled(coffre, Tier.MONTHLY), scheduled(coffre, Tier.DAILY, "2026-10-04T03:00:00Z")]
        put(key, *arguments, **named)

    monkeypatch.setattr(store, "put", meanwhile)

    by_hand = coffre.backup(keep="12h")

    # Then there is a backup of that month, and the next day has one of its own
    assert [found["outcome"] for found in due] == ["skipped", "skipped"]
    assert due[0]["reason"].endswith("and carries the tier MONTHLY too")
    (backup,) = coffre.backups()
    assert (backup.id, {*backup.tiers}) == (by_hand["id"], {Tier.MANUAL, Tier.MONTHLY})
    assert [key for key in coffre.objects() if key.endswith("/marks/tier-MONTHLY.json")]


def test_an_event_with_a_chosen_id_makes_no_second_backup_when_it_is_repeated(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop)
    chosen = new_id()

    first, second = coffre.backup(backup_id=chosen), coffre.backup(backup_id=chosen)

    assert (first["outcome"], second["outcome"]) == ("completed", "skipped")
    assert f"backup {chosen} was begun before; it is COMPLETED" in second["reason"]
    assert len(coffre.backups()) == 1
    assert coffre.alerts() == []
    assert lock_is_free(coffre)


def test_an_id_of_another_time_is_refused_and_nothing_begins(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop)

    failed_backup(
        coffre, "ID_NOT_OF_NOW", recorded=False, event={"target": "shop", "backup_id": "7ZZZZZZZZZZZZZZZZZZZZZZZZZ"}
    )

    assert lock_is_free(coffre)


def test_an_event_with_a_chosen_id_that_failed_is_not_told_twice(coffre: Coffre, shop: str) -> None:
    coffre.configure(f"{shop}_that_is_not_there")
    chosen = new_id()
    failed_backup(coffre, "DATABASE_MISSING", event={"target": "shop", "backup_id": chosen})

    again = coffre.backup(backup_id=chosen)

    assert (again["outcome"], again["status"]) == ("skipped", "FAILED")
    assert coffre.alerts() == []
    assert lock_is_free(coffre)


# --- runs that died without a word ---


@pytest.fixture
def long_ago() -> datetime:
    return datetime.now(UTC) - dead_runs.STALE_AFTER - timedelta(seconds=1)


def died(coffre: Coffre, when: datetime, *, slot: str | None = None, tiers: tuple[Tier, ...] = (Tier.DAILY,)) -> str:
    """Leave behind what a function leaves that is killed: its lock and a record that says IN_PROGRESS."""
    backup_id = new_id()
    if slot:
        coffre.catalog.claim_slot("shop", slot, backup_id, when)
    coffre.catalog.locks.acquire("shop", backup_id, when, stale_after=timedelta(days=1))
    coffre.catalog.create_backup(
        Backup(
            id=backup_id,
            target="shop",
            kind=TargetKind.DATABASE,
            tiers=tiers,
            status=Status.IN_PROGRESS,
            slot=datetime.fromisoformat(slot).isoformat() if slot else None,
            created_at=when,
            heartbeat_at=when,
            request_id="request-of-the-dead",
        )
    )
    coffre.catalog.heartbeat_backup(backup_id, when, Progress(phase="tables"))
    return backup_id


def test_a_run_that_died_is_marked_failed_and_told_by_the_next_one(
    coffre: Coffre, shop: str, long_ago: datetime
) -> None:
    coffre.configure(shop)
    dead = died(coffre, long_ago)

    after = coffre.backup()

    assert after["outcome"] == "completed"
    buried = coffre.catalog.get_backup(dead)
    assert buried.status is Status.FAILED
    assert buried.failure is not None
    assert buried.failure.code == "RUN_DIED"
    alert, over = coffre.alerts()
    assert over["Subject"] == f"Over: {alert['Subject']}"
    assert "RUN_DIED" in alert["Subject"]
    assert dead in alert["Message"]
    assert "request-of-the-dead" in alert["Message"]
    assert lock_is_free(coffre)


def test_a_run_whose_heartbeat_is_fresh_is_not_taken_for_dead(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop)
    alive = died(coffre, datetime.now(UTC) - timedelta(seconds=10))

    assert coffre.backup()["outcome"] == "skipped"

    assert coffre.catalog.get_backup(alive).status is Status.IN_PROGRESS


def test_the_repetition_of_an_event_whose_run_died_takes_its_place(
    coffre: Coffre, shop: str, long_ago: datetime
) -> None:
    """Joining it would have reported success without a backup."""
    coffre.configure(shop)
    dead = died(coffre, long_ago, slot=SLOT, tiers=(Tier.DAILY, Tier.WEEKLY))

    again = scheduled(coffre, Tier.DAILY)
    late = scheduled(coffre, Tier.MONTHLY)

    assert (again["outcome"], late["outcome"]) == ("completed", "joined")
    assert again["id"] != dead
    assert coffre.catalog.get_backup(dead).status is Status.FAILED
    assert coffre.catalog.get_backup(again["id"]).tiers == SUNDAY
    assert len(manifests(coffre)) == 1


def test_a_repeated_event_with_a_chosen_id_settles_its_dead_run(coffre: Coffre, shop: str, long_ago: datetime) -> None:
    coffre.configure(shop)
    dead = died(coffre, long_ago)

    again = coffre.backup(backup_id=dead)

    assert (again["outcome"], again["id"], again["status"]) == ("skipped", dead, "FAILED")
    assert len(coffre.alerts()) == 1
    assert lock_is_free(coffre)


def test_a_dead_run_is_found_even_when_whoever_took_its_lock_died_too(
    coffre: Coffre, shop: str, long_ago: datetime
) -> None:
    """The lock names the last owner only."""
    coffre.configure(shop)
    dead = died(coffre, long_ago - timedelta(hours=1))
    coffre.catalog.locks.acquire("shop", new_id(), long_ago, stale_after=timedelta(0))

    assert coffre.backup()["outcome"] == "completed"

    assert coffre.catalog.get_backup(dead).status is Status.FAILED


def test_a_slot_whose_claim_was_left_behind_is_taken(
    coffre: Coffre, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that died between its claim and its record leaves neither lock nor record."""
    coffre.configure(shop)
    monkeypatch.setattr(admission, "_PAUSE_SECONDS", 0.0)
    coffre.catalog.claim_slot("shop", SLOT, new_id(), datetime.now(UTC))

    first, second = scheduled(coffre, Tier.DAILY), scheduled(coffre, Tier.WEEKLY)

    assert (first["outcome"], second["outcome"]) == ("completed", "joined")
    assert first["id"] == second["id"]
    assert len(coffre.backups()) == 1


def test_a_lock_without_a_record_is_waited_for_and_then_an_error(
    coffre: Coffre, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    coffre.configure(shop)
    monkeypatch.setattr(admission, "_PAUSE_SECONDS", 0.0)
    other = new_id()
    coffre.catalog.locks.acquire("shop", other, datetime.now(UTC), stale_after=timedelta(days=1))

    with pytest.raises(CoffreError) as caught:
        coffre.backup()

    assert caught.value.code == "RUN_STARTING"
    assert coffre.backups() == []
    assert len(coffre.alerts()) == 1


def test_a_run_that_cannot_write_its_record_gives_the_lock_back(
    coffre: Coffre, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the next attempts would be skipped, and nobody would hear why."""
    coffre.configure(shop)
    function = coffre.backup_function()
    with monkeypatch.context() as faulty:
        put_item = function.services.catalog._table._connection.put_item

        def refuse(partition: str, **named: Any) -> Any:
            if partition == "BACKUP":
                raise answer("InternalServerError", status=500)
            return put_item(partition, **named)

        faulty.setattr(function.services.catalog._table._connection, "put_item", refuse)
        failed_backup(coffre, "CATALOG_UNAVAILABLE", recorded=False)

    assert coffre.backup()["outcome"] == "completed"


# --- every target in its own invocation ---


def test_an_event_without_a_target_starts_one_invocation_for_each(coffre: Coffre) -> None:
    # Given a document with two targets
    coffre.document(
        json.dumps({"encryption": "none", "targets": [{"name": name, "secret": "s"} for name in ("shop", "blog")]})
    )
    function = coffre.backup_function()
    with Stubber(function.services.functions) as functions:
        for name in ("shop", "blog"):
            expected = {"FunctionName": "backup-database", "InvocationType": "Event", "Payload": _Event(name)}
            functions.add_response("invoke", {"StatusCode": 202}, expected)

        # When the rule fires
        started = function.handle({"tier": "DAILY", "scheduled_time": SLOT}, Context())

        # Then each is invoked with the same tier and slot, and nothing is done here
        functions.assert_no_pending_responses()
    assert started == {"started": ["shop", "blog"]}
    assert coffre.backups() == []


class _Event:
    """Equals the payload of one target's event."""

    def __init__(self, target: str) -> None:
        self._event = {"tier": "DAILY", "target": target, "scheduled_time": "2026-10-04T02:00:00Z"}

    def __eq__(self, other: object) -> bool:
        sent = json.loads(other) if isinstance(other, bytes) else None
        return isinstance(sent, dict) and {name: sent.get(name) for name in self._event} == self._event

    def __hash__(self) -> int:
        return 0


def test_a_target_that_cannot_be_started_is_an_error_and_the_others_are_started(coffre: Coffre) -> None:
    coffre.document(
        json.dumps({"encryption": "none", "targets": [{"name": name, "secret": "s"} for name in ("shop", "blog")]})
    )
    function = coffre.backup_function()
    with Stubber(function.services.functions) as functions:
        functions.add_client_error("invoke", "AccessDeniedException", http_status_code=403)
        functions.add_response(
            "invoke", {"StatusCode": 202}, {"FunctionName": ANY, "InvocationType": ANY, "Payload": _Event("blog")}
        )

        failed_backup(
            coffre,
            "INVOKE_FAILED",
            "shop",
            "lambda:InvokeFunction",
            function=function,
            event={"tier": "DAILY", "scheduled_time": SLOT},
            recorded=False,
        )

        functions.assert_no_pending_responses()


def test_a_manifest_that_the_dead_run_did_not_announce_is_not_taken_for_its_own(
    coffre: Coffre, shop: str, long_ago: datetime
) -> None:
    # Given a run that died, and somebody who put a manifest in its place
    coffre.configure(shop)
    good = coffre.backup()["id"]
    dead = died(coffre, long_ago)
    (body,) = coffre.objects(f"v1/backups/shop/{good}/manifest.json").values()
    coffre.put_object(f"v1/backups/shop/{dead}/manifest.json", body.replace(good.encode(), dead.encode()))

    # When the next run settles it, then it is not published
    coffre.backup()
    assert coffre.catalog.get_backup(dead).status is Status.FAILED
