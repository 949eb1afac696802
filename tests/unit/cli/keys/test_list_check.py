"""`coffre keys list` and `check`: which backups need which key, and that the keys are tried for real."""

from __future__ import annotations

import boto3
import pytest
from tests.unit.cli.conftest import BUCKET, REGION, Coffre
from tests.unit.cli.keys.conftest import MAIN, START, Keys, Pair
from tests.unit.cli.keys.sealed import sealed

from coffre.catalog.audit import Audit
from coffre.model.errors import CatalogError
from coffre.model.server import SeenDatabase
from coffre.operations.doctor.history import keys_opened
from coffre.operations.stored_backup.backup_in_copy import completed_copy


def test_each_key_says_which_backups_need_it_and_where_its_private_key_is(coffre: Coffre, keys: Keys) -> None:
    old = Pair()
    keys.back_up(old)
    keys.back_up(old, keys.main)
    keys.back_up(keys.main, keys.offline)

    shown = coffre("keys", "list", "--json").json()

    by_key = {one["recipient"]: one for one in shown["keys"]}
    assert list(by_key)[:2] == [keys.main.recipient, keys.offline.recipient]
    assert by_key[old.recipient]["backups"]["shop"] == {
        "backups": 2,
        "alone": 1,
        "oldest": "2026-09-01 03:00:00+00:00",
        "newest": "2026-09-02 03:00:00+00:00",
    }
    assert by_key[old.recipient]["new_backups_of"] == by_key[old.recipient]["private_key"] == []
    assert by_key[keys.main.recipient]["private_key"] == [f"the secret {MAIN}"]
    assert by_key[keys.main.recipient]["new_backups_of"] == ["shop"]
    assert by_key[keys.main.recipient]["since"].startswith("2026-09-02")
    assert by_key[keys.offline.recipient]["private_key"] == []
    assert shown["notes"] == []


def test_the_list_is_readable_and_shows_no_private_key(coffre: Coffre, keys: Keys) -> None:
    keys.back_up(keys.main, keys.offline)

    said = coffre("keys", "list", "--identity", keys.file(keys.offline))

    assert said.status == 0
    assert f"private key: the secret {MAIN}" in said.out
    assert "private key: the file " in said.out
    assert "shop: 1 backup, 2026-09-01 to 2026-09-01\n" in said.out
    assert "AGE-SECRET-KEY" not in said.out + said.err


def test_one_key_alone_is_a_note_and_no_error(coffre: Coffre, keys: Keys) -> None:
    keys.configure(keys.main)
    keys.back_up(keys.main)

    for command in ("list", "check"):
        said = coffre("keys", command)
        assert said.status == 0
        assert "New backups of shop have one key alone." in said.out
    assert len(coffre("keys", "check", "--json").json()["notes"]) == 1


@pytest.mark.parametrize("has_backups", [True, False])
def test_a_replaced_key_stays_until_no_backup_needs_it(coffre: Coffre, keys: Keys, has_backups: bool) -> None:
    old = Pair()
    backup = keys.back_up(old)
    keys.account.secrets.put_secret_value(SecretId=MAIN, SecretString=f"{old.identity}\n{keys.main.identity}\n")
    if not has_backups:
        seen = keys.account.catalog.get_backup(backup.id)
        keys.account.catalog.keeping.delete(seen, "retention", seen.created_at)

    [note] = coffre("keys", "list", "--json").json()["notes"]

    assert ("keep its private key as long as its backups exist" in note) is has_backups
    assert ("No backup needs" in note) is not has_backups


def test_a_key_of_other_targets_is_not_called_unneeded(coffre: Coffre, keys: Keys) -> None:
    own = Pair()
    keys.configure(keys.main, keys.offline, files=[own])
    keys.store(own.identity, f"{MAIN}/files")
    keys.back_up(keys.main, keys.offline)
    keys.back_up(own, target="files")

    shown = coffre("keys", "list", "--target", "files", "--json").json()

    assert [one["recipient"] for one in shown["keys"]] == [own.recipient]
    assert not [note for note in shown["notes"] if keys.main.recipient[:12] in note]


