"""Keys in a played account, and real backups that are encrypted to them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
import pytest
from tests.synthetic import Writer
from tests.unit.cli.conftest import BUCKET, OUTPUTS, REGION, Account

from coffre.model.backup import Backup
from coffre.stores.s3 import S3Store
from coffre.stores.s3_client import make_client
from coffre.vault.codec import new_identity, public_key
from coffre.vault.vault import Vault
from coffre_cli import stack_choice

MAIN = "coffre/identity/main"
START = datetime(2026, 9, 1, 3, tzinfo=UTC)


@dataclass(frozen=True)
class Pair:
    """A key pair."""

    identity: str = field(default_factory=new_identity)

    @property
    def recipient(self) -> str:
        return public_key(self.identity)


@dataclass
class Keys:
    """The account's keys and backups."""

    account: Account
    scratch: Path
    main: Pair = field(default_factory=Pair)
    offline: Pair = field(default_factory=Pair)
    days: Iterator[int] = field(default_factory=lambda: iter(range(1000)))

    def configure(
        self, *recipients: Pair, encryption: str = "age", copies: Sequence[Any] = (), **own: list[Pair]
    ) -> None:
        """Write the configuration document; `own` are the keys of targets (`shop` without any is always there)."""
        names = {"shop": [], **own}
        targets = [
            {"name": name, "secret": f"coffre/database/{name}", "recipients": [key.recipient for key in keys]}
            for name, keys in names.items()
        ]
        document = {
            "encryption": encryption,
            "recipients": [one.recipient for one in recipients],
            "targets": targets,
            "copies": list(copies),
        }
        boto3.client("ssm").put_parameter(
            Name="configuration", Value=json.dumps(document), Type="String", Overwrite=True
        )

    def store(self, text: str, name: str = MAIN) -> None:
        """Write a secret."""
        self.account.secrets.create_secret(Name=name, SecretString=text)

    def stored(self, name: str = MAIN) -> str:
        """A secret's text as it is now."""
        return self.account.secrets.get_secret_value(SecretId=name, VersionStage="AWSCURRENT")["SecretString"]

    @cached_property
    def vault(self) -> Vault:
        """The vault of all these backups."""
        return Vault(S3Store(BUCKET, client=make_client(region=REGION)))

    def back_up(self, *keys: Pair, target: str = "shop") -> Backup:
        """Take a real backup, a day after the one before."""
        recipients = tuple(one.recipient for one in keys)
        writer = Writer(self.account.catalog, self.vault, self.scratch, recipients, target)
        backup = writer.backup({"orders": b"1\tfirst\n"}, START + timedelta(days=next(self.days)))
        for recipient in recipients:
            self.account.catalog.recipients.note_use(recipient, backup.created_at)
        return backup

    def file(self, pair: Pair, name: str = "offline.txt") -> Path:
        """Write a private key to a file."""
        path = self.scratch / name
        path.write_text(pair.identity + "\n")
        return path


@pytest.fixture
def keys(account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Keys:
    """A stack with the secret `coffre/identity/main`, whose key and an offline one encrypt all backups."""
    outputs: dict[str, Any] = {**OUTPUTS, "IdentitySecret": MAIN}
    monkeypatch.setattr(stack_choice, "_outputs", lambda name: outputs)
    found = Keys(account, tmp_path)
    found.configure(found.main, found.offline)
    found.store(found.main.identity)
    return found
