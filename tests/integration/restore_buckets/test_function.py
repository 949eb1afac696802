"""The function `restore` for objects: which store, how it goes on in another invocation, what it says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import EndpointConnectionError
from tests.confirming import overwrites, with_confirmation
from tests.contract.weed import OWNER, READER, Weed
from tests.integration.bucket_backups import Object, keep_backup
from tests.integration.conftest import BUCKET, REGION, TABLE, Coffre, Context, client, new_id
from tests.integration.expect import no_secret
from tests.integration.here_scene import Functions
from tests.integration.vault_copies import copy_vault

from coffre.model.backup import Backup, Progress, Status
from coffre.model.errors import CoffreError
from coffre.model.storage import BegunUpload
from coffre.runtime import bootstrap, restore_storage_function
from coffre.runtime.sources import read_secret
from coffre.stores.s3 import S3Store
from coffre.stores.s3_client import make_client
from coffre.vault.codec import public_key
from coffre.vault.vault import Vault
from coffre_cli.here import StackHere

FILES = {f"photos/{n:02d}.txt": Object(b"%d" % n, content_type="text/plain", tags={"n": str(n)}) for n in range(9)}
# What the store of AWS takes, and what it shows: keys that are no file names, values that are no dates.
HOSTILE = [
    *("/", "//", "a//b", "/leading", "trailing/", "..", "../up", "a/../b", ".", "a/./b", "a\\b"),
    *("ümlaut", "emoji 🦊", "sp ace +&=?#%25", "A", "a", "a\u0301", "x" * 1024, "é" * 512, "bell\x07", "line\nbreak"),
]


def bucket_target(**store: Any) -> dict[str, Any]:
    return {"kind": "bucket", "store": store, "buckets": [{"name": "photos"}]}


@pytest.fixture
def uploads(coffre: Coffre) -> Coffre:
    """A deployment with the target `uploads`, whose bucket `photos` in AWS is empty."""
    _configure(coffre)
    client("s3").create_bucket(Bucket="photos", CreateBucketConfiguration={"LocationConstraint": REGION})
    return coffre


def _configure(coffre: Coffre, **store: Any) -> None:
    target = {"name": "uploads", **bucket_target(**store)}
    coffre.document(json.dumps({"encryption": "age", "recipients": [public_key(coffre.identity)], "targets": [target]}))


def keep(coffre: Coffre, objects: Mapping[str, Object], scratch: Path) -> Backup:
    """Put a backup of these objects into the vault and the catalog."""
    vault = Vault(S3Store(BUCKET, client=make_client(session=botocore.session.get_session(), region=REGION)))
    backup = keep_backup(vault, objects, scratch, recipients=[public_key(coffre.identity)])
    coffre.catalog.create_backup(backup)
    return backup


def invoke(
    coffre: Coffre, event: Mapping[str, Any], context: Context | None = None, functions: Lambda | None = None
) -> dict[str, Any]:
    """Invoke `restore`; AWS as moto plays it is not made for several threads."""
    function = coffre.restore_function()
    if functions is not None:
        vars(function.services)["functions"] = functions
    wanted = {"streams": 1, **event}
    if overwrites(wanted):
        wanted = with_confirmation(lambda trial: function.handle(trial, Context(function_name="restore")), wanted)
    return function.handle(wanted, context or Context(function_name="restore"))


def bodies(bucket: str = "photos") -> dict[str, bytes]:
    s3 = client("s3")
    listed = s3.list_objects_v2(Bucket=bucket).get("Contents", [])
    return {item["Key"]: s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read() for item in listed}


def test_the_latest_backup_comes_back_where_it_was(uploads: Coffre, tmp_path: Path) -> None:
    backup = keep(uploads, FILES, tmp_path)

    said = invoke(uploads, {"backup_id": "latest", "target": "uploads", "storage": {}})

    assert said == {
        "id": said["id"],
        "backup_id": backup.id,
        "status": "COMPLETED",
        "dry_run": False,
        "objects": 9,
        "exceptions": 0,
    }
    assert bodies() == {name.partition("/")[2]: found.body for name, found in FILES.items()}
    record = uploads.catalog.get_restore(said["id"])
    assert (record.status, record.objects, record.tables, record.destination) == (
        Status.COMPLETED,
        9,
        None,
        "photos at AWS",
    )
    assert client("s3").get_object_tagging(Bucket="photos", Key="03.txt")["TagSet"] == [{"Key": "n", "Value": "3"}]
    head = client("s3").head_object(Bucket="photos", Key="03.txt", ChecksumMode="ENABLED")
    assert head["ChecksumSHA256"], "AWS keeps the SHA-256 that it checked"


def test_the_command_restores_objects_in_its_own_process(uploads: Coffre, tmp_path: Path) -> None:
    """`coffre restore objects --here`: with the function's settings, recorded as by it."""
    backup = keep(uploads, FILES, tmp_path)
    stack = StackHere("coffre", {"CatalogTable": TABLE, "RestoreFunction": "coffre-restore"})
    vars(stack)["functions"] = Functions(uploads.environment)

    said = stack.ask("restore", {"backup_id": backup.id, "storage": {}, "streams": 1})

    assert (said["status"], said["objects"]) == ("COMPLETED", 9)
    assert bodies() == {name.partition("/")[2]: found.body for name, found in FILES.items()}
    assert uploads.catalog.get_restore(said["id"]).status is Status.COMPLETED


