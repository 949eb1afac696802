"""Secrets and parameters of an AWS that moto plays, and the function that backs them up."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.integration.conftest import Coffre, Context, client

from coffre.model.backup import Backup
from coffre.model.manifest import Manifest
from coffre.model.setting import Setting
from coffre.operations.stored_backup.open_backup import open_manifest
from coffre.runtime.backup_storage_function import BackupStorageFunction
from coffre.vault.codec import FrameDecoder, FrameEncoder, public_key
from coffre.vault.sealed_settings import open_setting, seal_setting

# It is looked for everywhere: short, as passwords are.
CANARY: Final = "c4n4ry-s3cret"
DOTENV: Final = f"\ufeffDB_URL=\"postgres://u:{CANARY}@h/d\"\r\nexport KEY='a\nb'\r\n# note\r\n".encode()


@dataclass
class SettingsScene:
    """The target `settings` with its AWS."""

    coffre: Coffre

    def configure(self, **target: Any) -> None:
        """Write the configuration: some secrets and parameters, or what is given."""
        own = {"secrets": ["app/*"], "parameters": ["/app/**"]}
        self.coffre.document(
            json.dumps(
                {
                    "encryption": "age",
                    "recipients": [public_key(self.coffre.identity)],
                    "targets": [{"name": "settings", "kind": "settings", **own, **target}],
                }
            )
        )

    def fill(self) -> None:
        """Make secrets and parameters that hold the canary, and some that are not of the target."""
        secrets, ssm = client("secretsmanager"), client("ssm")
        secrets.create_secret(
            Name="app/db", SecretString=CANARY, Description=f"of {CANARY}", Tags=[{"Key": "team", "Value": CANARY}]
        )
        secrets.create_secret(Name="app/key", SecretBinary=b"\x00\xff" + CANARY.encode())
        secrets.create_secret(Name="other/db", SecretString="other")
        ssm.put_parameter(Name="/app/prod/token", Value=CANARY, Type="SecureString")
        ssm.put_parameter(Name="/app/prod/list", Value="a,b", Type="StringList")
        ssm.put_parameter(Name="/elsewhere", Value="c", Type="String")

    @property
    def function(self) -> BackupStorageFunction:
        function: BackupStorageFunction = self.coffre._function(BackupStorageFunction.make)
        return function

    def backup(self, files: Mapping[str, bytes] | None = None, **event: Any) -> Backup:
        """Take a backup, and return its record; `files` are sealed as the command does."""
        if files:
            event["files"] = {name: self.sealed(content) for name, content in files.items()}
        answer = self.function.handle({"target": "settings", **event}, Context(function_name="backup-storage"))
        return self.coffre.catalog.get_backup(answer["id"])

    def sealed(self, content: bytes) -> dict[str, Any]:
        """Return a file as an event hands it in."""
        stored, proof = seal_setting(content, FrameEncoder([public_key(self.coffre.identity)]))
        return {"content": b64encode(stored).decode(), "sealed": proof.model_dump()}

    def manifest(self, backup: Backup) -> Manifest:
        """Return a backup's manifest."""
        return open_manifest(self.function.services.vault, backup)

    def settings(self, backup: Backup) -> dict[str, Setting]:
        """Return what a backup holds, by name."""
        vault, decoder = self.function.services.vault, FrameDecoder([self.coffre.identity])
        return {
            entry.name: open_setting(b"".join(vault.read_entry(entry, decoder)), decoder)
            for entry in vault.entries(self.manifest(backup))
            if entry.object is None or entry.object.unread is None
        }

    def values(self, backup: Backup) -> dict[str, bytes]:
        """Return the values that a backup holds, by name, without Coffre's own."""
        return {name: one.value for name, one in self.settings(backup).items() if not name.startswith("coffre/")}