def test_a_key_is_kept_as_long_as_a_copy_needs_it(coffre: Coffre, keys: Keys) -> None:
    old = Pair()
    keys.account.secrets.put_secret_value(SecretId=MAIN, SecretString=f"{old.identity}\n{keys.main.identity}\n")
    store = {"type": "s3", "bucket": BUCKET, "region": REGION}  # it does not matter where the copy is
    keys.configure(keys.main, keys.offline, copies=[{"name": "offsite", "store": store}])
    backup = keys.back_up(old)
    keys.account.catalog.copies.keep(completed_copy("offsite", backup, backup.created_at))
    keys.account.catalog.keeping.delete(keys.account.catalog.get_backup(backup.id), "retention", backup.created_at)

    [note] = coffre("keys", "list", "--json").json()["notes"]
    assert "opens backups that the vault has no more (1 in the copy offsite): keep its private key" in note

    boto3.client("s3").delete_object(Bucket=BUCKET, Key=backup.manifest_key or "")
    [note] = coffre("keys", "list", "--json").json()["notes"]
    assert "is not known: manifests cannot be read (1 in the copy offsite). Keep it." in note


def test_a_key_is_kept_while_a_manifest_cannot_be_read(coffre: Coffre, keys: Keys) -> None:
    old = Pair()
    keys.account.secrets.put_secret_value(SecretId=MAIN, SecretString=f"{old.identity}\n{keys.main.identity}\n")
    backup = keys.back_up(old)
    boto3.client("s3").put_object(Bucket=BUCKET, Key=backup.manifest_key or "", Body=b"{}")

    [note] = coffre("keys", "list", "--json").json()["notes"]

    assert "is not known: manifests cannot be read (1 in the vault). Keep it." in note


def test_each_private_key_opens_the_newest_backup_of_each_target(coffre: Coffre, keys: Keys) -> None:
    shops = Pair()
    keys.configure(keys.main, keys.offline, files=[shops])
    keys.store(shops.identity, f"{MAIN}/files")
    keys.back_up(keys.main)
    newest = keys.back_up(keys.main, keys.offline)
    keys.back_up(shops, target="files")

    said = coffre("keys", "check", "--identity", keys.file(keys.offline), "--json")

    assert said.status == 0
    found = {(one["target"], one["recipient"]): one for one in said.json()["checks"]}
    assert {key: one["opens"] for key, one in found.items()} == {
        ("shop", keys.main.recipient): True,
        ("shop", keys.offline.recipient): True,
        ("files", shops.recipient): True,
    }
    assert found["shop", keys.main.recipient]["backup_id"] == newest.id
    assert found["files", shops.recipient]["private_key"] == f"the secret {MAIN}/files"
    assert "AGE-SECRET-KEY" not in said.out + said.err


def test_keys_that_opened_a_backup_are_recorded_once_each_and_others_are_not(coffre: Coffre, keys: Keys) -> None:
    lost = Pair()
    keys.back_up(keys.main, keys.offline, lost)

    coffre("keys", "check", "--identity", keys.file(keys.offline))

    events = [one for one in keys.account.catalog.audit.events() if one.action == "key.opened"]
    assert {one.subject for one in events} == {keys.main.recipient, keys.offline.recipient}
    assert len(events) == 2
    assert all(one.actor.startswith("arn:aws:sts:") for one in events)
    assert keys_opened(events).keys() == {keys.main.recipient, keys.offline.recipient}