def test_hostile_keys_and_values_come_back_as_they_were(uploads: Coffre, tmp_path: Path) -> None:
    objects = {
        f"photos/{key}": Object(key.encode(), expires="0", metadata={"odd": "=?utf-8?b?w7w=?="}) for key in HOSTILE
    }
    keep(uploads, objects, tmp_path)

    said = invoke(uploads, {"backup_id": "latest", "target": "uploads", "storage": {}})
    again = invoke(
        uploads, {"backup_id": "latest", "target": "uploads", "storage": {"mode": "mirror", "no_safety": True}}
    )

    assert (said["objects"], again["objects"]) == (len(HOSTILE), 0)
    assert bodies() == {key: key.encode() for key in HOSTILE}
    head = client("s3").head_object(Bucket="photos", Key="A")
    assert (head["ExpiresString"], head["Metadata"]) == ("0", {"odd": "=?utf-8?b?w7w=?="})


def test_objects_whose_packs_the_vault_has_lost_come_from_a_copy(uploads: Coffre, tmp_path: Path) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    document = json.loads(uploads.document_text())
    copies = [{"name": "disk", "store": {"type": "directory", "path": str(place)}}]
    uploads.document(json.dumps({**document, "copies": copies}))
    keep(uploads, FILES, tmp_path)
    copy_vault(uploads, place)
    for key in uploads.objects("v1/"):
        client("s3").delete_object(Bucket=BUCKET, Key=key)

    said = invoke(uploads, {"backup_id": "latest", "target": "uploads", "storage": {}})

    assert (said["objects"], said["exceptions"]) == (9, 0)
    assert bodies() == {name.partition("/")[2]: found.body for name, found in FILES.items()}
    record = uploads.catalog.get_restore(said["id"])
    assert 'Read from the copy "disk": 3 stored objects' in record.notes[0], "manifest, entries and one pack"
    assert "[MANIFEST_MISSING]" in record.notes[0]


