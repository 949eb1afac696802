"""The functions rotate and verify about copies: which one an event means, what is started, what people hear."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from tests.unit.operations.conftest import Scene, aws, new_scene, scene
from tests.unit.operations.copy_scene import CopyScene

from coffre.model.backup import Backup
from coffre.model.copies import CopyStatus
from coffre.model.errors import BackupStateError, CopyError, CopyUnknownError
from coffre.runtime.copy_function import CopyFunction
from coffre.runtime.rotate_function import RotateFunction
from coffre.runtime.verify_function import VerifyFunction

__all__ = ["aws", "new_scene", "scene"]


class Context:
    """An invocation with much time left."""

    aws_request_id = "request"
    function_name = "coffre-verify"

    def get_remaining_time_in_millis(self) -> int:
        return 600_000


@dataclass
class Started:
    """Lambda, as far as a function starts further invocations."""

    events: list[dict[str, Any]] = field(default_factory=list)

    def invoke(self, *, FunctionName: str, InvocationType: str, Payload: bytes) -> None:  # noqa: N803 - AWS's names
        assert InvocationType == "Event"
        self.events.append({"function": FunctionName, **json.loads(Payload)})


@dataclass
class Deployment:
    """Both functions of a stack with a copy in a directory, and what its topic got."""

    scene: Scene
    copy: CopyScene
    environment: Mapping[str, str]
    queue: str
    started: Started = field(default_factory=Started)

    def configure(self, **fields: Any) -> None:
        targets = [{"name": "shop", "secret": "s", "retention": {"minimum_kept": 1, "minimum_verified": 1}}]
        self.copy.more = fields
        copies = [self.copy.destination.model_dump(mode="json")]
        document = json.dumps({"encryption": "none", "targets": targets, "copies": copies})
        boto3.client("ssm").put_parameter(Name="configuration", Value=document, Type="String", Overwrite=True)

    def _ready[F: (RotateFunction, VerifyFunction)](self, function: F) -> F:
        function.services.__dict__["functions"] = self.started
        function.services.__dict__["vault"] = self.scene.vault
        return function

    def rotate(self, **event: Any) -> dict[str, Any]:
        return self._ready(RotateFunction.make(self.environment)).handle(event, Context())

    def verify(self, **event: Any) -> dict[str, Any]:
        return self._ready(VerifyFunction.make(self.environment)).handle(event, Context())

    def heard(self) -> list[tuple[str, str]]:
        """Take what the topic got about copies: its state and subject."""
        client, subjects = boto3.client("sqs"), list[tuple[str, str]]()
        while found := client.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10).get("Messages"):
            for message in found:
                body = json.loads(message["Body"])
                attributes = {name: one["Value"] for name, one in body["MessageAttributes"].items()}
                if attributes["target"] == "copy:off":
                    subjects.append((attributes["state"], body["Subject"]))
                client.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
        return subjects


@pytest.fixture
def deployment(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    topic = boto3.client("sns").create_topic(Name="alerts")["TopicArn"]
    queue = boto3.client("sqs").create_queue(QueueName="alerts")["QueueUrl"]
    arn = boto3.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"][
        "QueueArn"
    ]
    boto3.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    environment = {
        "COFFRE_CONFIGURATION": "configuration",
        "COFFRE_VAULT_BUCKET": "vault",
        "COFFRE_CATALOG_TABLE": "catalog",
        "COFFRE_ALERT_TOPIC_ARN": topic,
    }
    scene.now = datetime.now(UTC)  # the functions' clock
    made = Deployment(scene, CopyScene.of(scene, tmp_path / "copy"), environment, queue)
    made.configure()
    return made


def damage(deployment: Deployment, backup: Backup) -> Path:
    """Remove a pack of a backup from the copy."""
    path = deployment.copy.root / deployment.scene.packs_of(backup)[0].key
    path.unlink()
    return path


def test_rotation_of_all_starts_that_of_each_copy(deployment: Deployment) -> None:
    deployment.scene.backup(1)

    deployment.rotate()
    assert deployment.started.events == [{"function": "coffre-verify", "at": "off"}]

    for event in ({"dry_run": True}, {"target": "shop"}):
        deployment.rotate(**event)
    deployment.configure(deleted_by="receiver")
    deployment.rotate()
    assert len(deployment.started.events) == 1


def test_a_copy_is_rotated_in_place_of_the_vault(deployment: Deployment) -> None:
    old, new = deployment.scene.backup(8), deployment.scene.backup(1)
    deployment.copy.copy(old, new, age_days=9)
    before = deployment.scene.objects()

    shown = deployment.rotate(at="off", dry_run=True)
    assert deployment.copy.status(old) is CopyStatus.COMPLETED
    done = deployment.rotate(at="off")

    assert (shown["copy_name"], done["copy_name"]) == ("off", "off")
    assert deployment.copy.status(old) is CopyStatus.DELETED
    assert deployment.copy.objects_of(old) == set()
    assert deployment.scene.objects() == before
    assert deployment.heard() == []


@pytest.mark.parametrize("function", [CopyFunction, RotateFunction, VerifyFunction])
def test_a_copy_that_is_the_vault_itself_is_neither_filled_nor_emptied(
    deployment: Deployment, function: type[CopyFunction | RotateFunction | VerifyFunction]
) -> None:
    # As after a disaster: a new stack adopts the bucket of a copy, which its old configuration still names.
    deployment.configure(store={"type": "s3", "bucket": "vault", "region": "eu-west-1"})
    event = {CopyFunction: {"to": "off", "target": "shop"}, VerifyFunction: {"at": "off", "level": "inventory"}}

    with pytest.raises(CopyError, match="The copy off is the vault itself") as refused:
        function.make(deployment.environment).handle(event.get(function, {"at": "off"}), Context())

    assert refused.value.code == "COPY_IS_VAULT"


def test_a_copy_in_another_folder_of_the_vaults_bucket_is_one(deployment: Deployment) -> None:
    boto3.client("s3").create_bucket(Bucket="vault", CreateBucketConfiguration={"LocationConstraint": "eu-west-3"})
    deployment.configure(store={"type": "s3", "bucket": "vault", "prefix": "copy"})

    assert RotateFunction.make(deployment.environment).handle({"at": "off"}, Context())["problems"] == []


def test_an_unknown_copy_is_named(deployment: Deployment) -> None:
    with pytest.raises(CopyUnknownError, match="elsewhere"):
        deployment.rotate(at="elsewhere")
    with pytest.raises(CopyUnknownError, match="elsewhere"):
        deployment.verify(level="read", at="elsewhere")


def test_the_daily_levels_start_a_look_at_each_copy(deployment: Deployment) -> None:
    deployment.scene.backup(1)

    deployment.verify(level="inventory")
    deployment.verify(level="read")

    starts = [event for event in deployment.started.events if "at" in event]
    assert [(event["level"], event["at"]) for event in starts] == [("inventory", "off"), ("read", "off")]


def test_damage_in_a_copy_is_reported_once_and_ends_when_it_is_mended(deployment: Deployment) -> None:
    backup = deployment.scene.backup(1)
    deployment.copy.copy(backup)
    path = damage(deployment, backup)

    answer = deployment.verify(level="inventory", at="off")
    deployment.verify(level="inventory", at="off")

    assert (answer["status"], answer["copy_name"]) == (500, "off")
    assert deployment.heard() == [("new", "A backup in the copy off is DAMAGED")]
    # A vault that is in order ends no alert about a copy.
    deployment.verify(level="fresh")
    assert deployment.heard() == []
    deployment.rotate(at="off")
    path.write_bytes(b"x" * 100)
    deployment.copy.record(backup, damaged=None)  # as the copier leaves it
    assert deployment.verify(level="inventory", at="off")["damaged"] == []
    assert [state for state, _ in deployment.heard()] == ["recovered"]


def test_an_empty_copy_is_reported(deployment: Deployment) -> None:
    deployment.scene.backup(1)

    with pytest.raises(BackupStateError):
        deployment.verify(level="inventory", at="off")

    assert deployment.heard() == [("new", "The copy off could not be verified: NOTHING_TO_VERIFY")]


def test_a_copy_that_is_nearly_full_is_reported(deployment: Deployment) -> None:
    deployment.configure(quota_bytes=120)
    deployment.copy.copy(deployment.scene.backup(1))

    deployment.verify(level="inventory", at="off")
    assert deployment.heard() == [("new", "The copy off is 83 % full")]

    deployment.configure(quota_bytes=1000)
    deployment.verify(level="inventory", at="off")
    assert [state for state, _ in deployment.heard()] == ["recovered"]


def test_fresh_names_the_components_and_a_copy_that_is_gone(deployment: Deployment) -> None:
    backup = deployment.scene.backup(0)
    deployment.copy.copy(backup)
    (deployment.copy.root / (backup.manifest_key or "")).unlink()

    answer = deployment.verify(level="fresh")

    assert answer["statusCode"] == 500
    assert {answer[name]["status"] for name in ("database", "offsite")} <= {"ok", "failed"}
    assert (answer["offsite"]["status"], answer["storage"]["status"]) == ("failed", "not_configured")
    assert deployment.heard() == [("new", "The copy off could not be verified: MANIFEST_MISSING")]
