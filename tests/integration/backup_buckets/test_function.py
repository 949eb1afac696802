"""The function `backup_storage` in this process: targets, records, locks, alerts, several invocations."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from tests.contract.weed import OWNER, WRITER, Weed
from tests.integration.conftest import TABLE, Coffre, Context, new_id
from tests.integration.here_scene import Functions

from coffre.buckets.reader import BucketReader
from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup, Failure, Status, Tier
from coffre.model.errors import CoffreError, DeadlineError, SecretError, StoreError
from coffre.operations.backup_buckets import plan as storage_plan
from coffre.runtime import bootstrap
from coffre.runtime.backup_storage_function import BackupStorageFunction
from coffre.runtime.sources import read_secret
from coffre.runtime.state_machine import Machine
from coffre.stores.s3_client import make_client
from coffre.stores.s3_exchange import Answer
from coffre.stores.s3_wire import S3Wire
from coffre.vault.codec import public_key
from coffre_cli.here import StackHere

OBJECTS = 40
SLOT = "2026-11-01T03:00:00Z"


@pytest.fixture(scope="module")
def endpoint(weed: Weed) -> str:
    """A store with a bucket `uploads` of forty objects, and one that has none."""
    client = make_client(region="us-east-1", endpoint_url=weed.endpoint_url, credentials=OWNER)
    for bucket in ("uploads", "none"):
        client.create_bucket(Bucket=bucket)
    for number in range(OBJECTS):
        client.put_object(Bucket="uploads", Key=f"{number:03}", Body=b"%d" % number)
    client.close()
    return weed.endpoint_url


@dataclass
class Invoked:
    """Lambda, as far as the function calls it."""

    events: list[dict[str, Any]] = field(default_factory=list)
    error: Exception | None = None

    def invoke(self, FunctionName: str, InvocationType: str, Payload: bytes) -> None:  # noqa: N803
        assert (FunctionName, InvocationType) == ("backup-storage", "Event")
        if self.error is not None:
            raise self.error
        self.events.append(json.loads(Payload))


@dataclass
class Deployed:
    """The function with its AWS."""

    coffre: Coffre
    endpoint: str
    invoked: Invoked = field(default_factory=Invoked)

    def configure(self, *targets: dict[str, Any], **limits: Any) -> None:
        """Write the configuration: a database, and `files`, or these targets of buckets."""
        store = {"endpoint": self.endpoint, "secret": "coffre/storage/weed"}
        files = {"name": "files", "buckets": [{"name": "uploads"}], "limits": {"streams": 2, **limits}}
        document = {
            "encryption": "age",
            "recipients": [public_key(self.coffre.identity)],
            "targets": [
                {"name": "shop", "secret": "coffre/database/shop"},
                *({"kind": "bucket", "store": store, **target} for target in targets or [files]),
            ],
        }
        self.coffre.document(json.dumps(document))

    @property
    def function(self) -> BackupStorageFunction:
        function: BackupStorageFunction = self.coffre._function(BackupStorageFunction.make)
        vars(function.services)["functions"] = self.invoked
        return function

    @property
    def catalog(self) -> Catalog:
        return self.coffre.catalog

    def invoke(self, context: Context | None = None, **event: Any) -> dict[str, Any]:
        return self.function.handle(event, context or Context(function_name="backup-storage"))

    def alert_kinds(self) -> list[str]:
        return [alert["MessageAttributes"]["kind"]["Value"] for alert in self.coffre.alerts()]


@pytest.fixture
def deployed(coffre: Coffre, endpoint: str) -> Deployed:
    deployed = Deployed(coffre, endpoint)
    deployed.configure()
    secret = {"access_key_id": OWNER.access_key_id, "secret_access_key": OWNER.secret_access_key}
    coffre.secret("coffre/storage/weed", json.dumps(secret))
    return deployed


def test_a_target_is_backed_up_and_recorded(deployed: Deployed) -> None:
    answer = deployed.invoke(target="files")

    backup = deployed.catalog.get_backup(answer["id"])
    assert (answer["outcome"], backup.status, backup.kind, backup.tiers) == (
        "completed",
        Status.COMPLETED,
        "bucket",
        (Tier.MANUAL,),
    )
    assert (backup.objects, backup.tables, backup.rows) == (OBJECTS, None, None)
    assert deployed.catalog.latest_completed("files") == backup
    again = deployed.catalog.get_backup(deployed.invoke(target="files")["id"])
    assert (again.stored_bytes or 0) < (backup.stored_bytes or 0)
    whole = deployed.catalog.get_backup(deployed.invoke(target="files", full=True)["id"])
    assert (whole.stored_bytes or 0) > (again.stored_bytes or 0)
    secret = OWNER.secret_access_key
    assert not [line for line in deployed.coffre.log_lines if secret in line]


def test_what_a_run_used_is_recorded(deployed: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1024")

    used = deployed.catalog.usages.find(deployed.invoke(target="files", full=True)["id"])

    assert used is not None
    assert (used.target, used.invocations) == ("files", 1)
    assert used.function_mb_ms > 1024
    assert used.source_writes >= 1  # a page of the listing
    assert used.source_reads >= OBJECTS
    assert used.source_received_bytes >= sum(len(b"%d" % number) for number in range(OBJECTS))
    assert used.vault_writes >= 3  # a pack, the entries and the manifest at least
    assert used.vault_sent_bytes > 0


def test_without_a_target_every_target_of_buckets_is_started(deployed: Deployed) -> None:
    deployed.configure(
        {"name": "files", "buckets": [{"name": "uploads"}]}, {"name": "more", "buckets": [{"name": "none"}]}
    )

    answer = deployed.invoke(tier="WEEKLY", scheduled_time=SLOT)

    assert answer == {"started": ["files", "more"]}
    assert deployed.invoked.events == [
        {"target": name, "tier": "WEEKLY", "scheduled_time": SLOT} for name in ("files", "more")
    ]


def test_rules_that_fire_together_share_one_backup(deployed: Deployed) -> None:
    first = deployed.invoke(target="files", tier="WEEKLY", scheduled_time=SLOT)
    second = deployed.invoke(target="files", tier="MONTHLY", scheduled_time=SLOT)

    assert (first["outcome"], second["outcome"], second["id"]) == ("completed", "joined", first["id"])
    assert deployed.catalog.get_backup(first["id"]).tiers == (Tier.WEEKLY, Tier.MONTHLY)


# --- several invocations ---


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_plan, "_READ_OBJECTS", 2)


@pytest.fixture
def one_part(small_parts: None, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let time be short once a part was given out, unless a test has changed the list, which holds what is left."""
    left = [900.0]
    make = storage_plan._PartBuilder.part

    def part(making: storage_plan._PartBuilder, number: int) -> Any:
        left[0] = 100.0 if left[0] == 900.0 else left[0]
        return make(making, number)

    monkeypatch.setattr(storage_plan._PartBuilder, "part", part)
    return left


