"""`coffre audit`: who did what, and whether the record of it is intact; and that nothing is read unrecorded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from tests.integration.bucket_backups import Object, keep_backup
from tests.unit.cli.conftest import BUCKET, TABLE, Account, Coffre
from tests.unit.cli.planning import deciding

from coffre.alerts.audit import audit_anchored
from coffre.model.audit import Actor, Anchor
from coffre.model.backup import Backup
from coffre.operations.monitoring.audit_anchors import anchor_chains
from coffre.stores.s3 import S3Store
from coffre.stores.s3_client import make_client
from coffre.vault.codec import new_identity, public_key
from coffre.vault.vault import Vault

NOW = datetime.now(UTC)
ANA = Actor("arn:aws:iam::1:user/ana", verified=True)


def record(account: Account, action: str, *, hours: float = 0.0, **fields: Any) -> None:
    fields = {"target": "shop", "subject": "01K9X", **fields}
    account.catalog.audit.record(NOW - timedelta(hours=hours), fields.pop("actor", ANA), action, **fields)


@pytest.fixture
def events(account: Account) -> Account:
    record(account, "configuration.changed", hours=50, actor="unknown", target=None)
    record(
        account, "restore.started", hours=30, detail="backup 01A into db.example:5432/x\x1b[2J", origin="restore, eu"
    )
    record(account, "restore.ended", hours=29, result="failed", detail="no")
    record(account, "backup.deleted", hours=2, actor="rotate", target="blog")
    return account


@pytest.fixture
def anchored(events: Account) -> Anchor:
    made = anchor_chains(events.catalog, Vault(S3Store(BUCKET, client=make_client())), NOW)
    assert made is not None
    return made.anchor


def raw_table() -> Any:
    return boto3.resource("dynamodb").Table(TABLE)


# --- the list ---


def test_events_are_listed_newest_first_with_who_claims_to_be_it(events: Account, coffre: Coffre) -> None:
    said = coffre("audit")

    assert (said.status, said.err) == (0, "")
    first = [line.split()[2:4] for line in said.out.splitlines() if line[0].isdigit()]
    assert first == [
        ["backup.deleted", "done"],
        ["restore.ended", "failed"],
        ["restore.started", "done"],
        ["configuration.changed", "done"],
    ]
    assert "by rotate (claimed)\n" in said.out
    assert f"by {ANA.name}, from restore, eu: backup 01A" in " ".join(said.out.split())
    assert "\\x1b[2J" in said.out
    assert "\x1b[2J" not in said.out


@pytest.mark.parametrize(
    ("options", "actions"),
    [
        ((), ["backup.deleted", "restore.ended", "restore.started", "configuration.changed"]),
        (("--target", "shop"), ["restore.ended", "restore.started"]),
        (("--action", "restore"), ["restore.ended", "restore.started"]),
        (("--actor", "user/ana"), ["restore.ended", "restore.started"]),
        (("--since", "24h"), ["backup.deleted"]),
        (
            ("--since", (NOW - timedelta(hours=40)).isoformat(), "--target", "shop"),
            ["restore.ended", "restore.started"],
        ),
        (("--limit", "1"), ["backup.deleted"]),
        (("--limit", "0", "--actor", "nobody"), []),
    ],
)
def test_scripts_get_the_events_that_they_ask_for(
    account: Account, events: Account, coffre: Coffre, options: tuple[str, ...], actions: list[str]
) -> None:
    for target in ("shop", "blog"):
        account.backup(target=target)

    found = coffre("audit", *options, "--json").json()

    assert [one["action"] for one in found] == actions
    assert {len(one["hash"]) for one in found} <= {64}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--since", "yesterday"), "neither a span nor a time"),
        (("--anchor", "x"), "--anchor needs --verify-chain"),
        (("--verify-chain", "--target", "shop"), "leave --target out"),
        (("--verify-chain", "--anchor", "/nonexistent"), "cannot be read"),
        (("--verify-chain", "--anchor", "-"), "stdin has no anchor"),
    ],
)
def test_what_cannot_be_meant_is_wrong_usage(
    account: Account, coffre: Coffre, options: tuple[str, ...], words: str
) -> None:
    said = coffre("audit", *options)

    assert (said.status, said.out) == (2, "")
    assert words in " ".join(said.err.replace("│", " ").split())


def test_a_target_that_never_was_is_refused(account: Account, coffre: Coffre) -> None:
    assert "[TARGET_UNKNOWN]" in coffre("audit", "--target", "shpo").err


# --- the check ---


def test_an_intact_audit_says_what_it_was_checked_against(anchored: Anchor, events: Account, coffre: Coffre) -> None:
    record(events, "backup.pinned")

    said = coffre("audit", "--verify-chain")

    assert said.status == 0
    assert "Intact: 5 events of 3 chains." in said.out
    assert "Checked against 1 anchor" in said.out
    assert "1 event newer than every anchor" in said.out
    report = coffre("audit", "--verify-chain", "--json").json()
    assert (report["intact"], report["events"], report["unanchored"], report["findings"]) == (True, 5, 1, [])


def test_a_changed_event_is_named_and_the_exit_status_says_so(
    anchored: Anchor, events: Account, coffre: Coffre
) -> None:
    key = {"pk": "AUDIT#shop", "sk": "0" * 19 + "1"}
    raw_table().put_item(Item={**raw_table().get_item(Key=key)["Item"], "actor": "mallory"})

    said = coffre("audit", "--verify-chain")

    assert (said.status, said.out) == (1, "")
    assert "shop 1: Its contents do not have its hash: it was changed. [EVENT_CHANGED]" in said.err
    assert "[AUDIT_BROKEN]" in said.err
    assert "docs/runbooks/AUDIT_BROKEN.md" in " ".join(said.err.split())
    as_json = coffre("audit", "--verify-chain", "--json")
    assert as_json.status == 1
    assert as_json.json()["findings"][0]["sequence"] == 1


def test_the_last_mail_alone_proves_that_the_table_was_set_back(
    anchored: Anchor, events: Account, coffre: Coffre, tmp_path: Path
) -> None:
    """An attacker with the table and the vault deletes the last event, sets the head back and removes the anchors."""
    mail = audit_anchored(anchored).text
    file = tmp_path / "mail.txt"
    file.write_text(f"From: sns\n\n{mail.replace(' ', chr(10))}")  # a mail program broke every line
    (shop,) = [f"{one.shard} {one.sequence} {one.hash}" for one in anchored.heads if one.shard == "shop"]
    document = tmp_path / "anchor.json"
    document.write_text(anchored.model_dump_json())
    for given in (file, document, shop):
        assert coffre("audit", "--verify-chain", "--anchor", given).status == 0

    first = raw_table().get_item(Key={"pk": "AUDIT#shop", "sk": "0" * 19 + "1"})["Item"]
    raw_table().delete_item(Key={"pk": "AUDIT#shop", "sk": "0" * 19 + "2"})
    raw_table().put_item(Item={"pk": "AUDITHEAD", "sk": "shop", "sequence": 1, "hash": first["hash"]})
    s3 = boto3.client("s3")
    for item in s3.list_objects_v2(Bucket=BUCKET, Prefix="v1/audit/")["Contents"]:
        s3.delete_object(Bucket=BUCKET, Key=item["Key"])

    alone = coffre("audit", "--verify-chain")
    assert "[ANCHOR_STALE]" in alone.err
    assert "[CHAIN_CUT]" not in alone.err
    for given in (file, document, shop):
        said = coffre("audit", "--verify-chain", "--anchor", given)
        assert said.status == 1
        assert "but the chain ends at 1" in " ".join(said.err.split())
        assert "[CHAIN_CUT]" in said.err
    assert coffre("audit", "--verify-chain", "--anchor", "-", stdin=mail).status == 1


# --- what commands record ---


@pytest.fixture
def uploads(account: Account, tmp_path: Path) -> Backup:
    """A backup of objects, one of whose packs is missing; its key is in key.txt."""
    identity = new_identity()
    (tmp_path / "key.txt").write_text(identity)
    vault = Vault(S3Store(BUCKET, client=make_client()))
    files = {"photos/cat.jpg": Object(b"meow")}
    backup = keep_backup(vault, files, tmp_path, recipients=[public_key(identity)])
    account.catalog.create_backup(backup)
    return backup


def test_reading_a_backup_is_recorded_before_it_is_done_and_if_it_fails(
    account: Account, uploads: Backup, coffre: Coffre, tmp_path: Path
) -> None:
    key = ("--identity", tmp_path / "key.txt")
    assert coffre("cat", uploads.id, "cat.jpg", *key).status == 0
    assert coffre("export", uploads.id, "--to", tmp_path / "there", *key).status == 0
    for item in boto3.client("s3").list_objects_v2(Bucket=BUCKET, Prefix="v1/packs/")["Contents"]:
        boto3.client("s3").delete_object(Bucket=BUCKET, Key=item["Key"])
    assert coffre("cat", uploads.id, "cat.jpg", *key).status == 1

    events = list(account.catalog.audit.events(uploads.target))[::-1]
    assert [(one.action, one.result) for one in events] == [
        ("backup.read", "done"),
        ("backup.exported", "done"),
        ("backup.read", "done"),
        ("backup.read", "failed"),
    ]
    assert [one.detail for one in events][:2] == ["cat.jpg", "files"]
    assert "[PACK_MISSING]" in (events[3].detail or "")
    assert {one.subject for one in events} == {uploads.id}
    assert "arn:aws:" in events[0].actor
    assert (events[0].verified, events[0].origin) == (False, "command, eu-west-1")


def test_nothing_is_read_and_nothing_pinned_that_cannot_be_recorded(
    account: Account, uploads: Backup, coffre: Coffre, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    way = {"pk": f"AUDIT#{uploads.target}", "sk": "0" * 19 + "1"}
    raw_table().put_item(Item={**way, "actor": "an item in the way"})
    monkeypatch.setattr("coffre.catalog.audit._LONGEST_PAUSE_SECONDS", 0.0)
    key = ("--identity", tmp_path / "key.txt")

    for command in (("cat", uploads.id, "cat.jpg"), ("export", uploads.id, "--to", tmp_path / "there")):
        said = coffre(*command, *key)
        assert (said.status, said.out) == (1, "")
        assert "[AUDIT_NOT_RECORDED]" in said.err
        assert "AUDIT_STUCK" in said.err
    assert not (tmp_path / "there").exists()
    deciding(account)
    assert "[AUDIT_STUCK]" in coffre("pin", uploads.id).err
    assert account.catalog.get_backup(uploads.id).pinned_at is None


def test_a_vault_without_a_stack_is_read_and_recorded_nowhere(
    account: Account, uploads: Backup, coffre: Coffre, tmp_path: Path
) -> None:
    said = coffre("--vault", f"s3://{BUCKET}", "--identity", tmp_path / "key.txt", "cat", uploads.id, "cat.jpg")

    assert said.status == 0
    assert list(account.catalog.audit.events()) == []


def test_a_rebuilt_catalog_begins_with_the_event_about_it(account: Account, coffre: Coffre) -> None:
    coffre("catalog", "rebuild", "--dry-run")
    assert list(account.catalog.audit.events()) == []
    coffre("catalog", "rebuild", "--yes")
    assert [event.action for event in account.catalog.audit.events()] == ["catalog.rebuilt"]
