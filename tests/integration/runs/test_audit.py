"""What functions record of real runs, what they do when they cannot, and what of it people hear."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from pynamodb.connection.base import Connection
from tests.confirming import with_confirmation
from tests.integration.conftest import TABLE, Coffre, Context, new_id, run_sql

from coffre.model.audit import Anchor, AuditEvent
from coffre.model.errors import CatalogError, CoffreError
from coffre.policy.audit_chain import ChainReport, verify_chain


def recorded(coffre: Coffre, target: str | None = "shop") -> list[AuditEvent]:
    """The events of a target in the order of their chain, without those about keys."""
    found = [event for event in coffre.catalog.audit.events(target) if event.action != "key.first_used"]
    return sorted(found, key=lambda event: event.sequence or 0)


def heard(coffre: Coffre) -> list[str]:
    """Take the kinds of the alerts so far."""
    return [alert["MessageAttributes"]["kind"]["Value"] for alert in coffre.alerts()]


def check(coffre: Coffre) -> ChainReport:
    audit = coffre.catalog.audit
    heads = audit.heads()
    anchors = [Anchor.model_validate_json(body) for _, body in sorted(coffre.objects("v1/audit/anchors/").items())]
    return verify_chain((one for head in heads for one in audit.stored(head.shard, head)), heads, anchors)


@contextmanager
def no_audit() -> Iterator[None]:
    """Let the table refuse every audit event, and nothing else."""

    def refuse(*_: object, **__: object) -> Any:
        raise CatalogError("The table is throttled.")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, "transact_write_items", refuse)
        yield


# --- backups ---


def test_a_backup_by_hand_is_recorded_and_a_scheduled_one_is_not(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop)
    coffre.backup(tier="DAILY")
    by_hand = coffre.backup()
    coffre.secret("coffre/database/shop", f"{shop}_that_is_not_there")
    with pytest.raises(CoffreError):
        coffre.backup(backup_id=(failed := new_id()))

    good, bad = recorded(coffre)
    assert (good.action, good.subject, good.result, good.actor) == ("backup.taken", by_hand["id"], "done", "unknown")
    assert not good.verified
    assert (good.origin or "").startswith("backup_database, ")
    assert (bad.action, bad.subject, bad.result) == ("backup.taken", failed, "failed")
    assert "[DATABASE_MISSING]" in (bad.detail or "")
    (key,) = [event for event in coffre.catalog.audit.events("shop") if event.action == "key.first_used"]
    assert (key.subject or "").startswith("age1")


def test_a_backup_that_cannot_be_recorded_is_done_and_people_hear_of_it(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop)
    with no_audit():
        done = coffre.backup()

    assert done["outcome"] == "completed"
    assert heard(coffre) == ["AUDIT_FAILED"]
    assert recorded(coffre) == []
    coffre.backup()
    assert [
        event.action for event in sorted(coffre.catalog.audit.events("shop"), key=lambda one: one.sequence or 0)
    ] == [
        "backup.taken",
        "key.first_used",
    ]
    assert check(coffre).is_intact


def test_a_changed_configuration_is_recorded_once(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop)
    for _ in range(2):
        coffre.backup(tier="DAILY")
    coffre.configure(shop, target={"limits": {"streams": 2}})
    coffre.backup(tier="DAILY")
    coffre.rotate()

    changes = [event for event in coffre.catalog.audit.events() if event.action == "configuration.changed"]
    assert len(changes) == 2
    assert {event.shard for event in changes} == {"-"}


# --- restores ---


def test_a_restore_is_recorded_when_it_begins_and_when_it_ends(coffre: Coffre, shop: str, new_database: str) -> None:
    coffre.configure(shop)
    done = coffre.backup(tier="DAILY")
    coffre.restore(done["id"], new_database, dry_run=True)
    assert recorded(coffre) == []
    good = coffre.restore(done["id"], new_database)
    with pytest.raises(CoffreError):
        coffre.restore(done["id"], new_database, restore_id=(bad := new_id()))  # It is not empty any more.

    events = recorded(coffre)
    assert [(event.action, event.subject, event.result) for event in events] == [
        ("restore.started", good["id"], "done"),
        ("restore.ended", good["id"], "done"),
        ("restore.started", bad, "done"),
        ("restore.ended", bad, "failed"),
    ]
    assert events[0].detail == f"backup {done['id']} into coffre/database/destination"
    assert "rows" in (events[1].detail or "")
    assert "DESTINATION" in (events[3].detail or "")


def test_a_restore_that_cannot_be_recorded_changes_nothing(coffre: Coffre, shop: str, new_database: str) -> None:
    coffre.configure(shop)
    done = coffre.backup(tier="DAILY")
    handle = coffre.restore_function().handle
    wanted = {"backup_id": done["id"], "replace": True}
    planned = with_confirmation(lambda event: handle(event, Context(function_name="restore")), wanted)
    coffre.alerts()
    with no_audit(), pytest.raises(CatalogError):
        coffre.restore(done["id"], None, replace=True, confirmation=planned["confirmation"])

    assert [one for one in coffre.catalog.restores() if not one.dry_run] == []
    kept = f"SELECT count(*) FROM pg_database WHERE datname ~ '^{urlsplit(shop).path[1:]}_before_'"
    assert run_sql(shop, kept) == [(0,)]
    assert heard(coffre) == ["RESTORE_FAILED", "AUDIT_FAILED"]
    coffre.restore(done["id"], new_database)
    assert check(coffre).is_intact


def test_refused_restores_are_counted_and_alert_once(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop)
    for _ in range(3):
        with pytest.raises(CoffreError, match="BACKUP_UNKNOWN"):
            coffre.restore(new_id(), shop)
    for _ in range(2):
        with pytest.raises(CoffreError, match="EVENT_INVALID"):
            coffre.restore("latest", shop, nonsense=True)

    # Without a name it may be a rule's, which sends the same again every night
    assert heard(coffre) == ["REQUEST_REFUSED", "CONFIG_INVALID"]
    with pytest.raises(CoffreError, match="EVENT_INVALID"):
        coffre.restore("latest", shop, nonsense=True, actor="arn:aws:iam::111122223333:user/ada")
    assert heard(coffre) == ["REQUEST_REFUSED"]
    refused = [event for event in recorded(coffre, None) if event.result == "refused"]
    assert [(event.action, event.shard) for event in refused] == [("restore.started", "-"), ("request.refused", "-")]


# --- anchors ---


def test_each_hour_changed_heads_are_anchored_and_each_week_people_get_them(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop)
    coffre.backup()
    assert coffre.objects("v1/audit/") == {}
    for _ in range(3):
        coffre.verify("fresh")

    (body,) = coffre.objects("v1/audit/anchors/").values()
    anchor = Anchor.model_validate_json(body)
    assert [head.shard for head in anchor.heads] == ["-", "shop"]
    (mail,) = [alert for alert in coffre.alerts() if alert["MessageAttributes"]["kind"]["Value"] == "AUDIT_ANCHORED"]
    for head in anchor.heads:
        assert f"\n{head.shard} {head.sequence} {head.hash}\n" in mail["Message"]
    lines = [json.loads(line) for line in coffre.log_lines if "audit anchored" in line]
    assert [line["heads"] for line in lines] == [[head.model_dump() for head in anchor.heads]]

    coffre.backup()
    coffre.rotate()
    assert len(coffre.objects("v1/audit/anchors/")) == 2
    assert "AUDIT_ANCHORED" not in heard(coffre)
    report = check(coffre)
    assert (report.findings, report.anchors, report.unanchored) == ((), 2, 0)
    assert coffre.rotate()["sweep"]["foreign"]["objects"] == 0


def test_an_event_that_was_changed_is_reported_within_the_hour(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop)
    coffre.backup()
    coffre.verify("fresh")
    coffre.backup()
    coffre.alerts()
    table = boto3.resource("dynamodb").Table(TABLE)
    newest = recorded(coffre)[-1]
    key = {"pk": "AUDIT#shop", "sk": f"{newest.sequence:020d}"}
    table.put_item(Item={**table.get_item(Key=key)["Item"], "actor": "another"})

    for _ in range(2):
        coffre.verify("fresh")

    assert heard(coffre) == ["AUDIT_BROKEN"]
    assert next((one.code, one.sequence) for one in check(coffre).findings) == ("EVENT_CHANGED", newest.sequence)
