"""Settings are backed up by the function: every value exactly, and none of them readable anywhere."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from backports import zstd
from botocore.exceptions import ClientError
from tests.integration.conftest import Coffre, Context, client
from tests.integration.settings_scene import CANARY, DOTENV, SettingsScene
from tests.template.rendering import STACK

from coffre.model.errors import EncryptionError, StoreError
from coffre.model.setting import SettingFacts
from coffre.vault.codec import FrameDecoder, new_identity, public_key


@pytest.fixture
def scene(coffre: Coffre) -> SettingsScene:
    scene = SettingsScene(coffre)
    scene.configure()
    scene.fill()
    return scene


def test_every_value_is_kept_exactly(scene: SettingsScene) -> None:
    backup = scene.backup({"web/.env": DOTENV, "store.kdbx": bytes(range(256)) * 40})

    found = scene.settings(backup)
    assert {name: one.value for name, one in found.items() if not name.startswith("coffre/")} == {
        "secrets/app/db": CANARY.encode(),
        "secrets/app/key": b"\x00\xff" + CANARY.encode(),
        "parameters//app/prod/token": CANARY.encode(),
        "parameters//app/prod/list": b"a,b",
        "files/web/.env": DOTENV,
        "files/store.kdbx": bytes(range(256)) * 40,
    }
    assert json.loads(found["coffre/configuration.json"].value) == json.loads(scene.coffre.document_text())
    db, token = found["secrets/app/db"].facts, found["parameters//app/prod/token"].facts
    assert (db.type, db.description, db.tags) == ("text", f"of {CANARY}", {"team": CANARY})
    assert (found["secrets/app/key"].facts.type, token.type) == ("binary", "SecureString")
    assert (backup.kind, backup.objects, backup.unread, backup.exceptions) == ("settings", 7, 0, ())


@dataclass
class Stacks:
    """CloudFormation, as far as the function asks it."""

    error: Exception | None = None

    def describe_stacks(self, StackName: str) -> dict[str, Any]:  # noqa: N803
        assert StackName == STACK
        if self.error is not None:
            raise self.error
        return {"Stacks": [{"Parameters": [{"ParameterKey": "DailySchedule", "ParameterValue": "rate(1 day)"}]}]}


def test_the_parameters_of_the_stack_are_settings_of_its_own(scene: SettingsScene) -> None:
    scene.coffre.environment["COFFRE_STACK"] = STACK
    vars(scene.function.services)["stacks"] = Stacks()

    found = scene.settings(scene.backup())["coffre/parameters.json"].value
    assert json.loads(found) == {"DailySchedule": "rate(1 day)"}


def test_a_stack_that_does_not_answer_is_an_exception(scene: SettingsScene) -> None:
    scene.coffre.environment["COFFRE_STACK"] = STACK
    denied = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "DescribeStacks")
    vars(scene.function.services)["stacks"] = Stacks(denied)

    backup = scene.backup()
    assert backup.unread == 1
    assert "coffre/parameters.json" in backup.exceptions[0]
    assert "secrets/app/db" in scene.settings(backup)


def test_a_value_appears_nowhere(scene: SettingsScene) -> None:
    first = scene.backup({"web/.env": DOTENV})
    client("secretsmanager").put_secret_value(SecretId="app/db", SecretString=f"{CANARY}-2")
    second = scene.backup()
    drill = scene.coffre.drill(backup_id=second.id)
    read = scene.coffre.verify("read", backup_id=second.id)

    seen = [
        *(body for body in scene.coffre.objects().values()),
        *(zstd.decompress(body) for key, body in scene.coffre.objects().items() if key.endswith(".jsonl.zst")),
        *(line.encode() for line in scene.coffre.log_lines),
        *(json.dumps(alert).encode() for alert in scene.coffre.alerts()),
        json.dumps([drill, read], default=str).encode(),
        repr((first, second, scene.manifest(second), scene.settings(second))).encode(),
        *(json.dumps(item, default=str).encode() for item in client("dynamodb").scan(TableName="catalog")["Items"]),
    ]
    assert drill["outcome"] == "passed"
    assert len(seen) > 10
    assert not [body for body in seen if CANARY.encode() in body]


def test_the_same_value_has_another_digest_in_each_backup_that_stores_it(scene: SettingsScene) -> None:
    vault, digests = scene.function.services.vault, []
    for _ in range(2):
        entries = vault.entries(scene.manifest(scene.backup(full=True)))
        digests.append({one.name: one.sha256 for one in entries if not one.name.startswith("coffre/")})

    assert len(digests[0]) == 4
    assert digests[0].keys() == digests[1].keys()
    assert not set(digests[0].values()) & set(digests[1].values())


def test_an_unchanged_version_is_not_read_again(scene: SettingsScene) -> None:
    scene.backup({".env": DOTENV})
    ssm = client("ssm")
    ssm.put_parameter(Name="/app/prod/list", Value="a,b,c", Type="StringList", Overwrite=True)
    second = scene.backup()

    content = scene.manifest(second).storage
    assert (content.added, content.changed, content.removed) == (0, 1, 0)
    assert content.requests["GetParameter"] == 1
    assert "GetSecretValue" not in content.requests
    assert scene.values(second)["parameters//app/prod/list"] == b"a,b,c"
    assert scene.values(second)["secrets/app/db"] == CANARY.encode()


def test_a_full_backup_is_one_to_compare_with(scene: SettingsScene) -> None:
    scene.backup()
    whole = scene.manifest(scene.backup(full=True)).storage
    after = scene.manifest(scene.backup()).storage

    assert (whole.requests["GetSecretValue"], whole.requests["GetParameter"]) == (2, 2)
    assert not {"GetSecretValue", "GetParameter"} & set(after.requests)
    assert (after.added, after.changed, after.removed) == (0, 0, 0)


def test_other_tags_are_stored_without_a_new_version(scene: SettingsScene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.backup()
    secrets = scene.function.services.secrets
    pages = secrets.get_paginator("list_secrets").paginate().build_full_result()["SecretList"]
    changed = [
        {
            **one,
            "Tags": [{"Key": "team", "Value": "other"}],
            "LastChangedDate": one["LastChangedDate"] + timedelta(hours=1),
        }
        if one["Name"] == "app/db"
        else one
        for one in pages
    ]

    class Pages:
        def paginate(self, **_: Any) -> list[dict[str, Any]]:
            return [{"SecretList": changed}]

    monkeypatch.setattr(secrets, "get_paginator", lambda name: Pages())

    found = scene.settings(scene.backup())
    assert found["secrets/app/db"].facts.tags == {"team": "other"}


def test_a_file_stays_until_another_is_handed_in_or_it_is_forgotten(scene: SettingsScene) -> None:
    scene.backup({".env": b"A=1", "b.env": b"B=1"})
    assert scene.values(scene.backup({".env": b"A=2"}))["files/.env"] == b"A=2"

    kept = scene.values(scene.backup(full=True))
    assert (kept["files/.env"], kept["files/b.env"]) == (b"A=2", b"B=1")

    assert "files/.env" not in scene.values(scene.backup(forget=[".env"]))
    with pytest.raises(StoreError, match=r"no file \.env to forget"):
        scene.backup(forget=[".env"])


def test_a_file_stays_when_the_newest_backup_cannot_be_read(scene: SettingsScene) -> None:
    scene.backup({"web/.env": DOTENV})
    damaged = scene.backup()
    scene.coffre.put_object(damaged.manifest_key or "", b"{}")

    after = scene.backup()

    assert (scene.values(after)["files/web/.env"], after.exceptions) == (DOTENV, ())


def test_a_file_whose_keys_changed_has_to_be_handed_in_again(scene: SettingsScene) -> None:
    scene.backup({".env": b"A=1"})
    identity = new_identity()
    scene.configure(recipients=[public_key(identity)])

    first, full, backup = scene.backup(), scene.backup(full=True), scene.backup()
    assert (first.unread, full.unread, backup.unread) == (1, 1, 1), "each backup says so until it is handed in"
    assert "Hand it in again" in backup.exceptions[0]
    scene.coffre.identity = identity
    assert scene.values(backup)["secrets/app/db"] == CANARY.encode()
    assert scene.backup({".env": b"A=1"}).exceptions == ()


def test_what_is_not_encrypted_to_the_target_is_refused(scene: SettingsScene) -> None:
    readable = {"content": "QT0x", "sealed": {"size": 3, "sha256": "0" * 64}}

    with pytest.raises(EncryptionError, match="not encrypted"):
        scene.function.handle(
            {"target": "settings", "files": {".env": readable}}, Context(function_name="backup-storage")
        )
    assert scene.coffre.objects("v1/backups") == {}


def test_a_pattern_that_fits_nothing_is_an_exception(scene: SettingsScene) -> None:
    scene.configure(secrets=["app/db", "ap/typo"])

    assert scene.backup().exceptions == ("secrets/ap/typo is not in this backup: nothing of this name exists.",)


def test_private_keys_are_never_read(scene: SettingsScene) -> None:
    scene.configure(secrets=["**"])

    assert not [name for name in scene.values(scene.backup()) if "identity" in name]


def test_the_document_of_the_format_names_all_that_is_stored(scene: SettingsScene) -> None:
    document = (Path(__file__).parents[3] / "docs" / "format" / "settings.md").read_text()
    documented = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`[^|]*)\|", document, re.MULTILINE))))
    manifest = scene.manifest(scene.backup({"web/.env": DOTENV}))
    vault, decoder = scene.function.services.vault, FrameDecoder([scene.coffre.identity])

    stored: set[str] = set()
    for entry in vault.entries(manifest):
        line, _, _ = b"".join(vault.read_entry(entry, decoder)).partition(b"\n")
        stored |= json.loads(line).keys()

    assert documented == {"salt", *SettingFacts.model_fields}
    assert stored <= documented
    assert {"salt", "type", "description", "tags", "sealed"} <= stored
    assert {bucket.name for bucket in manifest.storage.buckets} == {"coffre", "files", "parameters", "secrets"}