def test_keys_are_checked_although_that_cannot_be_recorded(
    coffre: Coffre, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(*_: object) -> None:
        raise CatalogError("The table refused the request.")

    keys.back_up(keys.main)
    monkeypatch.setattr(Audit, "record", deny)

    said = coffre("keys", "check", "--json")

    assert (said.status, said.json()["checks"][0]["opens"]) == (0, True)
    assert "That the keys were tried could not be recorded (CATALOG_UNAVAILABLE)" in said.err


def test_the_keys_of_a_server_are_found_when_it_is_no_longer_configured(coffre: Coffre, keys: Keys) -> None:
    servers = Pair()
    keys.store(servers.identity, f"{MAIN}/srv")
    keys.account.catalog.servers.add(SeenDatabase("srv-a", "srv", "a", START))
    keys.back_up(servers, target="srv-a")

    said = coffre("keys", "check", "--target", "srv-a", "--json")

    assert said.status == 0
    assert said.json()["checks"][0]["private_key"] == f"the secret {MAIN}/srv"


def test_a_backup_that_no_known_key_opens_fails_the_check(coffre: Coffre, keys: Keys) -> None:
    keys.back_up(keys.offline)

    said = coffre("keys", "check")

    assert said.status == 1
    assert "No private key that is known here opens the newest backup of shop." in said.out
    assert "opens none of the newest backups" in said.out
    assert coffre("keys", "check", "--identity", keys.file(keys.offline)).status == 0


def test_the_bytes_are_decrypted_for_real(coffre: Coffre, keys: Keys) -> None:
    backup = keys.back_up(keys.main)
    assert coffre("keys", "check").status == 0
    s3 = boto3.client("s3")
    [pack] = s3.list_objects_v2(Bucket=BUCKET, Prefix=f"v1/packs/{backup.id}/")["Contents"]
    body = bytearray(s3.get_object(Bucket=BUCKET, Key=pack["Key"])["Body"].read())
    body[-1] ^= 1
    s3.put_object(Bucket=BUCKET, Key=pack["Key"], Body=bytes(body))

    said = coffre("keys", "check")

    assert said.status == 1
    assert "FRAME_DAMAGED" in said.out


def test_a_target_without_a_backup_and_one_without_encryption_are_no_failure(coffre: Coffre, keys: Keys) -> None:
    assert [one["result"] for one in coffre("keys", "check", "--json").json()["checks"]] == ["it has no backup yet"]
    keys.back_up()
    said = coffre("keys", "check", "--json")
    assert (said.status, said.json()["checks"][0]["result"]) == (0, "it is not encrypted")


def test_a_secret_can_be_named_and_one_that_does_not_exist_is_an_error(coffre: Coffre, keys: Keys) -> None:
    keys.back_up(keys.offline)
    keys.store(keys.offline.identity, "coffre/identity/spare")

    assert coffre("keys", "check", "--identity", "coffre/identity/spare").status == 0
    said = coffre("keys", "check", "--identity", "coffre/identity/other")
    assert (said.status, said.out) == (1, "")
    assert "The secret coffre/identity/other does not exist" in said.err


def test_an_encrypted_file_is_opened_with_its_passphrase(
    coffre: Coffre, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys.back_up(keys.offline)
    file = keys.scratch / "identity.age"
    file.write_bytes(sealed(keys.offline.identity.encode(), "five random words here"))
    monkeypatch.setattr("typer.prompt", lambda *_, **__: "five random words here")
    assert coffre("keys", "check", "--identity", file).status == 0

    monkeypatch.setattr("typer.prompt", lambda *_, **__: "something else")
    said = coffre("keys", "check", "--identity", file)
    assert (said.status, said.out) == (1, "")
    assert "[PASSPHRASE_WRONG]" in said.err


def test_a_vault_alone_is_enough(coffre: Coffre, keys: Keys) -> None:
    keys.back_up(keys.main, keys.offline)
    place = ["--vault", f"s3://{BUCKET}", "--identity", keys.file(keys.offline)]

    assert [one["opens"] for one in coffre(*place, "keys", "check", "--json").json()["checks"]] == [None, True]
    assert coffre(*place, "keys", "list").status == 0
    for command in ("new", "rotate"):
        said = coffre(*place, "keys", command)
        assert said.status == 2
        assert "needs a stack" in said.err.replace("\n", " ")