class Lambda:
    """Takes asynchronous invocations."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def invoke(self, FunctionName: str, InvocationType: str, Payload: bytes) -> None:  # noqa: N803
        assert (FunctionName, InvocationType) == ("restore", "Event")
        self.events.append(json.loads(Payload))


def test_what_does_not_fit_into_one_invocation_goes_on_in_the_next(uploads: Coffre, tmp_path: Path) -> None:
    backup, functions, restore_id = keep(uploads, FILES, tmp_path), Lambda(), new_id()
    event: dict[str, Any] = {
        "backup_id": "latest",
        "target": "uploads",
        "storage": {"mode": "overwrite", "no_safety": True},
        "restore_id": restore_id,
    }
    records = []

    for number in range(1, 20):
        # The watch looks at the time too; it must not see the end of it before the work does.
        counts = iter(range(6))
        context = Context(lambda counts=counts: 900 if next(counts, None) is not None else 50, "r", "restore")  # type: ignore[misc]
        said = invoke(uploads, event, context, functions=functions)
        records.append(uploads.catalog.get_restore(restore_id))
        if said["status"] == "COMPLETED":
            break
        assert said["status"] == "IN_PROGRESS"
        [event] = functions.events
        assert event["invocation"] == number + 1
        assert event["backup_id"] == backup.id
        functions.events.clear()

    assert said["objects"] == 9
    assert len(records) >= 2
    assert len(bodies()) == 9
    assert {record.created_at for record in records} == {records[0].created_at}
    assert records[-1].progress.done_objects == 9


def test_a_restore_that_was_ended_meanwhile_does_not_go_on(uploads: Coffre, tmp_path: Path) -> None:
    keep(uploads, FILES, tmp_path)
    said = invoke(uploads, {"backup_id": "latest", "target": "uploads", "storage": {"dry_run": True}})
    event = {"backup_id": said["backup_id"], "restore_id": said["id"], "invocation": 2, "storage": {}}
    uploads.alerts()

    assert invoke(uploads, event) == said

    assert bodies() == {}
    assert uploads.alerts() == []


@pytest.mark.parametrize("skew", [timedelta(milliseconds=-5), timedelta(milliseconds=5)])
def test_a_continuation_that_is_delivered_twice_is_worked_on_once(
    uploads: Coffre, tmp_path: Path, skew: timedelta
) -> None:
    keep(uploads, FILES, tmp_path)
    functions, restore_id = Lambda(), new_id()
    first = {
        "backup_id": "latest",
        "target": "uploads",
        "storage": {"mode": "overwrite", "no_safety": True},
        "restore_id": restore_id,
    }
    counts = iter(range(6))
    context = Context(lambda: 900 if next(counts, None) is not None else 50, "r", "restore")
    assert invoke(uploads, first, context, functions=functions)["status"] == "IN_PROGRESS"
    [event] = functions.events
    before = bodies()
    # Given another invocation that has just begun to go on, by its own clock
    began = datetime.now(UTC) + skew
    assert uploads.catalog.continue_restore(restore_id, 2, began, stale_after=timedelta(seconds=45))

    assert invoke(uploads, event)["status"] == "IN_PROGRESS"

    assert bodies() == before
    # And when that one has died, its event is repeated
    uploads.catalog.heartbeat_restore(restore_id, began - timedelta(minutes=2), Progress())
    assert invoke(uploads, event)["status"] == "COMPLETED"
    assert len(bodies()) == 9


def test_a_continuation_that_cannot_be_started_says_what_was_done_until_then(
    uploads: Coffre, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(uploads, FILES, tmp_path)
    # Given a large object of which a part is uploaded when the time is over
    begun = BegunUpload(name="photos/film", bucket="photos", key="film", upload_id="U-1", part_bytes=8)
    restore = vars(restore_storage_function)["restore_storage"]

    def restore_some(*arguments: Any) -> Any:
        return restore(*arguments).model_copy(update={"begun": (begun,)})

    monkeypatch.setattr(restore_storage_function, "restore_storage", restore_some)
    counts = iter(range(6))
    context = Context(lambda: 900 if next(counts, None) is not None else 50, "r", "restore")

    class Refusing(Lambda):
        def invoke(self, FunctionName: str, InvocationType: str, Payload: bytes) -> None:  # noqa: N803
            raise EndpointConnectionError(endpoint_url="https://lambda")

    with pytest.raises(CoffreError) as caught:
        invoke(uploads, {"backup_id": "latest", "target": "uploads", "storage": {}}, context, Refusing())

    assert caught.value.code == "INVOKE_FAILED"
    [record] = uploads.catalog.restores()
    written = len(bodies())
    assert 0 < written < 9
    assert record.failure is not None
    assert f"Changed before that, and stays: {written} object" in record.failure.message
    assert "Parts of the upload U-1 of film are left in photos." in record.failure.message


def test_another_store_is_reached_by_a_secret(uploads: Coffre, tmp_path: Path, weed: Weed) -> None:
    keep(uploads, FILES, tmp_path)
    there = {"endpoint": weed.endpoint_url, "region": "us-east-1"}
    key = {"access_key_id": OWNER.access_key_id, "secret_access_key": OWNER.secret_access_key}
    uploads.secret("coffre/destination/other", json.dumps({**there, **key}))
    other = make_client(region="us-east-1", endpoint_url=weed.endpoint_url, credentials=OWNER)
    other.create_bucket(Bucket="copies-of-photos")

    said = invoke(
        uploads,
        {
            "backup_id": "latest",
            "target": "uploads",
            "store": "coffre/destination/other",
            "storage": {"to": "copies-of-photos/2026"},
        },
    )

    assert said["objects"] == 9
    assert len(other.list_objects_v2(Bucket="copies-of-photos", Prefix="2026/")["Contents"]) == 9
    assert bodies() == {}
    assert uploads.catalog.get_restore(said["id"]).destination == f"copies-of-photos/2026 at {weed.endpoint_url}"
    no_secret(uploads)
    assert OWNER.secret_access_key not in "\n".join(uploads.log_lines)


@pytest.mark.parametrize("newer", [True, False], ids=["replaced", "wrong"])
def test_a_destinations_key_is_read_again_when_it_is_refused(
    uploads: Coffre, tmp_path: Path, weed: Weed, monkeypatch: pytest.MonkeyPatch, newer: bool
) -> None:
    """With sixteen streams several requests are under way when the store refuses the first."""
    keep(uploads, {f"photos/{n:03d}": Object(b"%d" % n) for n in range(60)}, tmp_path)
    there = {"endpoint": weed.endpoint_url, "region": "us-east-1", "access_key_id": OWNER.access_key_id}
    right = json.dumps({**there, "secret_access_key": OWNER.secret_access_key})
    wrong = json.dumps({**there, "secret_access_key": "wrong-secret-0123456789"})
    uploads.secret("coffre/destination/rotated", right if newer else wrong)
    other = make_client(region="us-east-1", endpoint_url=weed.endpoint_url, credentials=OWNER)
    bucket = f"rotated-{newer}".lower()
    other.create_bucket(Bucket=bucket)
    reads: list[str] = []

    def read(secrets: Any, reference: str, stage: Any) -> str:
        is_ours = reference == "coffre/destination/rotated"
        reads.extend([stage] if is_ours else [])
        return wrong if is_ours and len(reads) == 1 else read_secret(secrets, reference, stage)

    monkeypatch.setattr(bootstrap, "read_secret", read)
    to = {"store": "coffre/destination/rotated", "storage": {"to": f"{bucket}/here"}}
    event = {"backup_id": "latest", "target": "uploads", **to}

    if newer:
        assert invoke(uploads, event)["objects"] == 60
        assert other.list_objects_v2(Bucket=bucket, Prefix="here/")["KeyCount"] == 60
        assert reads == ["AWSCURRENT"] * 2
        return
    with pytest.raises(CoffreError) as caught:
        invoke(uploads, event)
    assert caught.value.code == "STORE_CREDENTIALS"
    assert reads == ["AWSCURRENT", "AWSCURRENT", "AWSPENDING", "AWSCURRENT"]
    assert "wrong-secret" not in "\n".join(uploads.log_lines)


def test_a_key_that_may_not_write_ends_it_with_one_clear_error(uploads: Coffre, tmp_path: Path, weed: Weed) -> None:
    many = {f"photos/{n:03d}": Object(b"%d" % n) for n in range(60)}
    keep(uploads, many, tmp_path)
    _configure(uploads, endpoint=weed.endpoint_url, secret="coffre/storage/weed")
    uploads.secret(
        "coffre/storage/weed",
        json.dumps({"access_key_id": READER.access_key_id, "secret_access_key": READER.secret_access_key}),
    )
    make_client(region="us-east-1", endpoint_url=weed.endpoint_url, credentials=OWNER).create_bucket(Bucket="photos")

    with pytest.raises(CoffreError) as caught:
        invoke(uploads, {"backup_id": "latest", "target": "uploads", "storage": {}})

    assert caught.value.code == "STORE_DENIED"
    assert "25 objects in a row failed alike" in caught.value.message
    assert "s3:PutObject" in caught.value.message
    alert = uploads.alerts()[-1]
    assert "Restore of uploads FAILED: STORE_DENIED" in alert["Subject"]
    [record] = uploads.catalog.restores()
    assert record.failure is not None
    no_secret(uploads, caught.value)
    assert READER.secret_access_key not in "\n".join([alert["Message"], *uploads.log_lines, str(record)])


def test_a_bucket_that_keeps_and_locks_versions_says_so(uploads: Coffre, tmp_path: Path) -> None:
    s3 = client("s3")
    where = {"LocationConstraint": REGION}
    s3.create_bucket(Bucket="locked", CreateBucketConfiguration=where, ObjectLockEnabledForBucket=True)
    retention = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 30}}
    s3.put_object_lock_configuration(
        Bucket="locked", ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": retention}
    )
    s3.put_object(Bucket="locked", Key="00.txt", Body=b"newer")
    s3.put_object(Bucket="locked", Key="extra", Body=b"extra")
    keep(uploads, FILES, tmp_path)

    storage = {"to": "locked", "mode": "mirror", "no_safety": True}
    said = invoke(uploads, {"backup_id": "latest", "target": "uploads", "storage": storage})

    assert (said["objects"], said["exceptions"]) == (9, 0)
    assert bodies("locked") == {name.partition("/")[2]: found.body for name, found in FILES.items()}
    versions = s3.list_object_versions(Bucket="locked")
    assert {found["Key"] for found in versions["Versions"]} >= {"00.txt", "extra"}
    assert [found["Key"] for found in versions["DeleteMarkers"]] == ["extra"]
    report = json.loads(uploads.objects("v1/restores/")[f"v1/restores/{said['id']}.json"])
    assert report["storage"]["notes"] == [
        "locked keeps versions: what is overwritten or deleted there can be recovered.",
        "locked locks what is written there for 30 days (GOVERNANCE).",
    ]


def test_a_target_that_is_gone_from_the_configuration_needs_a_store(uploads: Coffre, tmp_path: Path) -> None:
    keep(uploads, FILES, tmp_path)
    uploads.configure("postgresql://a@b/c")

    with pytest.raises(CoffreError) as caught:
        invoke(uploads, {"backup_id": "latest", "target": "uploads", "storage": {}})

    assert caught.value.code == "TARGET_UNKNOWN"
    assert "--store" in (caught.value.hint or "")
