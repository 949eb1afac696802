"""Stores that refuse tags, grants, trailers and checksums: as the vault, as what is backed up, as a destination."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.contract.conftest import MakeStore
from tests.contract.faults import Answer, FaultyStore
from tests.contract.objects import put
from tests.contract.refusing import STORES, refusing
from tests.contract.weed import OWNER, Weed
from tests.integration import capture_scene, storage_scene
from tests.integration.bucket_backups import Object
from tests.integration.storage_scene import counts

from coffre.buckets.open_reader import open_reader
from coffre.model.bucket_target import BucketTarget
from coffre.model.errors import RestoreError, StoreError
from coffre.model.restore_report import RestoreReport
from coffre.model.storage import StorageState
from coffre.operations.backup_buckets import plan as storage_plan
from coffre.operations.restore_buckets.restore import restore_storage
from coffre.operations.runs.run import Paused
from coffre.stores.s3_client import make_client
from coffre.vault.bucket_progress import BucketProgress, Counts, read_progress

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

LARGE = bytes(range(256)) * 70_000


@pytest.fixture(params=STORES)
def store(weed: Weed, request: pytest.FixtureRequest) -> Iterator[FaultyStore]:
    """Each kind of store in turn."""
    with refusing(weed.endpoint_url, request.param) as found:
        yield found


@pytest.fixture
def client(store: FaultyStore) -> Iterator[S3Client]:
    with closing(make_client(region="us-east-1", endpoint_url=store.endpoint_url, credentials=OWNER)) as client:
        yield client


# --- the vault ---


def test_as_a_vault_it_needs_the_checksum_md5(store: FaultyStore, store_at: MakeStore) -> None:
    vault = store_at(store.endpoint_url, checksum="md5")

    put(vault, "pack", LARGE)

    assert vault.get_range("pack", 3, 9) == LARGE[3:12]
    assert [found.size for found in vault.list()] == [len(LARGE)]
    assert vault.head("pack").sha256 is not None
    vault.delete("pack")
    assert list(vault.list()) == []


def test_as_a_vault_with_other_checksums_it_says_which_one_to_set(store: FaultyStore, store_at: MakeStore) -> None:
    with pytest.raises(StoreError) as refused:
        put(store_at(store.endpoint_url, checksum="sha256"), "pack", b"1")

    assert refused.value.code == "CHECKSUM_UNSUPPORTED"
    assert "'md5'" in (refused.value.hint or "")


@pytest.mark.parametrize(
    "answer",
    [
        Answer.error(501, "NotImplemented", "A header you provided implies functionality that is not implemented"),
        Answer.error(400, "InvalidArgument", "Unsupported header 'if-none-match' received for this API call."),
    ],
    ids=["unnamed", "named"],
)
def test_as_a_vault_without_conditions_it_takes_new_objects_and_replaces_none(
    weed: Weed, store_at: MakeStore, answer: Answer
) -> None:
    with FaultyStore(weed.endpoint_url) as server:
        server.script = lambda request: answer if "if-none-match" in request.headers else None  # type: ignore[assignment,return-value]
        vault = store_at(server.endpoint_url)

        put(vault, "pack", b"first", if_absent=True)
        with pytest.raises(StoreError) as refused:
            put(vault, "pack", b"second", if_absent=True)
        put(vault, "pack-2", b"third", if_absent=True)

        assert refused.value.code == "OBJECT_EXISTS"
        assert [vault.get(key) for key in ("pack", "pack-2")] == [b"first", b"third"]
        # Asked once whether it knows the condition
        assert sum("if-none-match" in request.headers for request in server.requests) == 1


def test_as_a_vault_with_other_checksums_it_says_so_for_new_objects_too(
    store: FaultyStore, store_at: MakeStore
) -> None:
    with pytest.raises(StoreError) as refused:
        put(store_at(store.endpoint_url, checksum="sha256"), "pack", b"1", if_absent=True)

    assert refused.value.code == "CHECKSUM_UNSUPPORTED"


# --- what is backed up ---


@pytest.fixture
def source(store: FaultyStore, client: S3Client, tmp_path: Path) -> Iterator[capture_scene.Scene]:
    """Thirty objects there, and a target that wants everything about them."""
    bucket = storage_scene.Scene(tmp_path, client).new_bucket()
    for number in range(30):
        client.put_object(Bucket=bucket, Key=f"{number:03}", Body=b"%d" % number, ContentType="text/plain")
    document = {"store": {"endpoint": store.endpoint_url}, "buckets": [{"name": bucket}], "attributes": "compare"}
    target = BucketTarget.model_validate({"name": "files", "kind": "bucket", **document})
    with open_reader(target, OWNER, stopping=threading.Event()) as reader:
        yield capture_scene.Scene(tmp_path, reader.wire, document, has_acls=True)


def test_as_a_source_its_refusals_are_one_note_each_and_no_exception(
    source: capture_scene.Scene, store: FaultyStore
) -> None:
    first = source.backup()
    store.requests.clear()
    second = source.backup()

    assert len(source.bodies(second)) == 30
    assert (first.exceptions, second.exceptions) == ((), ())
    assert second.storage.changed == 0
    assert sum("Tags of objects" in note for note in second.notes) == 1
    assert not any("CHECKSUM" in note for note in second.notes)
    # All connections may ask at the same time, and learn it together.
    assert sum("tagging" in request.path for request in store.requests) <= source.target.limits.streams


def test_a_run_that_ends_in_an_invocation_continues_from_what_was_written_down(
    source: capture_scene.Scene, store: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The packs of the invocation that ended are in the vault, and its progress is not."""
    monkeypatch.setattr(storage_plan, "_READ_OBJECTS", 5)
    source.workers = 1
    refused = store.script
    calls = iter(range(10**6))
    source.remaining = lambda: 900.0 if next(calls) < 8 else 70.0
    backup = source.begin()
    assert isinstance(source.invoke(backup), Paused)
    source.remaining = lambda: 900.0
    progress = read_progress(source.vault, "files", backup.id)
    gone = Answer.error(403, "InvalidAccessKeyId")
    store.script = lambda one: gone if "/029" in one.path else refused and refused(one)  # type: ignore[assignment,return-value]
    with pytest.raises(StoreError):
        source.invoke(backup, progress)
    store.script = refused

    made = source.invoke(backup, progress)

    assert not isinstance(made, Paused)
    assert len(source.bodies(made[0])) == 30
    assert made[0].storage.objects == 30


