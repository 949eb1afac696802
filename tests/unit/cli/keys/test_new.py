"""`coffre keys new`: where the private key goes, and that no key is ever lost to another."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.unit.cli.conftest import Account, Coffre

from coffre.vault.codec import parse_identities, public_key

IDENTITY = re.compile(r"AGE-SECRET-KEY-1[0-9A-Z]{58}")


def test_a_key_pair_is_made_and_the_private_key_stored(coffre: Coffre, account: Account) -> None:
    said = coffre("keys", "new")

    stored = account.secrets.get_secret_value(SecretId="coffre/identity/main")["SecretString"]
    assert said.status == 0
    assert [stored] == IDENTITY.findall(said.out)
    assert f"  {public_key(stored)}\n" in said.out
    assert "It is stored in the secret coffre/identity/main of your AWS account for the functions" in said.out


def test_scripts_get_both_keys(coffre: Coffre, account: Account) -> None:
    shown = coffre("keys", "new", "--json").json()

    assert set(shown) == {"recipient", "identity", "stored_in"}
    assert public_key(shown["identity"]) == shown["recipient"]


def test_a_key_is_never_overwritten(coffre: Coffre, account: Account) -> None:
    coffre("keys", "new")
    before = account.secrets.get_secret_value(SecretId="coffre/identity/main")["SecretString"]

    said = coffre("keys", "new")

    assert (said.status, said.out) == (1, "")
    assert "[IDENTITY_EXISTS]" in said.err
    assert "What to do: It is never overwritten." in said.err
    assert account.secrets.get_secret_value(SecretId="coffre/identity/main")["SecretString"] == before
    assert not IDENTITY.search(said.err)


def test_a_second_key_has_another_name_and_the_template_is_told(coffre: Coffre, account: Account) -> None:
    coffre("keys", "new")

    said = coffre("keys", "new", "--secret", "coffre/identity/second")

    assert said.status == 0
    assert "parameter IdentitySecret = coffre/identity/second" in said.out
    assert account.secret_names() == ["coffre/identity/main", "coffre/identity/second"]


def test_a_name_that_the_restore_function_may_not_read_is_refused(coffre: Coffre, account: Account) -> None:
    said = coffre("keys", "new", "--secret", "mine")

    assert (said.status, account.secret_names()) == (1, [])
    assert "What to do: For example: --secret coffre/identity/second" in said.err


def test_a_file_is_readable_by_its_owner_alone_and_says_how_it_gets_to_the_function(
    coffre: Coffre, tmp_path: Path
) -> None:
    file = tmp_path / "identity.txt"

    said = coffre("keys", "new", "--file", file)

    [identity] = parse_identities(file.read_text())
    assert said.status == 0
    assert oct(file.stat().st_mode & 0o777) == "0o600"
    assert file.read_text().startswith(f"# public key: {public_key(identity)}\n")
    assert f"--name coffre/identity/main --secret-string file://{file}" in said.out


def test_a_file_is_never_overwritten(coffre: Coffre, tmp_path: Path) -> None:
    file = tmp_path / "identity.txt"
    file.write_text("the only key")

    said = coffre("keys", "new", "--file", file, "--json")

    assert (said.status, said.out, file.read_text()) == (1, "", "the only key")
    assert "File exists. [IDENTITY_NOT_STORED]" in said.err


def test_a_file_in_no_directory_is_refused(coffre: Coffre, tmp_path: Path) -> None:
    said = coffre("keys", "new", "--file", tmp_path / "missing" / "identity.txt")

    assert (said.status, said.out) == (1, "")
    assert "No such file or directory" in said.err


@pytest.mark.parametrize("missing", ["AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID"])
def test_without_region_or_credentials_the_error_says_what_to_set(
    coffre: Coffre, monkeypatch: pytest.MonkeyPatch, missing: str, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.delenv(missing)

    said = coffre("keys", "new")

    assert (said.status, said.out) == (1, "")
    assert said.err.startswith("Error: ")
    assert "What to do: Check" in said.err


def test_a_second_pair_is_written_to_a_file_alone(coffre: Coffre, account: Account, tmp_path: Path) -> None:
    file = tmp_path / "offline.txt"

    said = coffre("keys", "new", "--offline", file)

    [spare] = parse_identities(file.read_text())
    stored = account.secrets.get_secret_value(SecretId="coffre/identity/main")["SecretString"]
    assert said.status == 0
    assert oct(file.stat().st_mode & 0o777) == "0o600"
    assert IDENTITY.findall(said.out) == [stored], "the offline key is in its file alone"
    assert f"  {public_key(stored)},{public_key(spare)}\n" in said.out
    assert "This is the only key." not in said.out


def test_scripts_get_the_public_key_of_the_second_pair(coffre: Coffre, account: Account, tmp_path: Path) -> None:
    file = tmp_path / "offline.txt"

    shown = coffre("keys", "new", "--offline", file, "--json").json()

    [spare] = parse_identities(file.read_text())
    assert shown["offline"] == {"recipient": public_key(spare), "stored_in": str(file)}
    assert spare not in str(shown)


def test_one_key_alone_is_advised_against(coffre: Coffre, account: Account) -> None:
    said = coffre("keys", "new")

    assert "This is the only key. A second one that is never in AWS is advised" in said.out


def test_when_the_secret_exists_no_second_key_is_left_behind(coffre: Coffre, account: Account, tmp_path: Path) -> None:
    coffre("keys", "new")

    said = coffre("keys", "new", "--offline", tmp_path / "offline.txt")

    assert (said.status, said.out) == (1, "")
    assert not (tmp_path / "offline.txt").exists()


def test_an_existing_file_of_a_second_key_stays_and_nothing_is_created(
    coffre: Coffre, account: Account, tmp_path: Path
) -> None:
    (tmp_path / "offline.txt").write_text("the only key")

    said = coffre("keys", "new", "--offline", tmp_path / "offline.txt")

    assert (said.status, account.secret_names()) == (1, [])
    assert (tmp_path / "offline.txt").read_text() == "the only key"


def test_the_key_of_one_target_is_stored_below_that_of_all(coffre: Coffre, account: Account) -> None:
    said = coffre("keys", "new", "--target", "shop")

    assert said.status == 0
    assert account.secret_names() == ["coffre/identity/main/shop"]
    assert 'Public key (`recipients` of the target "shop"; not secret):' in said.out
    assert "IdentitySecret" not in said.out


@pytest.mark.parametrize("name", ["Shop", "../x", "a/b", "", "-a"])
def test_a_name_that_no_target_can_have_is_refused(coffre: Coffre, account: Account, name: str) -> None:
    said = coffre("keys", "new", "--target", name)

    assert said.status == 2
    assert account.secret_names() == []
