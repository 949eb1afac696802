"""`coffre restore` of a backup of buckets: what is asked for, what is refused, what is said."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.conftest import BUCKET, Account, Coffre
from tests.unit.cli.planning import answer_to, is_planned, plan_of

from coffre.model.backup import Backup, Status
from coffre.model.kinds import TargetKind
from coffre.model.storage import Objects, StorageOutcome, StorageResult
from coffre.runtime.events.restore import StorageRestoreEvent, parse_restore
from coffre.stores.s3 import S3Store
from coffre.stores.s3_client import make_client
from coffre.vault.object_restores import read_names
from coffre.vault.vault import Vault

STORE = {"endpoint": "https://store.example", "access_key_id": "id", "secret_access_key": "hush-hush"}


@pytest.fixture
def uploads(account: Account) -> Backup:
    """A backup of buckets."""
    return account.backup(target="uploads", kind=TargetKind.BUCKET)


def playing(account: Account, status: Status = Status.COMPLETED, **storage: Any) -> list[str]:
    """Play a restore that ends like this, and note what the secret of the store held meanwhile."""
    seen: list[str] = []

    def play(function: str, event: Mapping[str, Any]) -> object:
        wanted = parse_restore(event)
        assert isinstance(wanted, StorageRestoreEvent)
        if wanted.store in account.secret_names():
            seen.append(account.secrets.get_secret_value(SecretId=wanted.store)["SecretString"])
        result = StorageResult(scope=wanted.storage, store_secret=wanted.store, **storage)
        exceptions = ("1 object could not be restored or deleted:",) if result.failed.count else ()
        report: dict[str, Any] = {
            "storage": result,
            "dry_run": wanted.dry_run,
            "destination": "photos at AWS",
            "exceptions": exceptions,
            "tables": (),
            "rows": 0,
            "phases_ms": {"objects": 900},
            "steps": ("Write 2 objects (5 bytes): not there.",) if wanted.dry_run else (),
            "plan": plan_of(event) if is_planned(event) else None,
        }
        account.restore(
            status,
            id=wanted.restore_id,
            backup_id=wanted.backup_id,
            target="uploads",
            destination="photos at AWS",
            exceptions=exceptions,
            objects=result.written,
            dry_run=wanted.dry_run,
            report=report,
        )
        return answer_to(account, report["plan"]) if report["plan"] else None

    account.play = play
    return seen


DONE: dict[str, Any] = {
    "restored": Objects(count=1200, size_bytes=3_000_000),
    "overwritten": Objects(count=1, size_bytes=5),
    "same": Objects(count=7),
    "left": Objects(count=2),
}


def test_a_prefix_is_asked_for_followed_and_reported(coffre: Coffre, account: Account, uploads: Backup) -> None:
    playing(account, **DONE, notes=("Checksums were not compared.",))

    said = coffre("restore", "objects", uploads.id, "--bucket", "photos", "--prefix", "2026/", "--to", "other/back")

    [(function, event)] = account.invoked
    assert function == "safe-restore"
    assert event == {
        "backup_id": uploads.id,
        "restore_id": event["restore_id"],
        "storage": {"bucket": "photos", "prefix": "2026/", "to": "other/back"},
    }
    assert (said.status, said.err) == (0, "")
    assert said.out == (
        "Restored uploads in photos at AWS: 1,201 objects (3.0 MB) in 2.5 s, 1 overwritten. Skipped: 7 identical, "
        "2 different (not overwritten).\n"
        "  Note: Checksums were not compared.\n"
        "Existing objects were not changed. To replace them, run this again with --mode overwrite.\n"
    )


def test_failures_are_told_with_how_to_try_them_again(coffre: Coffre, account: Account, uploads: Backup) -> None:
    playing(account, failed=Objects(count=1), failed_lists=("v1/restores/x.failed-000001.jsonl.zst",))

    said = coffre("restore", "objects", uploads.id)
    [(_, event)] = account.invoked
    assert said.status == 4
    assert "0 objects (0 B) in 2.5 s. 1 failed." in said.out
    assert "  Exception: 1 object could not be restored or deleted:\n" in said.out
    assert said.out.endswith(f"  coffre restore objects {uploads.id} --retry {event['restore_id']}\n")

    again = coffre("restore", "objects", uploads.id, "--retry", event["restore_id"], "--dry-run")
    assert again.status == 4
    assert account.invoked[1][1]["storage"] == {
        "names": ["v1/restores/x.failed-000001.jsonl.zst"],
        "dry_run": True,
    }

    other = account.backup(target="uploads", kind=TargetKind.BUCKET)
    wrong = coffre("restore", "objects", other.id, "--retry", event["restore_id"])
    assert wrong.status == 1
    assert f"The backup of that restore is {uploads.id}" in wrong.err


def test_nothing_to_try_again_is_said(coffre: Coffre, account: Account, uploads: Backup) -> None:
    playing(account)
    coffre("restore", "objects", uploads.id)

    said = coffre("restore", "objects", uploads.id, "--retry", account.invoked[0][1]["restore_id"])

    assert (said.status, len(account.invoked)) == (1, 1)
    assert "NOTHING_FAILED" in said.err


def test_scripts_get_the_whole_result(coffre: Coffre, account: Account, uploads: Backup) -> None:
    playing(account, **DONE)

    shown = coffre("restore", "objects", uploads.id, "--json").json()

    assert (shown["status"], shown["objects"]) == ("COMPLETED", 1201)
    assert shown["report"]["storage"]["left"] == {"count": 2, "size_bytes": 0}


@pytest.mark.parametrize("mode", ["overwrite", "mirror"])
def test_what_changes_objects_in_use_is_not_done_without_a_person(
    coffre: Coffre, account: Account, uploads: Backup, mode: str
) -> None:
    said = coffre("restore", "objects", uploads.id, "--mode", mode)

    assert (said.status, account.invoked) == (2, [])
    assert "add --yes, or --dry-run" in said.err


def test_a_dry_run_names_what_would_go(coffre: Coffre, account: Account, uploads: Backup) -> None:
    names = tuple(f"photos/{n}\x1b[2J" for n in range(12))
    playing(account, deleted=Objects(count=30), examples={StorageOutcome.DELETED: names})

    said = coffre("restore", "objects", uploads.id, "--mode", "mirror", "--dry-run")

    assert said.status == 0
    assert (
        "Nothing was changed in photos at AWS. This would be done:\n  Write 2 objects (5 bytes): not there.\n"
        in said.out
    )
    assert "  Delete photos/0\\x1b[2J\n" in said.out
    assert said.out.count("Delete photos/") == 10
    assert "... and 20 more" in said.out


def test_keys_come_from_options_files_and_lists_of_failures(
    coffre: Coffre, account: Account, uploads: Backup, tmp_path: Path
) -> None:
    playing(account)
    plain, failed = tmp_path / "keys.txt", tmp_path / "failed.jsonl"
    plain.write_text("b c\r\n\nä\n")
    failed.write_text(json.dumps({"name": "photos/x", "code": "STORE_DENIED"}) + "\n")

    coffre("restore", "objects", uploads.id, "--key", "a", "-k", "b c", "--keys-from", plain)
    coffre("restore", "objects", uploads.id, "--keys-from", failed)
    coffre("restore", "objects", uploads.id, "--keys-from", "-", stdin="one\n")

    scopes = [event["storage"] for _, event in account.invoked]
    assert scopes[0] == {"keys": ["a", "b c", "ä"]}
    assert scopes[2] == {"keys": ["one"]}
    [listed] = scopes[1]["names"]
    assert listed == f"v1/restores/{account.invoked[1][1]['restore_id']}.names-000001.jsonl.zst"
    vault = Vault(S3Store(BUCKET, client=make_client()))
    assert list(read_names(vault, [listed])) == ["photos/x"]


def test_another_store_lives_in_a_secret_while_it_is_followed(
    coffre: Coffre, account: Account, uploads: Backup, tmp_path: Path
) -> None:
    seen = playing(account)
    file = tmp_path / "store.json"
    file.write_text(json.dumps(STORE))

    said = coffre("restore", "objects", uploads.id, "--store", file, "--to", "copies")

    assert said.status == 0
    assert [json.loads(text) for text in seen] == [STORE]
    assert account.secret_names() == []
    assert account.invoked[0][1]["store"] == f"coffre/destination/{account.invoked[0][1]['restore_id']}"

    assert coffre("restore", "objects", uploads.id, "--store", "coffre/storage/r2", "--to", "copies").status == 0
    assert account.invoked[1][1]["store"] == "coffre/storage/r2"


@pytest.mark.parametrize(
    ("contents", "why"),
    [("hush-hush", "not a JSON object"), (json.dumps({**STORE, "key": "hush-hush"}), "unknown field")],
)
def test_what_is_no_store_is_refused_and_not_repeated(
    coffre: Coffre, account: Account, uploads: Backup, tmp_path: Path, contents: str, why: str
) -> None:
    file = tmp_path / "store.json"
    file.write_text(contents)

    said = coffre("restore", "objects", uploads.id, "--store", file)
    missing = coffre("restore", "objects", uploads.id, "--store", tmp_path / "none.json")

    assert (said.status, missing.status, account.invoked) == (1, 1, [])
    assert why in said.err
    assert "hush" not in said.err
    assert "does not describe a store" in missing.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--key", "a", "--prefix", "b"), "--key and --prefix exclude each other"),
        (("--key", "a", "--mode", "mirror"), "--mode mirror is for whole buckets or prefixes"),
        (("--keys-from", "f", "--prefix", "b"), "--keys-from and --prefix exclude each other"),
        (("--retry", "01K9X000000000000000000000", "--to", "b"), "leave --to out"),
        (("--to", "/photos"), "to: String should match pattern"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    coffre: Coffre, account: Account, uploads: Backup, arguments: tuple[str, ...], words: str
) -> None:
    said = coffre("restore", "objects", uploads.id, *arguments)

    assert (said.status, account.invoked) == (2, [])
    assert words in " ".join(said.err.split())


def test_a_backup_of_the_other_kind_is_answered_with_the_command_for_it(
    coffre: Coffre, account: Account, uploads: Backup
) -> None:
    backup = account.backup()

    objects = coffre("restore", "objects", backup.id)
    tables = coffre("restore", "tables", uploads.id, "orders")

    assert (objects.status, tables.status, account.invoked) == (2, 2, [])
    assert f"{backup.id} is a backup of a database: coffre restore database {backup.id}" in " ".join(
        objects.err.split()
    )
    assert f"{uploads.id} is a backup of buckets: coffre restore objects {uploads.id}" in " ".join(tables.err.split())


def test_a_shown_restore_says_what_became_of_objects(coffre: Coffre, account: Account, uploads: Backup) -> None:
    playing(account, overwritten=Objects(count=1), examples={StorageOutcome.OVERWRITTEN: ("photos/a",)})
    coffre("restore", "objects", uploads.id, "--mode", "overwrite", "--yes")

    said = coffre("show", account.invoked[-1][1]["restore_id"])

    assert said.status == 0
    assert "  Overwrite photos/a\n" in said.out
    assert "tables" not in said.out
