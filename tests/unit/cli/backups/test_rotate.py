"""`coffre rotate`, `pin`, `unpin`, `delete`, `catalog rebuild`: what is asked, what is shown, what is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from tests.catalog_table import create_table
from tests.unit.cli.conftest import BUCKET, TABLE, Account, Coffre, Said
from tests.unit.cli.planning import at_a_terminal, deciding

from coffre.model.backup import Backup, Status, Tier
from coffre.model.configuration_version import ConfigurationVersion, sha256_of
from coffre.model.rotation import Action, Amount, Decision, Problem, RotationReport, SweepReport
from coffre.stores.directory import DirectoryStore
from coffre.stores.store import put_small
from coffre.vault.configuration_copies import keep_copy
from coffre.vault.vault import Vault

NOW = datetime.now(UTC)
OLD, YOUNG, HELD = "01K9X000000000000000000001", "01K9X000000000000000000002", "01K9X000000000000000000003"


def decision(backup_id: str, days: int, action: Action, reason: str, **fields: Any) -> Decision:
    return Decision(
        backup_id=backup_id,
        target="shop",
        tiers=(Tier.DAILY,),
        taken_at=NOW - timedelta(days=days),
        action=action,
        reason=reason,
        size_bytes=1_000_000,
        **fields,
    )


def report(**fields: Any) -> RotationReport:
    decisions = (
        decision(OLD, 30, Action.DELETE, "daily, 7 days were over"),
        decision(HELD, 9, Action.KEEP, "no newer backup is verified yet", held_back=True),
        decision(YOUNG, 1, Action.KEEP, "daily, kept for 7 days"),
    )
    sweep = SweepReport(
        packs=Amount(objects=5, size_bytes=9_000_000),
        living=Amount(objects=3, size_bytes=4_000_000),
        wasted_bytes=1_000_000,
        records_removed=Amount(objects=2, size_bytes=5000),
        packs_removed=Amount(objects=1, size_bytes=2_000_000),
        waiting=Amount(objects=1, size_bytes=3_000_000),
        waits=("backup X of shop is running",),
        foreign=Amount(objects=7, size_bytes=70),
        foreign_keys=tuple(f"photos/{number}.jpg\n" for number in range(7)),
        problems=(Problem(code="PACK_MISSING", target="shop", text="The pack P is not there."),),
    )
    return RotationReport(id="R", dry_run=True, decisions=decisions, sweep=sweep, not_configured=("gone",)).model_copy(
        update=fields
    )


def answering(account: Account, answer: RotationReport) -> None:
    account.play = lambda function, event: answer.model_dump(mode="json")


@pytest.fixture(autouse=True)
def functions(account: Account) -> None:
    """The function `rotate` deletes and pins; what a rotation answers, its test says."""
    deciding(account)


# --- rotate ---


def test_a_dry_run_shows_every_decision_with_its_reason_and_the_bytes(coffre: Coffre, account: Account) -> None:
    answering(account, report())

    said = coffre("rotate", "--dry-run")

    assert account.invoked == [("safe-rotate", {"dry_run": True})]
    assert (said.status, said.err) == (0, "")
    for words in (OLD, "daily, 7 days were", "no newer backup is", "delete", "keep"):
        assert words in said.out
    assert said.out.index(YOUNG) < said.out.index(HELD) < said.out.index(OLD)
    tail = said.out[said.out.index("gone is not") :]
    assert tail.splitlines() == [
        "gone is not in the configuration: its backups are kept. To delete one: coffre delete ID",
        "1 of 3 backups would be deleted.",
        "1 have outlived their tiers but are kept (1.0 MB that they added): see WHY.",
        "2.0 MB in 3 objects would be removed from the vault.",
        "Needed: 4.0 MB in 3 packs; 1.0 MB (25 %) of it only shares a pack with what is needed.",
        "Waiting: 3.0 MB in 1 packs will be removed later:",
        "  backup X of shop is running",
        "Not Coffre's, and not touched: 7 objects, 70 B:",
        *(f"  'photos/{number}.jpg\\n'" for number in range(5)),
        "  ...",
        "Problem: The pack P is not there. [PACK_MISSING]",
    ]


def test_json_is_the_report(coffre: Coffre, account: Account) -> None:
    answering(account, report(dry_run=False))

    said = coffre("rotate", "shop", "--json")

    assert account.invoked == [("safe-rotate", {"dry_run": False, "target": "shop"})]
    assert (said.status, said.err) == (0, "")
    assert RotationReport.model_validate(said.json()) == report(dry_run=False)


def test_a_rotation_that_is_going_on_already_is_skipped(coffre: Coffre, account: Account) -> None:
    answering(account, RotationReport(id="R", dry_run=False, skipped="rotation Q is running"))

    said = coffre("rotate")

    assert (said.status, said.out, said.err) == (3, "", "Skipped: rotation Q is running.\n")


def test_a_rotation_that_fails_says_why(coffre: Coffre, account: Account) -> None:
    account.play = lambda function, event: {"errorType": "StoreError", "errorMessage": "Refused. [STORE_DENIED]"}

    said = coffre("rotate")

    assert (said.status, said.out) == (1, "")
    assert "[ROTATION_FAILED]\n  Refused. [STORE_DENIED]\nWhat to do: " in said.err


def test_an_unknown_target_starts_nothing(coffre: Coffre, account: Account) -> None:
    said = coffre("rotate", "nope")

    assert (said.status, account.invoked) == (1, [])
    assert "[TARGET_UNKNOWN]" in said.err


def test_nothing_to_decide_is_said(coffre: Coffre, account: Account) -> None:
    answering(account, RotationReport(id="R", dry_run=False))

    assert "No completed backups yet." in coffre("rotate").out


# --- pin and unpin ---


def audit(account: Account) -> list[tuple[str, str | None]]:
    return [(event.action, event.subject) for event in account.catalog.audit.events()]


def test_a_pin_is_kept_in_catalog_and_vault_and_can_be_taken_away(coffre: Coffre, account: Account) -> None:
    backup = account.backup()
    key = f"v1/backups/shop/{backup.id}/marks/pin.json"

    pinned = coffre("pin", backup.id)
    again = coffre("pin", backup.id, "--json").json()

    first = account.catalog.get_backup(backup.id).pinned_at
    assert (pinned.status, pinned.out) == (0, f"Pinned: rotation never deletes {backup.id}.\n")
    assert first is not None
    assert again["pinned_at"] == first.isoformat().replace("+00:00", "Z")
    assert first.isoformat().encode() in boto3.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read()

    assert coffre("unpin", backup.id).status == coffre("unpin", backup.id).status == 0
    assert account.catalog.get_backup(backup.id).pinned_at is None
    assert b'"pinned_at": null' in boto3.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read()
    assert {action for action, subject in audit(account) if subject == backup.id} == {
        "backup.pinned",
        "backup.unpinned",
    }
    event = next(account.catalog.audit.events())
    assert (event.actor, event.verified) == (account.caller, True)
    wanted = [{"pin": backup.id}] * 2 + [{"unpin": backup.id}] * 2
    assert account.invoked == [("safe-rotate", one) for one in wanted]


@pytest.mark.parametrize("command", ["pin", "unpin"])
@pytest.mark.parametrize("status", [Status.FAILED, Status.DELETED])
def test_what_is_no_backup_any_more_has_no_pin(coffre: Coffre, account: Account, command: str, status: Status) -> None:
    backup = account.backup(status)

    assert "[BACKUP_STATE]" in coffre(command, backup.id).err
    assert "[BACKUP_UNKNOWN]" in coffre(command, OLD).err
    (event,) = account.catalog.audit.events()
    assert (event.action, event.subject, event.result) == (f"backup.{command}ned", backup.id, "refused")


@pytest.mark.parametrize("command", ["pin", "unpin"])
def test_an_unknown_backup_gets_no_pin_by_an_event_either(account: Account, command: str) -> None:
    answer: Any = account.play("rotate", {command: OLD})

    assert (answer["backup"], answer["failure"]["code"]) == (None, "BACKUP_UNKNOWN")
    assert list(account.catalog.audit.events()) == []


@pytest.mark.parametrize("command", ["pin", "unpin"])
def test_a_function_that_fails_or_knows_no_pins_is_an_error_with_its_words(
    coffre: Coffre, account: Account, command: str
) -> None:
    backup = account.backup()
    words = f"The event has wrong fields. [EVENT_INVALID]\n  {command}: unknown field\n  What to do: Look."
    account.play = lambda function, event: {"errorType": "EventError", "errorMessage": words}

    said = coffre(command, backup.id)

    assert (said.status, said.out) == (1, "")
    assert "[EVENT_INVALID]" in said.err
    assert f"{command}: unknown field" in said.err
    assert account.catalog.get_backup(backup.id).pinned_at is None


# --- delete ---


@pytest.fixture
def backups(account: Account) -> list[Backup]:
    """Three, of which the second one is the newest verified."""
    made = [account.backup() for _ in range(3)]
    for backup in made[:2]:
        account.catalog.keeping.mark_verified(backup.id, NOW)
    return made


def test_a_backup_is_deleted_when_a_person_types_its_target(
    coffre: Coffre, account: Account, backups: list[Backup], monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = at_a_terminal(monkeypatch)

    said = coffre("delete", backups[0].id, stdin="shop\n")

    assert said.status == 0
    assert f"Backup {backups[0].id} of shop (daily), taken " in said.err
    assert 'Type "shop" to confirm:' in said.err
    assert waited == [1] * 10
    assert f"This deletes the backup {backups[0].id} (1.2 MB were added by it)." in said.out
    assert "What remains: 2 healthy backups of the target, the newest taken" in said.out
    assert f"Deleted {backups[0].id} of shop" in said.out
    deleted = account.catalog.get_backup(backups[0].id)
    assert deleted.status is Status.DELETED
    assert "arn:aws:" in str(deleted.deletion)
    assert sorted(audit(account)) == [
        ("backup.deleted", backups[0].id),
        ("deletion.confirmed", backups[0].id),
        ("deletion.planned", backups[0].id),
    ]
    assert [event.get("target") for _, event in account.invoked] == [None, None, "shop"]


@pytest.mark.parametrize("stdin", ["n\n", "Shop\n", "\n"])
def test_nothing_is_deleted_when_another_name_is_typed(
    coffre: Coffre, account: Account, backups: list[Backup], stdin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_a_terminal(monkeypatch)

    said = coffre("delete", backups[0].id, stdin=stdin)

    assert said.status == 1
    assert account.catalog.get_backup(backups[0].id).status is Status.COMPLETED
    assert audit(account) == [("deletion.planned", backups[0].id)]


def test_without_a_terminal_nothing_is_deleted_unless_yes_is_said(
    coffre: Coffre, account: Account, backups: list[Backup]
) -> None:
    said = coffre("delete", backups[0].id, stdin="shop\n")

    assert (said.status, account.invoked) == (2, [])
    assert "add --yes, or --dry-run" in said.err


def test_ctrl_c_in_the_countdown_deletes_nothing(
    coffre: Coffre, account: Account, backups: list[Backup], monkeypatch: pytest.MonkeyPatch
) -> None:
    at_a_terminal(monkeypatch)

    def press(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("coffre_cli.confirming.time", SimpleNamespace(sleep=press))

    said = coffre("delete", backups[0].id, stdin="shop\n")

    assert said.status == 130
    assert "Stopped. Nothing was changed." in said.err
    assert account.catalog.get_backup(backups[0].id).status is Status.COMPLETED


def test_a_dry_run_of_a_deletion_says_what_remains(coffre: Coffre, account: Account, backups: list[Backup]) -> None:
    said = coffre("delete", backups[0].id, "--dry-run")
    shown = coffre("delete", backups[0].id, "--dry-run", "--json")

    assert "Nothing was changed." in said.out
    assert "What remains: 2 healthy backups" in said.out
    assert shown.json()["overwrites"]["remaining_backups"] == 2
    assert "token" not in shown.out + said.out
    assert account.catalog.get_backup(backups[0].id).status is Status.COMPLETED


def test_a_deletion_waits_for_the_second_person(
    coffre: Coffre, account: Account, backups: list[Backup], monkeypatch: pytest.MonkeyPatch
) -> None:
    deciding(account, approvals=1)
    approvals: list[Said] = []

    def wait(seconds: float) -> None:
        [waiting] = account.catalog.confirmations.beginning_with("")[0]
        account.caller, maker = "arn:aws:iam::123456789012:user/grace", account.caller
        approvals.append(coffre("approve", waiting.id[:8], "--yes"))
        account.caller = maker

    monkeypatch.setattr("coffre_cli.confirming.time", SimpleNamespace(sleep=wait))

    said = coffre("delete", backups[0].id, "--yes")

    assert (said.status, [one.status for one in approvals]) == (0, [0])
    assert account.catalog.get_backup(backups[0].id).status is Status.DELETED
    assert ("deletion.approved", backups[0].id) in audit(account)


def test_the_newest_verified_one_needs_force(coffre: Coffre, account: Account, backups: list[Backup]) -> None:
    refused = coffre("delete", backups[1].id, "--yes")
    assert (refused.status, "is the newest verified backup" in refused.err) == (1, True)
    assert "[BACKUP_NEEDED]" in refused.err
    assert "--force" in refused.err

    assert coffre("delete", backups[1].id, "--yes", "--force", "--json").json()["status"] == "DELETED"
    assert coffre("delete", backups[2].id, "--yes").status == 0


def test_the_only_one_needs_force(coffre: Coffre, account: Account) -> None:
    account.backup(Status.FAILED)
    account.backup(target="blog")
    only = account.backup()

    assert "is the only backup" in coffre("delete", only.id, "--yes").err
    assert coffre("delete", only.id, "--yes", "--force").status == 0


def test_a_pinned_one_is_refused_even_with_force(coffre: Coffre, account: Account, backups: list[Backup]) -> None:
    coffre("pin", backups[0].id)

    said = coffre("delete", backups[0].id, "--yes", "--force")

    assert "[BACKUP_PINNED]" in said.err
    assert f"coffre unpin {backups[0].id}" in said.err
    assert account.catalog.get_backup(backups[0].id).status is Status.COMPLETED


@pytest.mark.parametrize("status", [Status.FAILED, Status.IN_PROGRESS, Status.DELETED])
def test_only_completed_ones_can_be_deleted(coffre: Coffre, account: Account, status: Status) -> None:
    assert "only a COMPLETED one" in coffre("delete", account.backup(status).id, "--yes").err


def test_show_says_what_a_backups_life_depended_on(coffre: Coffre, account: Account, backups: list[Backup]) -> None:
    coffre("pin", backups[0].id)
    lines = coffre("show", backups[0].id).out.splitlines()
    assert [line.split()[0] for line in lines[2:5]] == ["taken", "verified", "pinned"]

    coffre("unpin", backups[0].id)
    coffre("delete", backups[0].id, "--yes")
    said = coffre("show", backups[0].id).out
    assert "  deleted   " in said
    assert "  why       deleted by arn:aws:" in said


# --- catalog rebuild ---


def empty_table() -> None:
    boto3.client("dynamodb").delete_table(TableName=TABLE)
    create_table(TABLE)


def test_an_empty_table_is_filled_from_the_vault(coffre: Coffre, account: Account) -> None:
    made = [account.backup(), account.backup(target="blog")]
    account.backup(Status.FAILED)
    empty_table()

    planned = coffre("catalog", "rebuild", "--dry-run")
    assert list(account.catalog.backups()) == []
    said = coffre("catalog", "rebuild", "--yes")

    assert (planned.status, said.status) == (0, 0)
    assert "2 of 2 records would be added." in planned.out
    assert "2 of 2 records added." in said.out
    assert "rotation deletes nothing" in said.out
    assert {backup.id for backup in account.catalog.backups()} == {backup.id for backup in made}
    assert coffre("list", "shop", "--json").json()[0]["rows"] == 1003
    assert "0 of 2 records added." in coffre("catalog", "rebuild", "--yes").out


def test_a_rebuild_asks_first(coffre: Coffre, account: Account) -> None:
    account.backup()
    empty_table()

    said = coffre("catalog", "rebuild", stdin="n\n")

    assert said.status == 1
    assert "trusted without proof" in said.err
    assert list(account.catalog.backups()) == []


def test_what_could_not_be_read_is_shown_and_fails(coffre: Coffre, account: Account) -> None:
    backup = account.backup()
    empty_table()
    boto3.client("s3").put_object(Bucket=BUCKET, Key=str(backup.manifest_key), Body=b"{}")

    said = coffre("catalog", "rebuild", "--yes", "--json")

    assert said.status == 1
    (outcome,) = said.json()
    assert "MANIFEST_DAMAGED" in outcome["outcome"]


def test_a_copy_is_rotated_by_name(coffre: Coffre, account: Account) -> None:
    account.configure_copy("offsite")
    account.play = lambda function, event: report(copy_name="offsite", to_copy_again=(HELD,)).model_dump(mode="json")

    said = coffre("rotate", "--at", "offsite", "--dry-run")

    assert said.status == 0
    assert account.invoked == [("safe-rotate", {"dry_run": True, "at": "offsite"})]
    assert "removed from the copy offsite." in said.out
    assert f"  coffre copy {HELD} --to offsite" in said.out.splitlines()


def test_a_copy_that_is_not_configured_is_refused(coffre: Coffre, account: Account) -> None:
    account.configure_copy("offsite")

    said = coffre("rotate", "--at", "onsite")

    assert said.status == 1
    assert "offsite" in said.err
    assert account.invoked == []


def test_a_lost_catalog_is_rebuilt_from_a_copy_by_name_and_by_address(
    coffre: Coffre, account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a new stack with an empty vault, and a copy of the old one with two backups and the configuration."""
    monkeypatch.chdir(tmp_path)
    account.backup(id=OLD)
    account.backup(id=YOUNG)
    place = tmp_path / "disk"
    place.mkdir()
    store, s3 = DirectoryStore(place), boto3.client("s3")
    for item in s3.list_objects_v2(Bucket=BUCKET)["Contents"]:
        put_small(store, item["Key"], s3.get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read())
        s3.delete_object(Bucket=BUCKET, Key=item["Key"])
    Vault(store).mark_verified("shop", OLD, YOUNG, NOW)
    document = json.dumps({"encryption": "none", "targets": []})
    keep_copy(store, ConfigurationVersion(number=1, at=NOW, actor="ada", sha256=sha256_of(document), document=document))
    empty_table()
    account.configure_copies(disk={"type": "directory", "path": str(place)})

    planned = coffre("catalog", "rebuild", "--from", "disk", "--dry-run")
    assert list(tmp_path.glob("*.json")) == []
    by_address = coffre("catalog", "rebuild", "--from", f"directory:{place}", "--yes", "--json")
    by_name = coffre("catalog", "rebuild", "--from", "disk", "--yes")

    assert (planned.status, "2 of 2 records would be added." in planned.out) == (0, True)
    assert {one["outcome"] for one in by_address.json()} == {"added"}
    assert (by_name.status, "0 of 2 records added." in by_name.out) == (0, True)
    assert account.catalog.get_backup(OLD).verified_at == NOW
    assert {copy.backup_id for copy in account.catalog.copies.of("disk")} == {OLD, YOUNG}
    assert coffre("catalog", "rebuild", "--from", "disk", "--yes").status == 0
    [kept] = tmp_path.glob("coffre-configuration-*.json")
    assert kept.read_text() == document
    assert f"coffre config set {kept.name}" in by_name.out


@pytest.mark.parametrize(
    ("source", "code"), [("disk", "COPY_UNKNOWN"), ("./nowhere", "BUCKET_MISSING"), (".", "VAULT_EMPTY")]
)
def test_a_copy_that_is_none_is_refused_and_nothing_is_recorded(
    coffre: Coffre, account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, code: str
) -> None:
    monkeypatch.chdir(tmp_path)

    said = coffre("catalog", "rebuild", "--from", source, "--yes")

    assert said.status == 1
    assert f"[{code}]" in said.err
    assert list(account.catalog.backups()) == []
