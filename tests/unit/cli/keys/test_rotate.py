"""`coffre keys rotate`: a new key for new backups, and no private key is ever lost."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.unit.cli.conftest import Coffre
from tests.unit.cli.keys.conftest import MAIN, Keys, Pair

from coffre.model.errors import EncryptionError
from coffre.model.server import SeenDatabase
from coffre.vault.codec import parse_identities, public_key
from coffre_cli.commands.keys import secrets


def test_a_new_key_replaces_the_one_in_the_secret_and_the_offline_one_stays(coffre: Coffre, keys: Keys) -> None:
    said = coffre("keys", "rotate")

    old, new = parse_identities(keys.stored())
    assert said.status == 0
    assert old == keys.main.identity
    assert f"AgeRecipients={public_key(new)},{keys.offline.recipient}" in said.out
    assert f'"recipients": ["{public_key(new)}", "{keys.offline.recipient}"]' in said.out
    assert "AGE-SECRET-KEY" not in said.out + said.err
    [event] = keys.account.catalog.audit.events()
    assert (event.action, event.subject) == ("key.rotated", public_key(new))


def test_a_dry_run_changes_nothing(coffre: Coffre, keys: Keys) -> None:
    said = coffre("keys", "rotate", "--dry-run")

    assert said.status == 0
    assert "Nothing was changed." in said.out
    assert keys.stored() == keys.main.identity
    assert list(keys.account.catalog.audit.events()) == []
    shown = coffre("keys", "rotate", "--dry-run", "--json").json()
    assert (shown["replaced"], shown["kept"]) == ([keys.main.recipient], [keys.offline.recipient])


def test_until_it_is_deployed_the_same_key_is_printed_again(coffre: Coffre, keys: Keys) -> None:
    first = coffre("keys", "rotate", "--json").json()
    again = coffre("keys", "rotate", "--json").json()

    assert (first["is_new"], again["is_new"]) == (True, False)
    assert again["recipient"] == first["recipient"]
    assert len(parse_identities(keys.stored())) == 2

    # Once it is deployed, a rotation creates the next one, and replaces it.
    new = Pair(parse_identities(keys.stored())[1])
    keys.configure(new, keys.offline)
    third = coffre("keys", "rotate", "--json").json()
    assert third["replaced"] == [new.recipient]
    assert parse_identities(keys.stored())[:2] == (keys.main.identity, new.identity)


def test_a_replaced_key_does_not_come_back_after_the_catalog_was_lost(coffre: Coffre, keys: Keys) -> None:
    leaked = Pair()
    keys.account.secrets.put_secret_value(SecretId=MAIN, SecretString=f"{leaked.identity}\n{keys.main.identity}\n")

    shown = coffre("keys", "rotate", "--json").json()

    assert shown["is_new"]
    assert shown["recipient"] not in (leaked.recipient, keys.main.recipient)


def test_the_offline_key_is_replaced_when_a_file_for_it_is_named(coffre: Coffre, keys: Keys) -> None:
    file = keys.scratch / "offline-new.txt"

    shown = coffre("keys", "rotate", "--offline", file, "--json").json()

    [spare] = parse_identities(file.read_text())
    assert shown["recipients"] == [shown["recipient"], public_key(spare)]
    assert shown["replaced"] == [keys.main.recipient, keys.offline.recipient]
    assert spare not in keys.stored()


def test_a_target_with_keys_of_its_own_is_rotated_alone(coffre: Coffre, keys: Keys) -> None:
    own, spare = Pair(), Pair()
    keys.configure(keys.main, files=[own, spare])
    keys.store(own.identity, f"{MAIN}/files")

    said = coffre("keys", "rotate", "--target", "files")

    old, new = parse_identities(keys.stored(f"{MAIN}/files"))
    assert said.status == 0
    assert old == own.identity
    assert f'"recipients": ["{public_key(new)}", "{spare.recipient}"]' in said.out
    assert "AgeRecipients" not in said.out
    assert keys.stored() == keys.main.identity


def test_a_database_of_a_server_has_the_keys_of_its_server(coffre: Coffre, keys: Keys) -> None:
    keys.account.configure_server("srv")
    keys.account.catalog.servers.add(SeenDatabase("srv-a", "srv", "a", datetime.now(UTC)))

    said = coffre("keys", "rotate", "--target", "srv-a")

    assert said.status == 1
    assert '"srv-a" is a database of the server "srv", whose keys it has.' in said.err
    assert "What to do: coffre keys rotate --target srv\n" in said.err
    assert keys.stored() == keys.main.identity


def test_what_cannot_be_rotated_is_refused_and_changes_nothing(coffre: Coffre, keys: Keys) -> None:
    said = coffre("keys", "rotate", "--target", "shop")
    assert (said.status, said.out) == (1, "")
    assert '"shop" has no keys of its own' in said.err

    keys.configure(keys.offline)
    said = coffre("keys", "rotate")
    assert "has the private key of none of these recipients" in said.err

    keys.configure(encryption="none")
    assert "[ENCRYPTION_OFF]" in coffre("keys", "rotate").err
    assert keys.stored() == keys.main.identity
    assert list(keys.account.catalog.audit.events()) == []


def test_of_two_commands_at_the_same_moment_one_fails_and_no_key_is_lost(
    coffre: Coffre, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Pair()
    read = secrets.find

    def find_and_be_overtaken(client: Any, name: str) -> Any:
        found = read(client, name)
        monkeypatch.setattr("coffre_cli.commands.keys.rotate.find", read)
        keys.account.secrets.put_secret_value(SecretId=MAIN, SecretString=f"{keys.main.identity}\n{other.identity}\n")
        return found

    monkeypatch.setattr("coffre_cli.commands.keys.rotate.find", find_and_be_overtaken)
    offline = keys.scratch / "spare.txt"
    said = coffre("keys", "rotate", "--offline", offline)

    assert (said.status, said.out) == (1, "")
    assert "[IDENTITY_NOT_STORED]" in said.err
    assert parse_identities(keys.stored()) == (keys.main.identity, other.identity)
    assert not offline.exists()
    results = [(event.action, event.result) for event in keys.account.catalog.audit.events()]
    assert sorted(results) == [("key.rotated", "done"), ("key.rotated", "failed")]


def test_a_rotation_that_cannot_be_audited_does_not_happen(
    coffre: Coffre, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise EncryptionError("The catalog does not answer.", code="CATALOG_DOWN")

    monkeypatch.setattr("coffre.catalog.audit.Audit.record", refuse)
    said = coffre("keys", "rotate")

    assert (said.status, keys.stored()) == (1, keys.main.identity)
    assert "CATALOG_DOWN" in said.err


def test_comments_and_the_order_of_the_secret_stay(coffre: Coffre, keys: Keys) -> None:
    text = f"# the first\n{keys.main.identity}"
    keys.account.secrets.put_secret_value(SecretId=MAIN, SecretString=text)

    new = coffre("keys", "rotate", "--json").json()["recipient"]

    lines = keys.stored().splitlines()
    assert lines[:2] == text.splitlines()
    assert lines[2].startswith("# added ")
    assert lines[2].endswith(new)
    assert json.dumps(lines[3]).startswith('"AGE-SECRET-KEY-1')
