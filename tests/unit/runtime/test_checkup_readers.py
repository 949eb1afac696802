"""What a backup function reads for doctor, from an AWS that moto plays."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from tests.catalog_table import create_table

from coffre.model.bucket_target import BucketTarget
from coffre.model.checkup import State
from coffre.model.database_target import DatabaseTarget
from coffre.model.kinds import TargetKind
from coffre.model.settings_target import SettingsTarget
from coffre.operations.doctor.checkup import Reader, gather
from coffre.policy.checks.bucket_facts import SourceBucket, Sources, StoreSecret
from coffre.policy.checks.check import Facts
from coffre.policy.checks.history_facts import NewestBackup
from coffre.policy.checks.network import SERVICES
from coffre.policy.checks.registry import run_checks
from coffre.policy.checks.stack_facts import Reach
from coffre.policy.checks.vault_facts import VaultReach, VaultUse, WriteTest
from coffre.runtime import checkup_readers
from coffre.runtime.bootstrap import Services
from coffre.runtime.checkup_readers import readers_of_every_target, readers_of_source
from coffre.runtime.environment import Settings
from coffre.vault.codec import new_identity, public_key

REGION: Final = "eu-west-3"
SHOP = DatabaseTarget(name="shop", secret="coffre/database/shop")


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
    }.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        create_table("catalog")
        boto3.client("s3").create_bucket(Bucket="vault", CreateBucketConfiguration={"LocationConstraint": REGION})
        settings = Settings(
            configuration="configuration",
            vault_bucket="vault",
            catalog_table="catalog",
            alert_topic_arn=f"arn:aws:sns:{REGION}:123456789012:alerts",
        )
        yield Services("backup_storage", settings)


def read(readers: tuple[Reader, ...]) -> Facts:
    failures: list[Exception] = []
    facts = gather(readers, failures.append)
    assert failures == []
    return facts


def files(**store: Any) -> BucketTarget:
    return BucketTarget.model_validate(
        {"name": "files", "kind": "bucket", "store": store, "buckets": [{"name": "photos"}]}
    )


def test_the_vault_services_and_history_of_a_target_are_read(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def reach(addresses: Mapping[str, str]) -> Reach:
        asked.extend(addresses.values())
        return Reach(dict.fromkeys(addresses))

    monkeypatch.setattr(checkup_readers, "read_reach", reach)

    facts = read(readers_of_every_target(services, SHOP))

    assert facts[Reach] == Reach(dict.fromkeys(SERVICES))
    assert f"https://events.{REGION}.amazonaws.com" in asked
    assert facts[VaultReach] == VaultReach("vault")
    assert facts[VaultUse] == VaultUse("vault", REGION, REGION)
    assert facts[NewestBackup] == NewestBackup("shop", TargetKind.DATABASE, None)
    assert {one.code for one in run_checks(facts) if one.state is State.FINDING} == {"NO_BACKUP"}


def test_a_probe_is_stored_only_when_it_is_asked_for(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup_readers, "read_reach", lambda addresses: Reach())

    use = read(readers_of_every_target(services, SHOP, probe=True))[VaultUse]

    assert isinstance(use, VaultUse)
    assert (use.tested, use.written) == (WriteTest.PACK, None)
    (pack,) = boto3.client("s3").list_objects_v2(Bucket="vault")["Contents"]
    assert pack["Key"].startswith("v1/packs/")


def test_a_vault_that_does_not_exist_is_a_finding(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup_readers, "read_reach", lambda addresses: Reach())
    boto3.client("s3").delete_bucket(Bucket="vault")

    facts = read(readers_of_every_target(services, SHOP))

    assert "VAULT_UNREACHABLE" in {one.code for one in run_checks(facts) if one.state is State.FINDING}


def test_buckets_behind_a_secret_that_is_missing_are_not_read(services: Services) -> None:
    target = files(endpoint="https://store.example", secret="coffre/storage/r2")

    facts = read(readers_of_source(services, target))

    secret = facts[StoreSecret]
    assert isinstance(secret, StoreSecret)
    assert secret.trouble is not None
    assert secret.trouble.code == "SECRET_MISSING"
    results = {one.code: one.state for one in run_checks(facts)}
    assert results["STORE_SECRET_UNUSABLE"] is State.FINDING
    assert {state for code, state in results.items() if code != "STORE_SECRET_UNUSABLE"} == {State.COULD_NOT_LOOK}


def test_buckets_in_aws_are_read_with_the_functions_own_role(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="photos", CreateBucketConfiguration={"LocationConstraint": REGION})
    asked: list[dict[str, Any]] = []

    def sources(target: BucketTarget, reader: object, **known: Any) -> Sources:
        asked.append({**known, "aws": known["aws"] is not None})
        return Sources((SourceBucket("photos"),))

    monkeypatch.setattr(checkup_readers, "read_sources", sources)

    facts = read(readers_of_source(services, files()))

    assert asked == [{"aws": True, "account": "123456789012", "last_objects": None}]
    assert facts[Sources] == Sources((SourceBucket("photos"),))
    assert StoreSecret not in facts


def test_buckets_in_another_store_are_not_asked_what_aws_knows(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {"access_key_id": "id", "secret_access_key": "key"}
    boto3.client("secretsmanager").create_secret(Name="coffre/storage/r2", SecretString=json.dumps(keys))
    asked: list[object] = []

    def sources(target: BucketTarget, reader: object, **known: Any) -> Sources:
        asked.append(known["aws"])
        return Sources(())

    monkeypatch.setattr(checkup_readers, "read_sources", sources)

    facts = read(readers_of_source(services, files(endpoint="https://store.example", secret="coffre/storage/r2")))

    assert asked == [None]
    assert facts[StoreSecret] == StoreSecret("coffre/storage/r2")


def test_settings_are_read_one_by_one_and_no_value_is_kept(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets, ssm = boto3.client("secretsmanager"), boto3.client("ssm")
    secrets.create_secret(Name="app/db", SecretString="c4n4ry")
    secrets.create_secret(Name="app/denied", SecretString="c4n4ry")
    ssm.put_parameter(Name="/app/token", Value="c4n4ry", Type="SecureString")
    document = {"encryption": "age", "recipients": [public_key(new_identity())], "targets": []}
    ssm.put_parameter(Name="configuration", Value=json.dumps(document), Type="String")
    read_one = services.secrets.get_secret_value

    def refuse(SecretId: str) -> Any:  # noqa: N803
        if SecretId == "app/denied":
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "c4n4ry"}}, "GetSecretValue")
        return read_one(SecretId=SecretId)

    monkeypatch.setattr(services.secrets, "get_secret_value", refuse)
    target = SettingsTarget(
        name="settings", kind=TargetKind.SETTINGS, secrets=("app/*", "typo/*"), parameters=("/app/**",)
    )

    facts = read(readers_of_source(services, target))

    results = [one for one in run_checks(facts) if one.state is State.FINDING]
    assert [(one.code, one.subject) for one in results] == [
        ("SETTINGS_UNREADABLE", "secrets/app/denied"),
        ("SETTINGS_UNMATCHED", "secrets/typo/*"),
    ]
    assert "SettingsSecrets" in (results[0].cure or "")
    assert "c4n4ry" not in repr((facts, results))
