"""`coffre backup buckets`, and backups of buckets in `coffre list` and `coffre show`."""

from __future__ import annotations

from typing import Any

from tests.unit.cli.conftest import Account, Coffre

from coffre.model.backup import Status, Tier
from coffre.model.kinds import TargetKind


def completing(account: Account, **fields: Any) -> None:
    account.play = lambda function, event: (
        account.backup(
            id=event["backup_id"], target=event["target"], kind=TargetKind.BUCKET, tiers=(Tier.MANUAL,), **fields
        )
        and None
    )


def test_a_backup_is_started_followed_and_reported(coffre: Coffre, account: Account) -> None:
    account.configure_buckets("files", "avatars")
    completing(account, exceptions=("500 objects of avatars are not in this backup: ...",), unread=500)

    said = coffre("backup", "buckets")

    [(function, event)] = account.invoked
    assert function == "safe-backup-storage"
    assert {name: event[name] for name in ("target", "tier", "full")} == {
        "target": "files",
        "tier": "MANUAL",
        "full": False,
    }
    assert (said.status, said.err) == (4, "")
    assert said.out == (
        "Backed up files: 12,345 objects (500 more could not be read), 5.0 MB in 12.3 s; 1.2 MB stored.\n"
        "  Exception: 500 objects of avatars are not in this backup: ...\n"
        "List its objects, and restore them:\n"
        f"  coffre ls {event['backup_id']}\n"
        f"  coffre restore objects {event['backup_id']} --dry-run\n"
    )


def test_json_has_the_objects_and_the_exceptions(coffre: Coffre, account: Account) -> None:
    account.configure_buckets("files", "avatars")
    completing(account)

    shown = coffre("backup", "buckets", "files", "--full", "--json").json()

    assert account.invoked[0][1]["full"] is True
    assert (shown["kind"], shown["objects"], shown["exceptions"]) == ("bucket", 12_345, [])


def test_a_database_is_no_target_of_buckets(coffre: Coffre, account: Account) -> None:
    account.configure_buckets("files", "avatars")

    said = coffre("backup", "buckets", "shop")

    assert said.status == 1
    assert 'There is no bucket target "shop".' in said.err
    assert account.invoked == []


def test_without_any_target_of_buckets_it_says_how_to_add_one(coffre: Coffre, account: Account) -> None:
    said = coffre("backup", "buckets")

    assert said.status == 1
    assert "docs/storage.md" in said.err


def test_a_failed_backup_says_why_and_fails(coffre: Coffre, account: Account) -> None:
    account.configure_buckets("files", "avatars")
    account.play = lambda function, event: account.backup(Status.FAILED, id=event["backup_id"]) and None

    said = coffre("backup", "buckets", "files")

    assert said.status == 1
    assert "older backups are untouched" in said.out


def test_the_help_has_examples(coffre: Coffre, account: Account) -> None:
    assert "coffre backup buckets files --json" in coffre("backup", "buckets", "--help").out


def test_list_and_show_know_backups_of_buckets(coffre: Coffre, account: Account) -> None:
    backup = account.backup(target="files", kind=TargetKind.BUCKET)

    listed, shown = coffre("list"), coffre("show", backup.id)

    assert backup.id in listed.out
    assert "source    https://account.r2.cloudflarestorage.com: avatars, invoices" in shown.out
    assert "changes   40 added, 5 changed, 1 removed since backup 01K9X000000000000000000000" in shown.out
    assert "requests  13 list, 45 get, 3 put" in shown.out
    assert "objects   12,345" in shown.out
    assert [line.split() for line in shown.out.splitlines()[-2:]] == [
        ["avatars", "12,000", "5.0", "MB"],
        ["invoices", "2026/**", "not:**.tmp", "345", "12", "B"],
    ]


def test_the_former_name_of_the_command_still_works(coffre: Coffre, account: Account) -> None:
    said = coffre("backup", "storage", "shop")

    assert 'There is no bucket target "shop".' in said.err
    assert "storage" not in coffre("backup", "--help").out