def test_a_run_goes_on_in_the_next_invocation(deployed: Deployed, one_part: list[float]) -> None:
    context = Context(lambda: one_part[0], function_name="backup-storage")

    first = deployed.invoke(context, target="files", tier="WEEKLY", scheduled_time=SLOT)

    # Then it is alive, for everybody who looks, until the next invocation takes over
    assert (first["outcome"], first["status"]) == ("paused", "IN_PROGRESS")
    [event] = deployed.invoked.events
    assert event == {
        "target": "files",
        "tier": "WEEKLY",
        "scheduled_time": SLOT,
        "backup_id": first["id"],
        "continue": 1,
    }
    other = deployed.invoke(target="files")
    assert (other["outcome"], other["id"]) == ("skipped", first["id"])

    context = Context(function_name="backup-storage")
    last = deployed.invoke(context, **event)

    assert (last["outcome"], last["id"], last["tiers"]) == ("completed", first["id"], ["WEEKLY"])
    backup = deployed.catalog.get_backup(first["id"])
    assert (backup.objects, backup.status) == (OBJECTS, Status.COMPLETED)
    vault = deployed.function.services.vault
    manifest = vault.read_manifest(backup.manifest_key or "", sha256=backup.manifest_sha256 or "")
    assert manifest.storage.invocations == 2
    # And delivered twice, the event does nothing
    assert deployed.invoke(context, **event)["outcome"] == "skipped"
    assert deployed.alert_kinds() == []


def test_an_event_that_is_delivered_twice_at_once_works_once(deployed: Deployed, one_part: list[float]) -> None:
    context = Context(lambda: one_part[0], function_name="backup-storage")
    first = deployed.invoke(context, target="files")
    [event] = deployed.invoked.events
    # By one whose clock is a little ahead of ours
    now, stale_after = datetime.now(UTC) + timedelta(seconds=1), timedelta(seconds=45)
    assert deployed.catalog.locks.resume("files", first["id"], now, continuation=1, stale_after=stale_after)

    answer = deployed.invoke(**event)

    assert (answer["outcome"], answer["status"]) == ("skipped", "IN_PROGRESS")