def test_a_run_does_not_continue_with_other_buckets(source: capture_scene.Scene) -> None:
    backup = source.begin()
    made = source.invoke(backup)
    assert not isinstance(made, Paused)
    progress = BucketProgress(
        invocations=1,
        position="",
        parts=0,
        previous=None,
        entries=(),
        packs=(),
        live_bytes={},
        counts=Counts(),
        source="http://elsewhere 0",
    )

    with pytest.raises(StoreError) as refused:
        source.invoke(backup, progress)

    assert refused.value.code == "SOURCE_CHANGED"


# --- the destination ---


def test_as_a_destination_it_gets_what_it_takes_and_the_rest_is_named(
    store: FaultyStore, client: S3Client, tmp_path: Path
) -> None:
    scene = storage_scene.Scene(tmp_path, client)
    bucket = scene.new_bucket()
    facts = {"tags": {"a": "b"}, "redirect": "/other"}
    objects = {f"{bucket}/{number}": Object(b"%d" % number, **facts) for number in range(3)}
    backup = scene.backup({**objects, f"{bucket}/large": Object(LARGE, **facts)})

    report = scene.restore(backup)

    assert report.storage is not None
    assert counts(report.storage) == {"restored": 4}
    assert "no tags there" in "\n".join(report.exceptions)
    assert "redirect" in "\n".join(report.exceptions)
    assert scene.contents(bucket)["large"] == LARGE


@pytest.mark.parametrize("mode", ["overwrite", "mirror"])
def test_as_a_destination_its_objects_are_compared_without_tags(
    store: FaultyStore, client: S3Client, tmp_path: Path, mode: str
) -> None:
    scene = storage_scene.Scene(tmp_path, client)
    bucket = scene.new_bucket()
    backup = scene.backup({f"{bucket}/{number}": Object(b"%d" % number) for number in range(5)})
    scene.restore(backup)
    scene.put(bucket, "3", b"other")

    report = scene.restore(backup, mode=mode)

    assert report.storage is not None
    assert counts(report.storage) == {"same": 4, "overwritten": 1}
    assert report.exceptions == ()


def test_a_restore_that_is_interrupted_does_not_continue_in_another_store(
    store: FaultyStore, client: S3Client, weed: Weed, tmp_path: Path
) -> None:
    """Its first half would be missing there. Begun again, it brings everything."""
    scene = storage_scene.Scene(tmp_path, client, streams=1)
    bucket = scene.new_bucket()
    objects = {f"{bucket}/{number}": Object(b"%d" % number) for number in range(6)}
    backup = scene.backup(objects)
    calls = iter(range(100))
    scene.remaining_seconds = lambda: 900.0 if next(calls) < 3 else 1.0
    state = scene.go_on(backup, None, "01K9X000000000000000000009")
    assert isinstance(state, StorageState)
    scene.remaining_seconds = lambda: 900.0
    job = replace(scene.job(backup, state.restore_id), store="elsewhere")

    with pytest.raises(RestoreError) as refused:
        restore_storage(job, state, scene.meter)

    assert refused.value.code == "DESTINATION_CHANGED"
    done = scene.go_on(backup, state, state.restore_id)
    assert isinstance(done, RestoreReport)
    assert len(scene.contents(bucket)) == 6
    with closing(make_client(region="us-east-1", endpoint_url=weed.endpoint_url, credentials=OWNER)) as other:
        scene.client = other
        client.delete_object(Bucket=bucket, Key="0")
        assert counts(scene.result(backup)) == {"restored": 1, "same": 5}
