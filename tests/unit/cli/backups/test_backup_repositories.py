"""`coffre backup repositories`, and what `coffre restore repositories` refuses before it reads anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import boto3
import pytest
from tests.unit.cli.conftest import RECIPIENT, Account, Coffre

from coffre.model.backup import Tier
from coffre.model.kinds import TargetKind

URL: Final = "https://github.com/acme/web.git"


def configure(account: Account, *names: str) -> None:
    document = {
        "encryption": "age",
        "recipients": [RECIPIENT],
        "targets": [{"name": "shop", "secret": "coffre/database/shop"}]
        + [{"name": name, "kind": "repository", "repositories": [{"url": URL}]} for name in names],
    }
    boto3.client("ssm").put_parameter(Name="configuration", Value=json.dumps(document), Type="String", Overwrite=True)
    account.play = lambda function, event: (
        account.backup(
            id=event["backup_id"], target=event["target"], kind=TargetKind.REPOSITORY, tiers=(Tier.MANUAL,), objects=12
        )
        and None
    )


def test_every_target_is_started_and_reported(coffre: Coffre, account: Account) -> None:
    configure(account, "code", "tools")

    said = coffre("backup", "repositories", "--full")

    assert [(function, event["target"], event["full"]) for function, event in account.invoked] == [
        ("safe-backup-storage", "code", True),
        ("safe-backup-storage", "tools", True),
    ]
    assert said.status == 0
    assert "Backed up code: 12 refs, bundles and LFS objects" in said.out
    assert f"coffre restore repositories {account.invoked[0][1]['backup_id']} --dry-run" in said.out


def test_without_a_target_the_way_to_one_is_shown(coffre: Coffre, account: Account) -> None:
    configure(account)

    said = coffre("backup", "repositories")

    assert (said.status, account.invoked) == (1, [])
    assert "docs/repositories.md" in said.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("", "say where to: --output DIR, or --to URL"),
        ("--output a --to https://github.com/a/b", "exclude each other"),
        ("--output a --token-env X", "--token-env goes with --to"),
        ("--to https://github.com/a/b --token-env NOT_SET", "the variable NOT_SET is empty"),
        ("--to https://t0ken@github.com/a/b", "should contain no login"),
        ("--to file:///srv/a", "should begin with https:// or ssh://"),
        ("--to ssh://git@github.com/a/b", "a push needs an https:// address"),
        ("--output {tmp}", "is not empty"),
    ],
)
def test_wrong_options_are_refused(coffre: Coffre, account: Account, tmp_path: Path, options: str, words: str) -> None:
    configure(account, "code")
    (tmp_path / "file").touch()

    said = coffre("restore", "repositories", "latest", *options.format(tmp=tmp_path).split())

    assert (said.status, said.out, account.invoked) == (2, "", [])
    assert words in said.err
    assert "t0ken" not in said.err


def test_another_kind_of_backup_is_restored_by_its_own_command(coffre: Coffre, account: Account) -> None:
    configure(account, "code")
    backup = account.backup()

    said = coffre("restore", "repositories", backup.id, "--dry-run")

    assert said.status == 2
    assert f"coffre restore database {backup.id}" in said.err