def test_an_invocation_that_died_is_repeated_from_where_the_one_before_stopped(
    deployed: Deployed, one_part: list[float]
) -> None:
    context = Context(lambda: one_part[0], function_name="backup-storage")
    first = deployed.invoke(context, target="files")
    [event] = deployed.invoked.events
    # Given an invocation that took over and was killed a minute ago
    heartbeat = deployed.catalog.get_backup(first["id"]).heartbeat_at
    assert heartbeat is not None
    deployed.catalog.locks.renew("files", first["id"], heartbeat - timedelta(minutes=16))

    last = deployed.invoke(**event)

    assert (last["outcome"], last["id"]) == ("completed", first["id"])
    assert deployed.catalog.get_backup(first["id"]).objects == OBJECTS


def test_a_run_that_another_one_took_for_dead_does_not_go_on(deployed: Deployed, one_part: list[float]) -> None:
    context = Context(lambda: one_part[0], function_name="backup-storage")
    first = deployed.invoke(context, target="files")
    [event] = deployed.invoked.events
    deployed.catalog.fail_backup(first["id"], Failure(code="RUN_DIED", message="-"), _now(deployed, first["id"]))

    answer = deployed.invoke(**event)

    assert (answer["outcome"], answer["reason"]) == ("skipped", f"backup {first['id']} is FAILED")


def _now(deployed: Deployed, backup_id: str) -> Any:
    return deployed.catalog.get_backup(backup_id).created_at


def test_a_run_that_cannot_go_on_fails(deployed: Deployed, one_part: list[float]) -> None:
    deployed.invoked.error = EndpointConnectionError(endpoint_url="https://lambda")
    context = Context(lambda: one_part[0], function_name="backup-storage")

    with pytest.raises(CoffreError) as stopped:
        deployed.invoke(context, target="files")

    assert stopped.value.code == "INVOKE_FAILED"
    [backup] = deployed.coffre.backups()
    assert backup.status is Status.FAILED
    assert deployed.alert_kinds() == ["BACKUP_FAILED"]


def test_too_many_invocations_end_in_an_alert(deployed: Deployed, one_part: list[float]) -> None:
    deployed.configure({"name": "files", "buckets": [{"name": "uploads"}], "limits": {"invocations": 1}})
    context = Context(lambda: one_part[0], function_name="backup-storage")

    with pytest.raises(DeadlineError, match="not finished after 1 invocations"):
        deployed.invoke(context, target="files")

    [alert] = deployed.coffre.alerts()
    assert "INVOCATIONS_EXHAUSTED" in alert["Message"]
    assert "coffre backup buckets files" in alert["Message"]
    # And what is stored is left to the next run, in its first invocation and in a further one
    [failed] = deployed.coffre.backups()
    assert failed.failure is not None
    assert "is kept for a day: the next backup of this target continues from there." in failed.failure.message
    deployed.configure()
    one_part[0] = 900.0
    first = deployed.invoke(context, target="files")
    assert first["outcome"] == "paused"
    deployed.invoke(**deployed.invoked.events[-1])
    backup, vault = deployed.catalog.get_backup(first["id"]), deployed.function.services.vault
    manifest = vault.read_manifest(backup.manifest_key or "", sha256=backup.manifest_sha256 or "")
    assert backup.objects == OBJECTS > manifest.storage.requests["get"]
    said = [note for note in manifest.notes if "were stored already by the run that ended at" in note]
    assert [failed.id in note for note in said] == [True]
    assert said[0] in next(line for line in deployed.coffre.log_lines if "run ended" in line and "completed" in line)
    # And --full reads all
    whole = deployed.catalog.get_backup(deployed.invoke(target="files", full=True)["id"])
    assert whole.notes == ()


# --- what is wrong ---


def _failed(deployed: Deployed, kind: type[CoffreError], code: str) -> Backup:
    with pytest.raises(kind) as stopped:
        deployed.invoke(target="files")
    assert stopped.value.code == code
    [backup] = deployed.coffre.backups()
    assert backup.status is Status.FAILED
    assert backup.failure is not None
    assert backup.failure.code == code
    assert deployed.alert_kinds() == ["BACKUP_FAILED"]
    return backup


