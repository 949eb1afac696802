"""The function `journal`: from its events to the vault, the catalog, other functions and people."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import boto3
import pytest
from moto import mock_aws
from tests.catalog_table import create
from tests.integration.journal_scene import Scene

from coffre.catalog.catalog import Catalog
from coffre.model.configuration_version import ConfigurationVersion, sha256_of
from coffre.model.errors import EventError, JournalError, JournalTransientError, TargetUnknownError
from coffre.model.journal import JournalEnd
from coffre.model.journal_options import JournalOptions
from coffre.model.journal_proof import JournalProof, ProofVerdict
from coffre.policy.checks.journal import JournalServer
from coffre.policy.journal_health import late_after
from coffre.postgres.inspection.journal import read_journal_server
from coffre.postgres.inspection.sessions import reading
from coffre.postgres.journal import slot
from coffre.runtime.function import utc_now
from coffre.runtime.journal_function import JournalFunction
from coffre.runtime.verify_function import VerifyFunction
from coffre.stores.directory import DirectoryStore
from coffre.vault.journal import intervals, read_end
from coffre.vault.vault import Vault

TICK = "2026-11-27T12:00:00Z"


class Context:
    """An invocation with much time left."""

    aws_request_id = "request"
    function_name = "coffre-journal"

    def get_remaining_time_in_millis(self) -> int:
        return 600_000


@dataclass
class Deployed:
    """The functions journal and verify of a stack, and what they started and sent."""

    scene: Scene
    vault: Vault
    environment: dict[str, str]
    queue: str
    started: list[dict[str, Any]] = field(default_factory=list)

    @property
    def catalog(self) -> Catalog:
        return Catalog("catalog")

    def invoke(self, *, FunctionName: str, InvocationType: str, Payload: bytes) -> None:  # noqa: N803 - AWS's names
        assert InvocationType == "Event"
        self.started.append({"function": FunctionName, **json.loads(Payload)})

    def configure(self, **targets: dict[str, Any]) -> None:
        """Write the next version of the configuration."""
        listed = [{"name": name, "secret": "coffre/database/shop", **fields} for name, fields in targets.items()]
        document = json.dumps({"encryption": "none", "targets": listed})
        newest = self.catalog.configurations.newest()
        number = newest.number + 1 if newest else 1
        version = ConfigurationVersion(
            number=number, at=utc_now(), actor="ada", sha256=sha256_of(document), document=document
        )
        assert self.catalog.configurations.add(version)

    def call(self, function: type[JournalFunction | VerifyFunction] = JournalFunction, **event: Any) -> dict[str, Any]:
        made = function.make(self.environment)
        made.services.__dict__.update(functions=self, vault=self.vault)
        return made.handle(event, Context())

    def take(self) -> list[dict[str, Any]]:
        """Take what was started."""
        started, self.started[:] = [*self.started], []
        return started

    def heard(self) -> list[str]:
        """Take the subjects of the alerts."""
        client, subjects = boto3.client("sqs"), list[str]()
        while found := client.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10).get("Messages"):
            for message in found:
                subjects.append(json.loads(message["Body"])["Subject"])
                client.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
        return subjects

    def slots(self) -> list[str]:
        with self.scene.connect() as session, session.cursor() as cursor:
            cursor.execute("SELECT slot_name FROM pg_replication_slots WHERE database = current_database()")
            return [name for (name,) in cursor.fetchall()]


@pytest.fixture
def deployed(make_scene: Callable[[int], Scene], monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployed]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-3")
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    scene = make_scene(17)
    scene.run("CREATE TABLE goods (id int PRIMARY KEY, name text)")
    with mock_aws():
        create(Catalog("catalog")._table)
        topic = boto3.client("sns").create_topic(Name="alerts")["TopicArn"]
        sqs = boto3.client("sqs")
        queue = sqs.create_queue(QueueName="alerts")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        boto3.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        address = f"postgresql://postgres@127.0.0.1:{scene.server.port}/{scene.name}?sslmode=disable"
        boto3.client("secretsmanager").create_secret(Name="coffre/database/shop", SecretString=address)
        document = json.dumps({"encryption": "none", "targets": [{"name": "shop", "secret": "coffre/database/shop"}]})
        boto3.client("ssm").put_parameter(Name="configuration", Value=document, Type="String")
        folder = scene.scratch / "vault"
        folder.mkdir()
        environment = {
            "COFFRE_CONFIGURATION": "configuration",
            "COFFRE_VAULT_BUCKET": "vault",
            "COFFRE_CATALOG_TABLE": "catalog",
            "COFFRE_ALERT_TOPIC_ARN": topic,
            "COFFRE_BACKUP_DATABASE_FUNCTION": "coffre-backup-database",
            "COFFRE_JOURNAL_FUNCTION": "coffre-journal",
        }
        yield Deployed(scene, Vault(DirectoryStore(folder)), environment, queue)
        for name in Deployed(scene, Vault(DirectoryStore(folder)), environment, queue).slots():
            scene.run(f"SELECT pg_drop_replication_slot('{name}')")


def test_a_journal_begins_asks_for_a_base_is_looked_after_and_ends(deployed: Deployed) -> None:
    # Given a target without a journal
    deployed.configure(shop={})
    assert deployed.call(scheduled_time=TICK) == {"started": []}
    with pytest.raises(EventError, match="has no journal") as refused:
        deployed.call(target="shop")
    assert refused.value.code == "JOURNAL_NOT_CONFIGURED"
    assert deployed.heard() == ["Refused: journal.drained [JOURNAL_NOT_CONFIGURED]"]

    # When it is given one, the next tick starts it, whatever the minute, and later only those that are due
    deployed.configure(shop={"journal": {}}, other={})
    assert deployed.call(scheduled_time="2026-11-27T12:01:00Z") == {"started": ["shop"]}
    assert deployed.take() == [{"function": "coffre-journal", "target": "shop"}]
    begun = deployed.call(target="shop")
    assert (len(begun["begun"]), begun["is_complete"], len(deployed.slots())) == (1, True, 1)
    assert deployed.heard() == ["Journal of shop: what limits it (1)"]  # WAL without a limit; said once
    [asked] = deployed.take()
    assert asked == {
        "function": "coffre-backup-database",
        "target": "shop",
        "actor": "journal",
        "keep": "8d",
    }
    assert deployed.call(scheduled_time="2026-11-27T12:01:00Z") == {"started": []}
    assert deployed.call(scheduled_time=TICK) == {"started": ["shop"]}

    # Then changes are stored, and an end is reported with its reason
    deployed.scene.run("INSERT INTO goods VALUES (1, 'a')")
    assert deployed.call(target="shop")["transactions"] == 1
    assert deployed.heard() == []
    deployed.scene.run("ALTER TABLE goods ADD price int")
    ended = deployed.call(target="shop")
    assert [one["reason"] for one in ended["ended"]] == [JournalEnd.DEFINITIONS]
    assert deployed.heard() == ["Journal of shop: gap (definitions)"]

    # When a drill finds that it is not equal, the next drain asks for a base, once
    state = deployed.catalog.journals.find("shop")
    assert state is not None
    assert state.drained_at is not None
    deployed.take()
    doubtful = JournalProof(
        verdict=ProofVerdict.NOT_EQUAL,
        target="shop",
        drill_id="D",
        proven_at=utc_now(),
        newer="B",
        until=utc_now(),
        interval=state.interval,
    )
    for interval, expected in (("another", []), (state.interval, [asked])):
        proof = doubtful.model_copy(update={"interval": interval, "proven_at": utc_now()})
        deployed.catalog.journal_proofs.note(proof)
        deployed.call(target="shop")
        assert deployed.take() == expected
    deployed.call(target="shop")
    assert deployed.take() == []

    # The hourly check has the slot looked after; one that is a danger is dropped
    deployed.take()
    deployed.call(VerifyFunction, level="fresh")
    assert {"function": "coffre-journal", "guard": True} in deployed.take()
    assert deployed.call(guard=True) == {"started": ["shop"]}
    assert deployed.call(target="shop", guard=True)["dropped"] is False
    deployed.heard()
    deployed.configure(shop={"journal": {"maximum_lag_bytes": 128 << 20}})
    state = deployed.catalog.journals.find("shop")
    assert state is not None
    assert state.drained_at is not None
    silent = state.model_copy(update={"drained_at": state.drained_at - timedelta(hours=25)})
    deployed.catalog.journals.keep(silent, state)
    assert "not drained for more than" in deployed.call(target="shop", guard=True)["why"]
    assert deployed.slots() == []
    assert deployed.heard() == ["Journal of shop: slot lost (guard)"]

    # Without the option it is switched off by the next tick; while it is configured, never
    deployed.call(target="shop")
    with pytest.raises(EventError, match="begin again") as refused:
        deployed.call(target="shop", off=True)
    assert refused.value.code == "JOURNAL_CONFIGURED"
    deployed.configure(other={})
    for event in ({"scheduled_time": TICK}, {"guard": True}):
        deployed.take()
        assert deployed.call(**event) == {"started": ["shop"]}
        assert deployed.take() == [{"function": "coffre-journal", "target": "shop", "off": True}]
    assert deployed.call(target="shop", off=True) == {"target": "shop", "dropped": True}
    assert (deployed.slots(), deployed.catalog.journals.all()) == ([], {})
    last = intervals(deployed.vault, "shop")[-1]
    assert read_end(deployed.vault, "shop", last.id).reason is JournalEnd.SWITCHED_OFF
    assert deployed.call(target="shop", off=True) == {"target": "shop", "dropped": False}
    with pytest.raises(TargetUnknownError, match="No version of the configuration"):
        deployed.call(target="unknown", off=True)


def test_doctor_sees_what_a_journal_needs_and_cannot_follow(deployed: Deployed) -> None:
    scene = deployed.scene
    role = f"weak_{scene.name}"
    scene.run(
        "CREATE TABLE no_key (a int)",
        'CREATE TABLE "Odd full" (a int)',
        'ALTER TABLE "Odd full" REPLICA IDENTITY FULL',
        "CREATE TABLE by_index (a int NOT NULL UNIQUE)",
        "ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_a_key",
        "CREATE TABLE nothing (a int PRIMARY KEY)",
        "ALTER TABLE nothing REPLICA IDENTITY NOTHING",
        "CREATE UNLOGGED TABLE cache (a int PRIMARY KEY)",
        "SELECT lo_create(0)",
        f"CREATE ROLE {role}",
    )
    deployed.configure(shop={"journal": {}})

    def seen() -> JournalServer:
        with scene.connect() as session, reading(session) as query:
            query("SELECT set_config('role', %(role)s, false)", {"role": role if is_weak else "none"})
            return read_journal_server(query, JournalOptions())

    is_weak = False
    before = seen()
    assert (before.wal_level, before.may_replicate, before.has_slot) == ("logical", True, False)
    assert before.without_identity == ("public.no_key", "public.nothing")
    assert (before.unlogged, before.large_objects) == (("public.cache",), 1)
    deployed.call(target="shop")
    after = seen()
    assert (after.has_slot, after.slots) == (True, before.slots + 1)
    assert before.most_slots > before.slots

    is_weak = True
    assert (seen().role, seen().may_replicate) == (role, False)
    scene.run(f"DROP ROLE {role}")


def test_what_waits_is_answered_and_what_cannot_go_on_is_reported(deployed: Deployed) -> None:
    deployed.configure(shop={"journal": {}})
    deployed.call(target="shop")
    deployed.take()
    deployed.heard()

    # A session that reads the slot: the next drain tries again
    with patch.object(slot, "require_ours", side_effect=JournalTransientError("In use.", code="JOURNAL_SLOT_BUSY")):
        answer = deployed.call(target="shop")
    assert (answer["waits"], answer["message"]) == ("JOURNAL_SLOT_BUSY", "In use.")
    assert deployed.heard() == []

    # A server that allows no slots: nothing helps but a person
    with (
        patch.object(slot, "require_ours", side_effect=JournalError("Not possible.", code="JOURNAL_NOT_POSSIBLE")),
        pytest.raises(JournalError),
    ):
        deployed.call(target="shop")
    assert deployed.heard() == ["Journal of shop has STOPPED: JOURNAL_NOT_POSSIBLE"]
    deployed.call(target="shop")
    assert deployed.heard() == ["Over: Journal of shop has STOPPED: JOURNAL_NOT_POSSIBLE"]

    # An end is reported though the drain that wrote it could not begin again
    slot.drop(deployed.scene.reader, deployed.slots()[0])
    with patch.object(slot, "create", side_effect=JournalTransientError("Open.", code="JOURNAL_WAITS")):
        assert deployed.call(target="shop")["waits"] == "JOURNAL_WAITS"
    assert deployed.heard() == ["Journal of shop: slot lost (slot-missing)"]
    assert deployed.call(target="shop")["ended"] == []

    # A dead host may come back: the hourly check reports it when it lasts
    state = deployed.catalog.journals.find("shop")
    assert state is not None
    late = utc_now() - 2 * late_after(JournalOptions())
    deployed.catalog.journals.keep(state.model_copy(update={"seen_at": late, "complete_at": late}), state)
    deployed.call(VerifyFunction, level="fresh")
    assert "Journal of shop is LATE" in deployed.heard()
