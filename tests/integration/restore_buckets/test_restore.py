"""Objects come back from a backup of buckets: all, some, beside, over what is there, and as a mirror."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from botocore.exceptions import EndpointConnectionError
from tests.contract.weed import OWNER, Weed
from tests.integration.bucket_backups import Object
from tests.integration.storage_scene import Scene, counts

from coffre.buckets.writer import BucketWriter
from coffre.model.backup import Backup
from coffre.model.errors import CoffreError, ObjectMissingError
from coffre.model.manifest import ObjectFacts
from coffre.model.restore_report import RestoreReport
from coffre.model.storage import BegunUpload, StorageResult, StorageScope, StorageState
from coffre.operations.restore_buckets import write_object
from coffre.stores.s3_client import make_client
from coffre.vault.object_restores import read_names, write_names


@pytest.fixture
def scene(weed: Weed, tmp_path: Path) -> Iterator[Scene]:
    with closing(make_client(region="us-east-1", endpoint_url=weed.endpoint_url, credentials=OWNER)) as client:
        yield Scene(tmp_path, client)


MIB = 1024 * 1024
BIG = hashlib.shake_256(b"big").digest(17 * 1024 * 1024 + 7)
ATTRIBUTES = {
    "content_type": "text/plain; charset=utf-8",
    "content_encoding": "gzip",
    "content_disposition": 'attachment; filename="ü.txt"'.encode().decode("latin-1"),
    "content_language": "de, en",
    "cache_control": "max-age=60",
    "expires": "Wed, 21 Oct 2026 07:28:00 GMT",
    "metadata": {"owner": "ada", "empty": ""},
    "tags": {"team": "a b", "ü": "1+1=2&"},
}


def files(bucket: str, **more: Object) -> dict[str, Object]:
    """Small objects that share frames, one with a frame of its own, an empty one."""
    small = {f"{bucket}/small/{number:03d}": Object(b"%d" % number * 50) for number in range(40)}
    own = Object(hashlib.shake_256(b"own").digest(300_000))
    return {**small, f"{bucket}/own": own, f"{bucket}/empty": Object(b""), **more}


def keyed(objects: dict[str, Object]) -> dict[str, bytes]:
    return {name.partition("/")[2]: found.body for name, found in objects.items()}


def test_everything_comes_back_and_a_second_run_finds_it_the_same(scene: Scene) -> None:
    bucket = scene.new_bucket()
    objects = files(bucket, **{f"{bucket}/big": Object(BIG)})
    backup = scene.backup(objects, entries_in_a_file=7)

    first = scene.restore(backup)
    again = scene.result(backup)

    assert scene.contents(bucket) == keyed(objects)
    assert first.storage is not None
    assert counts(first.storage) == {"restored": len(objects)}
    assert first.storage.restored.size_bytes == sum(len(found.body) for found in objects.values())
    assert (first.exceptions, first.rows, first.tables) == ((), 0, ())
    assert first.destination == f"{bucket} at here"
    # The etag of what was uploaded in parts is not that of the source: it is read.
    assert counts(again) == {"same": len(objects)}


def test_progress_counts_objects_and_bytes(scene: Scene) -> None:
    bucket = scene.new_bucket()
    objects = files(bucket)

    scene.restore(scene.backup(objects))

    done = scene.meter.read()
    size = sum(len(found.body) for found in objects.values())
    assert (done.done_objects, done.total_objects) == (len(objects), len(objects))
    assert (done.done_bytes, done.total_bytes) == (size, size)


def test_attributes_come_back_of_small_and_large_objects(scene: Scene) -> None:
    bucket = scene.new_bucket()
    objects = {f"{bucket}/{name}": Object(body, **ATTRIBUTES) for name, body in (("a", b"x"), ("big", BIG))}
    ascii_only = {"content_disposition": 'attachment; filename="u.txt"'}
    objects = {name: Object(found.body, **{**ATTRIBUTES, **ascii_only}) for name, found in objects.items()}

    result = scene.result(scene.backup(objects))

    assert counts(result) == {"restored": 2}, result.failures
    for key in ("a", "big"):
        head = scene.client.head_object(Bucket=bucket, Key=key)
        assert head["ContentType"] == ATTRIBUTES["content_type"]
        assert head["ContentEncoding"] == "gzip"
        assert head["ContentDisposition"] == ascii_only["content_disposition"]
        assert head["ContentLanguage"] == "de, en"
        assert head["CacheControl"] == "max-age=60"
        assert head.get("ExpiresString") == ATTRIBUTES["expires"]
        assert head["Metadata"]["owner"] == "ada"
        tags = scene.client.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]
        assert {tag["Key"]: tag["Value"] for tag in tags} == ATTRIBUTES["tags"]


def test_missing_leaves_what_is_there_and_overwrite_sets_it_back(scene: Scene) -> None:
    bucket = scene.new_bucket()
    backup = scene.backup(files(bucket))
    scene.restore(backup)
    scene.put(bucket, "own", b"newer")
    scene.put(bucket, "small/003", b"3" * 50, ContentType="text/html")  # the same bytes, other attributes
    scene.put(bucket, "mine", b"stays")
    scene.client.delete_object(Bucket=bucket, Key="empty")

    missing = scene.result(backup)
    assert counts(missing) == {"restored": 1, "same": 40, "left": 1}
    assert scene.contents(bucket)["own"] == b"newer"

    planned = scene.result(backup, mode="overwrite", dry_run=True)
    assert counts(planned) == {"overwritten": 2, "same": 40}
    assert planned.examples == {"overwritten": (f"{bucket}/own", f"{bucket}/small/003")}
    assert scene.contents(bucket)["own"] == b"newer"

    overwritten = scene.result(backup, mode="overwrite")
    assert counts(overwritten) == {"overwritten": 2, "same": 40}
    assert scene.contents(bucket) == {**keyed(files(bucket)), "mine": b"stays"}
    assert scene.client.head_object(Bucket=bucket, Key="small/003")["ContentType"] != "text/html"


def test_a_mirror_deletes_what_the_backup_would_have_and_nothing_else(scene: Scene) -> None:
    bucket = scene.new_bucket()
    objects = {f"{bucket}/a/{n}.txt": Object(b"%d" % n) for n in range(3)}
    sources = {bucket: {"prefixes": ("a/", "b/"), "exclude": ("a/keep/**",)}}
    backup = scene.backup(objects, sources=sources)
    for key in ("a/extra", "a/keep/x", "b/extra", "c/other"):
        scene.put(bucket, key, b"new")

    planned = scene.result(backup, mode="mirror", dry_run=True)
    assert counts(planned) == {"restored": 3, "deleted": 2}
    assert planned.examples == {"deleted": (f"{bucket}/a/extra", f"{bucket}/b/extra")}
    assert len(scene.contents(bucket)) == 4

    below = scene.result(backup, mode="mirror", prefix="a/")
    assert counts(below) == {"restored": 3, "deleted": 1}
    assert {"b/extra", "c/other", "a/keep/x"} <= set(scene.contents(bucket))

    assert counts(scene.result(backup, mode="mirror")) == {"same": 3, "deleted": 1}
    assert set(scene.contents(bucket)) == {"a/0.txt", "a/1.txt", "a/2.txt", "a/keep/x", "c/other"}


def test_a_mirror_of_an_empty_bucket_empties_it(scene: Scene) -> None:
    bucket = scene.new_bucket()
    scene.put(bucket, "extra")

    assert counts(scene.result(scene.backup({}, sources={bucket: {}}), mode="mirror")) == {"deleted": 1}
    assert scene.contents(bucket) == {}


def test_a_mirror_deletes_nothing_when_something_could_not_be_restored(scene: Scene) -> None:
    bucket = scene.new_bucket()
    unread = Object(b"secret", unread="STORE_DENIED: s3:GetObject was denied.")
    backup = scene.backup({f"{bucket}/a": Object(b"a"), f"{bucket}/gone": unread, f"{bucket}/there": unread})
    scene.put(bucket, "extra")
    scene.put(bucket, "there", b"as it is")

    report = scene.restore(backup, mode="mirror")

    assert report.storage is not None
    assert counts(report.storage) == {"restored": 1, "failed": 1, "left": 1}
    assert "could not be read then. STORE_DENIED" in report.storage.failures[0]
    assert "Nothing was deleted" in "\n".join(report.exceptions)
    assert set(scene.contents(bucket)) == {"a", "extra", "there"}


def test_a_prefix_goes_into_another_bucket_below_a_prefix(scene: Scene) -> None:
    bucket, other = scene.new_bucket(), scene.new_bucket()
    backup = scene.backup(files(bucket), entries_in_a_file=5)

    result = scene.result(backup, prefix="small/01", to=f"{other}/back")

    assert counts(result) == {"restored": 10}
    assert set(scene.contents(other)) == {f"back/small/01{n}" for n in range(10)}
    assert scene.contents(bucket) == {}


def test_objects_of_several_buckets_stay_apart_in_one(scene: Scene) -> None:
    one, two, other = scene.new_bucket(), scene.new_bucket(), scene.new_bucket()
    backup = scene.backup({f"{one}/k": Object(b"1"), f"{two}/k": Object(b"2")})

    scene.restore(backup, to=other)
    scene.restore(backup, bucket=two, to=f"{other}/two/")

    assert scene.contents(other) == {f"{one}/k": b"1", f"{two}/k": b"2", "two/k": b"2"}


def test_chosen_keys_come_back_and_those_that_are_not_in_the_backup_are_named(scene: Scene) -> None:
    bucket = scene.new_bucket()
    backup = scene.backup(files(bucket), entries_in_a_file=5)

    report = scene.restore(backup, keys=("small/007", "no such key", "own"))

    assert report.storage is not None
    assert counts(report.storage) == {"restored": 2, "failed": 1}
    assert set(scene.contents(bucket)) == {"small/007", "own"}
    assert report.exceptions[1] == (
        f"  {bucket}/no such key: The backup has no object {bucket}/no such key. [NOT_IN_BACKUP]"
    )
    assert list(read_names(scene.vault, report.storage.failed_lists)) == [f"{bucket}/no such key"]


def test_a_list_of_names_in_the_vault_is_as_good(scene: Scene) -> None:
    bucket = scene.new_bucket()
    backup = scene.backup(files(bucket), entries_in_a_file=5)
    wanted = sorted(f"{bucket}/small/{n:03d}" for n in range(0, 40, 7))
    key = write_names(scene.vault, "01K9X000000000000000000000", wanted, scene.scratch)

    assert counts(scene.result(backup, names=(key,))) == {"restored": 6}
    assert [f"{bucket}/{key}" for key in scene.contents(bucket)] == wanted


HOSTILE = [
    *("/", "//", "a//b", "/leading", "trailing/", "..", "../up", "a/../b", ".", "a/./b", "a\\b"),
    *("ümlaut", "emoji 🦊", "sp ace +&=?#%25", "A", "a", "\u0301combining", "x" * 1024, "é" * 512),
]


@pytest.mark.parametrize("count", [1, 3])
def test_restored_in_several_invocations_it_is_the_same(scene: Scene, count: int) -> None:
    """The time is over again and again; nothing is lost or done twice at the borders."""
    bucket = scene.new_bucket()
    objects = {f"{bucket}/{n}": Object(b"%d" % n) for n in range(8)}
    backup = scene.backup(objects)
    for key in ("x", "y"):
        scene.put(bucket, key)
    restore_id, state, states = "01K9X000000000000000000001", None, 0
    scene.streams = 1

    while True:
        begun = iter(range(count + 1))
        scene.remaining_seconds = lambda begun=begun: 900.0 if next(begun, None) is not None else 1.0  # type: ignore[misc]
        done = scene.go_on(backup, state, restore_id, mode="mirror")
        if not isinstance(done, StorageState):
            break
        state, states = done, states + 1

    assert states >= 8 // (count + 1)
    assert counts(done.storage) == {"restored": 8, "deleted": 2}
    assert scene.contents(bucket) == keyed(objects)


@pytest.mark.parametrize("mode", ["missing", "overwrite"])
def test_a_large_object_is_finished_by_a_later_invocation(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr(write_object, "PAUSED_BYTES", 5 * MIB)
    bucket, body = scene.new_bucket(), random.Random(1).randbytes(38 * MIB)
    backup = scene.backup({f"{bucket}/big": Object(body), f"{bucket}/small": Object(b"s")})
    if mode == "overwrite":
        scene.put(bucket, "big", b"other")
    restore_id, state, sent = "01K9X000000000000000000003", None, 0
    asked = scene.sending()

    for _ in range(20):
        asked.stop_after(3)
        done = scene.go_on(backup, state, restore_id, mode=mode)
        if not isinstance(done, StorageState):
            break
        assert done.begun
        assert done.begun[0].size > sent
        sent, state = done.begun[0].size, done
    asked.stop_after(None)

    assert isinstance(done, RestoreReport)
    assert scene.contents(bucket) == {"big": body, "small": b"s"}
    assert scene.client.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []


def test_an_upload_that_the_store_has_forgotten_begins_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    state, bucket, body, backup = half_uploaded(scene, monkeypatch)
    scene.client.abort_multipart_upload(Bucket=bucket, Key="big", UploadId=state.begun[0].upload_id)

    report = scene.go_on(backup, state, state.restore_id)

    assert isinstance(report, RestoreReport)
    assert scene.contents(bucket) == {"big": body}


def test_an_upload_whose_bytes_are_missing_leaves_no_parts(scene: Scene) -> None:
    bucket = scene.new_bucket()

    def pieces(start: int) -> Iterator[bytes]:
        yield bytes(9 * MIB - start)
        raise ObjectMissingError("It is gone.")

    with pytest.raises(ObjectMissingError):
        BucketWriter(scene.client, bucket, is_aws=False).upload(
            "big", pieces, ObjectFacts(), size=20 * MIB, if_absent=True
        )

    assert scene.client.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []


def test_an_object_that_came_meanwhile_is_left_and_the_upload_ended(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, bucket, _, backup = half_uploaded(scene, monkeypatch)
    scene.put(bucket, "big", b"somebody's")

    report = scene.go_on(backup, state, state.restore_id)

    assert counts(report.storage) == {"left": 1}
    assert scene.contents(bucket) == {"big": b"somebody's"}
    assert scene.client.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []


@pytest.mark.parametrize("is_refused", [False, True])
def test_an_upload_that_cannot_be_ended_is_named(scene: Scene, is_refused: bool) -> None:
    bucket = scene.new_bucket()
    backup = scene.backup({f"{bucket}/big": Object(b"1")})
    scene.put(bucket, "big", b"other")
    begun = BegunUpload(name=f"{bucket}/big", bucket=bucket, key="big", upload_id="gone", part_bytes=1)
    state = StorageState(
        restore_id="01K9X000000000000000000005", result=StorageResult(scope=StorageScope()), begun=(begun,)
    )

    def refuse(**_: object) -> None:
        if is_refused:
            raise EndpointConnectionError(endpoint_url="https://store")

    scene.client.meta.events.register("before-call.s3.AbortMultipartUpload", refuse, "refuse")
    try:
        report = scene.go_on(backup, state, state.restore_id)
    finally:
        scene.client.meta.events.unregister("before-call.s3.AbortMultipartUpload", refuse, "refuse")

    named = [step for step in report.steps if "upload" in step]
    assert named == [f"Parts of the upload gone of big may be left in {bucket}."] * is_refused


def half_uploaded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> tuple[StorageState, str, bytes, Backup]:
    """Restore a part of a large object."""
    monkeypatch.setattr(write_object, "PAUSED_BYTES", 5 * MIB)
    bucket, body = scene.new_bucket(), random.Random(2).randbytes(38 * MIB)
    backup = scene.backup({f"{bucket}/big": Object(body)})
    asked = scene.sending()
    asked.stop_after(3)
    state = scene.go_on(backup, None, "01K9X000000000000000000004")
    asked.stop_after(None)
    assert isinstance(state, StorageState)
    assert [one.name for one in state.begun] == [f"{bucket}/big"]
    return state, bucket, body, backup


def test_an_object_that_never_fits_into_an_invocation_is_told_and_passed_over(scene: Scene) -> None:
    bucket = scene.new_bucket()
    backup = scene.backup({f"{bucket}/big": Object(BIG), f"{bucket}/small": Object(b"s")})
    restore_id = "01K9X000000000000000000002"
    scene.remaining_seconds = lambda: 900.0 if scene.stop.is_set() else scene.stop.set() or 900.0  # type: ignore[func-returns-value]

    state = scene.go_on(backup, None, restore_id)
    assert isinstance(state, StorageState)
    scene.stop, scene.remaining_seconds = threading.Event(), lambda: 900.0
    report = scene.go_on(backup, state, restore_id)

    assert counts(report.storage) == {"restored": 1, "failed": 1}
    assert "cannot be restored within one invocation" in report.storage.failures[0]
    assert scene.contents(bucket) == {"small": b"s"}


def test_damage_in_the_vault_costs_the_damaged_objects_alone(scene: Scene) -> None:
    bucket = scene.new_bucket()
    backup = scene.backup({f"{bucket}/big": Object(BIG), f"{bucket}/small": Object(b"s")})
    manifest = scene.vault.read_manifest(backup.manifest_key or "", sha256=backup.manifest_sha256 or "")
    big = next(entry for entry in scene.vault.entries(manifest) if entry.name.endswith("big"))
    last = big.frames[-1]
    path = scene.root / "vault" / last.pack
    body = bytearray(path.read_bytes())
    body[last.offset + last.length - 1] ^= 1
    path.write_bytes(body)

    report = scene.restore(backup)

    assert report.storage is not None
    assert counts(report.storage) == {"restored": 1, "failed": 1}
    assert "[FRAME_DAMAGED]" in report.storage.failures[0]
    assert scene.contents(bucket) == {"small": b"s"}
    assert scene.client.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []


@pytest.mark.parametrize("mode", ["missing", "mirror"])
def test_a_damaged_list_of_entries_costs_what_it_names_alone(scene: Scene, mode: str) -> None:
    bucket = scene.new_bucket()
    backup = scene.backup({f"{bucket}/{n}": Object(b"%d" % n) for n in range(1, 7)}, entries_in_a_file=2)
    manifest = scene.vault.read_manifest(backup.manifest_key or "", sha256=backup.manifest_sha256 or "")
    (scene.root / "vault" / manifest.entries[1].key).write_bytes(b"other")
    for key in ("3", "extra"):
        scene.put(bucket, key, b"in use")

    report = scene.restore(backup, mode=mode)

    assert counts(report.storage) == {"restored": 4}  # type: ignore[arg-type]
    assert set(scene.contents(bucket)) == {"1", "2", "5", "6", "3", "extra"}
    assert report.exceptions[0].startswith(f"Up to 2 objects from '{bucket}/3' on: The list of entries")
    listed = scene.restore(backup, bucket=bucket, keys=["2", "3", "6"])
    assert counts(listed.storage) == {"same": 2, "failed": 1}  # type: ignore[arg-type]
    assert "[ENTRIES_SWAPPED]" in listed.exceptions[1]
    below = scene.restore(backup, bucket=bucket, prefix="3")
    assert len(below.exceptions) == 1


@pytest.mark.parametrize(
    ("scope", "code"),
    [
        ({"prefix": "no/such"}, "PREFIX_UNMATCHED"),
        ({"bucket": "other"}, "BUCKET_UNKNOWN"),
        ({"to": "no-such-bucket"}, "BUCKET_MISSING"),
        ({"names": ("v1/restores/none",)}, "NAMES_INVALID"),
    ],
)
def test_what_cannot_be_is_refused_at_once(scene: Scene, scope: dict[str, object], code: str) -> None:
    bucket = scene.new_bucket()

    with pytest.raises(CoffreError) as caught:
        scene.restore(scene.backup(files(bucket)), **scope)

    assert caught.value.code == code
    assert caught.value.hint
    assert scene.contents(bucket) == {}


def test_a_key_of_several_buckets_needs_to_be_told_which(scene: Scene) -> None:
    backup = scene.backup({"one/k": Object(b"1"), "two/k": Object(b"2")})

    with pytest.raises(CoffreError) as caught:
        scene.restore(backup, keys=("k",), dry_run=True)

    assert caught.value.code == "BUCKET_AMBIGUOUS"
    assert "one, two" in str(caught.value)