def test_a_secret_that_is_missing_is_named(deployed: Deployed) -> None:
    store = {"endpoint": deployed.endpoint, "secret": "coffre/storage/gone"}
    deployed.configure({"name": "files", "store": store, "buckets": [{"name": "uploads"}]})

    backup = _failed(deployed, SecretError, "SECRET_MISSING")

    assert "coffre/storage/gone" in (backup.failure.message if backup.failure else "")


def test_a_key_that_may_not_list_is_an_error_that_says_so(deployed: Deployed) -> None:
    secret = {"access_key_id": WRITER.access_key_id, "secret_access_key": WRITER.secret_access_key}
    deployed.coffre.secret("coffre/storage/weed", json.dumps(secret))

    backup = _failed(deployed, StoreError, "STORE_DENIED")

    assert "s3:ListBucket" in (backup.failure.message if backup.failure else "")


def test_a_key_that_is_replaced_after_it_was_read_fails_no_backup(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [json.dumps({"access_key_id": "gone-key", "secret_access_key": "gone"})]
    read = _answering_first(monkeypatch, answers)

    assert deployed.catalog.get_backup(deployed.invoke(target="files")["id"]).objects == OBJECTS

    assert read == ["coffre/storage/weed"] * 2
    assert deployed.alert_kinds() == []


def test_a_key_that_is_wrong_is_read_again_once(deployed: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = {"access_key_id": OWNER.access_key_id, "secret_access_key": "wrong-secret-0123456789"}
    deployed.coffre.secret("coffre/storage/weed", json.dumps(secret))
    read = _answering_first(monkeypatch, [])
    sent: list[str] = []
    send = S3Wire._send

    def counted(wire: S3Wire, *arguments: Any) -> Answer:
        sent.append(wire.endpoint.url)
        return send(wire, *arguments)

    monkeypatch.setattr(S3Wire, "_send", counted)

    _failed(deployed, StoreError, "STORE_CREDENTIALS")

    # The version to come, and the current one before and after a moment
    assert (len(read), len(sent)) == (4, 2)
    assert not [line for line in deployed.coffre.log_lines if "wrong-secret" in line]


def _answering_first(monkeypatch: pytest.MonkeyPatch, answers: list[str]) -> list[str]:
    """Answer the first readings of secrets with these, and return the list of what is read."""
    read: list[str] = []

    def answer(secrets: Any, reference: str, stage: Any) -> str:
        read.append(reference)
        return answers.pop(0) if answers else read_secret(secrets, reference, stage)

    monkeypatch.setattr(bootstrap, "read_secret", answer)
    return read


def test_a_bucket_that_is_missing_is_named(deployed: Deployed) -> None:
    deployed.configure({"name": "files", "buckets": [{"name": "uploads"}, {"name": "phots"}]})

    backup = _failed(deployed, StoreError, "BUCKET_MISSING")

    assert "phots" in (backup.failure.message if backup.failure else "")


def test_a_backup_with_exceptions_is_complete_and_told(deployed: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    piece = BucketReader.piece

    def refuse(reader: BucketReader, bucket: str, listed: Any, offset: int, **how: Any) -> Any:
        if listed.key == "007":
            raise StoreError("s3://uploads/007 is in an archive class.", code="OBJECT_ARCHIVED")
        return piece(reader, bucket, listed, offset, **how)

    monkeypatch.setattr(BucketReader, "piece", refuse)
    answer = deployed.invoke(target="files")

    backup = deployed.catalog.get_backup(answer["id"])
    assert (backup.status, backup.objects) == (Status.COMPLETED, OBJECTS - 1)
    assert backup.exceptions == (
        "'uploads/007' is not in this backup: s3://uploads/007 is in an archive class. [OBJECT_ARCHIVED]",
    )
    assert deployed.alert_kinds() == ["BACKUP_EXCEPTIONS"]


def test_the_event_of_an_unknown_run_is_refused(deployed: Deployed) -> None:
    with pytest.raises(CoffreError) as unknown:
        deployed.function.handle({"target": "files", "backup_id": new_id(), "continue": 1}, Context())

    assert unknown.value.code == "BACKUP_UNKNOWN"


def test_a_scratch_directory_is_not_left_behind(
    deployed: Deployed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    deployed.invoke(target="files")

    assert list(tmp_path.iterdir()) == []


def test_a_backup_of_objects_is_verified_by_reading_and_the_next_one_points_at_nothing_damaged(
    deployed: Deployed,
) -> None:
    coffre = deployed.coffre
    first = deployed.invoke(target="files")["id"]
    assert [one["outcome"] for one in coffre.verify("read", target="files")["examined"]] == ["verified"]
    assert {check["limit_hours"] for check in coffre.verify("fresh", target="files")["checks"]} == {172, 192, None}
    key, body = max(coffre.objects("v1/packs/").items(), key=lambda item: len(item[1]))
    coffre.put_object(key, body[:-1] + bytes([body[-1] ^ 1]))

    found = coffre.verify("read", backup_id=first)
    second = deployed.invoke(target="files")["id"]

    assert [one["backup_id"] for one in found["damaged"]] == [first]
    place = f"v1/backups/files/{second}/manifest.json"
    assert key not in {pack["key"] for pack in json.loads(coffre.objects(place)[place])["packs"]}
    assert coffre.verify("read", backup_id=second)["status"] == 200


def test_the_command_backs_buckets_up_in_its_own_process(deployed: Deployed) -> None:
    """`coffre backup buckets files --here`: recorded as by the function, with the function's settings."""
    stack = StackHere("coffre", {"CatalogTable": TABLE, "BackupStorageFunction": "coffre-backup-storage"})
    vars(stack)["functions"] = Functions(deployed.coffre.environment)

    answer = stack.ask("backup_storage", {"target": "files", "backup_id": new_id()})

    record = deployed.catalog.get_backup(answer["id"])
    assert (record.status, record.objects, record.tiers) == (Status.COMPLETED, OBJECTS, (Tier.MANUAL,))
    assert deployed.catalog.latest_completed("files") == record


def test_several_functions_take_a_backup_together(deployed: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[dict[str, Any]] = []
    deployed.coffre.environment["COFFRE_RANGES_MACHINE"] = "arn:aws:states:eu-west-1:123456789012:stateMachine:ranges"
    monkeypatch.setattr(Machine, "start", lambda _self, _run_id, given: started.append(json.loads(json.dumps(given))))
    deployed.configure(spread="always", functions=2)

    # Given a run that is handed over, and is played as the state machine does, each worker twice
    answer = deployed.invoke(target="files")
    [given] = started
    step = {name: given[name] for name in ("target", "backup_id", "plan")}
    assert (answer["outcome"], given["backup_id"], given["width"]) == ("paused", answer["id"], 2)
    planned = deployed.invoke(step="seal", ranges=given["gathered"]["ranges"], **step)
    assert planned["over"] is False
    lines = deployed.coffre.objects()[planned["ranges"]["key"]].splitlines()
    work = [{"step": "work", "ranges": planned["ranges"], "group": json.loads(line)["group"], **step} for line in lines]
    assert [deployed.invoke(**one)["outcome"] for one in work * 2] == ["stored"] * 2 * len(work)
    alive = deployed.catalog.get_backup(answer["id"])
    assert (alive.status, alive.progress.done_objects, alive.workers) == (Status.IN_PROGRESS, OBJECTS, 2)

    # When all names are stored, then the backup is complete, and steps that come late change nothing
    sealed = deployed.invoke(step="seal", ranges=planned["ranges"], **step)
    backup = deployed.catalog.get_backup(answer["id"])
    assert (sealed["over"], sealed["status"], backup.status) == (True, "COMPLETED", Status.COMPLETED)
    assert (backup.objects, backup.spread) == (OBJECTS, "limits.spread is always.")
    assert deployed.invoke(**work[0]) == {"group": work[0]["group"], "outcome": "over", "parts": 0}
    assert deployed.invoke(stopped=answer["id"], status="ABORTED")["status"] == "COMPLETED"
    assert deployed.invoke(step="seal", ranges=planned["ranges"], **step)["over"] is True

    # One whose machine is stopped is settled, and reported; one that cannot be started fails
    second = deployed.invoke(target="files")
    deployed.invoke(stopped=second["id"], status="ABORTED")
    failure = deployed.catalog.get_backup(second["id"]).failure
    assert failure is not None
    assert failure.code == "SPREAD_STOPPED"
    assert deployed.alert_kinds() == ["BACKUP_FAILED"]
    with pytest.raises(CoffreError) as caught:
        deployed.invoke(**{**work[0], "backup_id": second["id"], "step": "seal", "group": None})
    assert caught.value.code == "RUN_OVER"

    # What fits into one function stays with it
    deployed.configure(spread="auto")
    whole = deployed.invoke(target="files")
    assert (whole["outcome"], len(started)) == ("completed", 2)
