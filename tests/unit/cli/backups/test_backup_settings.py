"""`coffre backup settings`: files are encrypted on this machine, and only then handed in."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import boto3
import pytest
from tests.unit.cli.conftest import Account, Coffre

from coffre.model.backup import Tier
from coffre.model.kinds import TargetKind
from coffre.model.setting import Sealed, SettingFacts, wrapped
from coffre.vault.codec import FrameDecoder, new_identity, public_key
from coffre.vault.sealed_settings import open_setting
from coffre_cli.commands.backups.backup_settings import MOST_BYTES

IDENTITY: Final = new_identity()
CANARY: Final = "c4n4ry"
DOTENV: Final = f"\ufeffA=\"{CANARY}\"\r\nB='x\ny'\r\n".encode()


@pytest.fixture
def account(account: Account) -> Account:
    configure(account, "settings")
    account.play = lambda function, event: (
        account.backup(
            id=event["backup_id"], target=event["target"], kind=TargetKind.BUCKET, tiers=(Tier.MANUAL,), objects=3
        )
        and None
    )
    return account


def configure(account: Account, *names: str, **changes: Any) -> None:
    document = {
        "encryption": "age",
        "recipients": [public_key(IDENTITY)],
        "targets": [{"name": "shop", "secret": "coffre/database/shop"}]
        + [{"name": name, "kind": "settings"} for name in names],
        **changes,
    }
    boto3.client("ssm").put_parameter(Name="configuration", Value=json.dumps(document), Type="String", Overwrite=True)
    assert account.invoked == []


def value_in(file: Mapping[str, Any]) -> bytes:
    """Return what a file of an event holds, as a restore reads it."""
    stored = wrapped(b64decode(file["content"]), SettingFacts(sealed=Sealed(**file["sealed"])))
    return open_setting(stored, FrameDecoder([IDENTITY])).value


def test_files_are_handed_in_encrypted_and_exactly(coffre: Coffre, account: Account, tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(DOTENV)
    (tmp_path / "store.kdbx").write_bytes(bytes(range(256)))

    said = coffre(
        "backup", "settings", "--file", tmp_path / ".env", "--name", "web/.env",
        "--file", tmp_path / "store.kdbx", "--name", "store.kdbx",
    )  # fmt: skip

    [(function, event)] = account.invoked
    assert (said.status, function, event["target"]) == (0, "safe-backup-storage", "settings")
    assert {name: value_in(file) for name, file in event["files"].items()} == {
        "web/.env": DOTENV,
        "store.kdbx": bytes(range(256)),
    }
    assert CANARY not in json.dumps(event) + said.out + said.err
    assert b"age-encryption.org" in b64decode(event["files"]["web/.env"]["content"])


def test_a_file_has_its_own_name_and_can_come_from_stdin(
    coffre: Coffre, account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_bytes(b"A=1")
    assert coffre("backup", "settings", "--file", tmp_path / ".env").status == 0
    assert coffre("backup", "settings", "--file", "-", "--name", "piped", stdin=DOTENV.decode()).status == 0

    assert [{name: value_in(file) for name, file in event["files"].items()} for _, event in account.invoked] == [
        {".env": b"A=1"},
        {"piped": DOTENV},
    ]


def test_a_file_can_be_forgotten(coffre: Coffre, account: Account) -> None:
    assert coffre("backup", "settings", "--forget", "web/.env").status == 0

    [(_, event)] = account.invoked
    assert (event["forget"], "files" in event) == (["web/.env"], False)


def test_without_files_every_target_of_settings_is_backed_up(coffre: Coffre, account: Account) -> None:
    configure(account, "one", "two")

    assert coffre("backup", "settings").status == 0
    assert [(event["target"], "files" in event) for _, event in account.invoked] == [("one", False), ("two", False)]


REFUSED: Final[tuple[tuple[tuple[str, ...], str], ...]] = (
    (("--file", "absent"), "cannot be read"),
    (("--file", "-"), "needs a name"),
    (("--file", "a", "--name", "x", "--name", "y"), "one --name for each --file"),
    (("--file", "a", "--name", "../x"), "is no name for it"),
    (("--file", "a", "--name", "/x"), "is no name for it"),
    (("--file", "a", "--name", "x\ny"), "is no name for it"),
    (("--file", "a", "--file", "a"), "several files are named a"),
    (("--file", "large"), "too large"),
    (("shop",), "no settings target"),
    (("settings", "--target", "other"), "different targets"),
)


def test_what_cannot_be_handed_in_starts_nothing(
    coffre: Coffre, account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a").write_bytes(b"A=1")
    Path("large").write_bytes(bytes(MOST_BYTES + 1))

    for arguments, why in REFUSED:
        said = coffre("backup", "settings", *arguments)
        assert said.status in (1, 2), arguments
        assert why in " ".join(said.err.split()), arguments
    assert account.invoked == []


def test_with_several_targets_files_need_one(coffre: Coffre, account: Account, tmp_path: Path) -> None:
    configure(account, "one", "two")
    (tmp_path / "a").write_bytes(b"A=1")

    assert "Name one of them" in coffre("backup", "settings", "--file", tmp_path / "a").err
    assert account.invoked == []
    assert coffre("backup", "settings", "--file", tmp_path / "a", "--target", "two").status == 0
    assert account.invoked[0][1]["target"] == "two"


def test_without_a_target_of_settings_it_says_how_to_add_one(coffre: Coffre, account: Account) -> None:
    configure(account)

    said = coffre("backup", "settings")
    assert said.status == 1
    assert "docs/settings.md" in said.err
