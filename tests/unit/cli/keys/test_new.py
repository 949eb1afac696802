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
