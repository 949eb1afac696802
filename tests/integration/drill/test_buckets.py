"""The function `drill` for buckets: some objects restored beside the vault, read again, compared, and removed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, patch

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.contract.weed import OWNER, Weed
from tests.integration.bucket_backups import Object, keep_backup
from tests.integration.conftest import BUCKET, REGION, Coffre, Context
from tests.integration.drills import report_of
from tests.integration.faults import answer
from tests.integration.storage_scene import IDENTITY, Scene
from ulid import ULID

from coffre.buckets.writer import BucketWriter
from coffre.model.backup import Backup
from coffre.model.drill_options import BucketDrill
from coffre.model.drill_report import DrillReport, Verdict
from coffre.model.errors import IntegrityError, StoreTransientError
from coffre.model.manifest import ObjectFacts
from coffre.operations.drill.buckets import StorageDrillJob, drill_storage
from coffre.operations.drill.report_page import page_of
from coffre.operations.drill.scratch_bucket import ScratchPlace
from coffre.operations.drill.sealed_bucket import SealedBucket
from coffre.operations.verify.job import CatalogSnapshot
from coffre.stores.s3 import S3Store
from coffre.stores.s3_client import make_client
from coffre.vault.codec import AGE_MAGIC, FrameDecoder, public_key
from coffre.vault.entries import FRAME_SIZE_BYTES
from coffre.vault.vault import Vault

ATTRIBUTES = {
    "content_type": "text/plain",
    "content_encoding": "gzip",
    "content_disposition": "attachment",
    "content_language": "de",
    "cache_control": "no-store",
    "expires": "0",
    "metadata": {"who": "ada", "town": "Zürich"},
    "tags": {"kind": "a b"},
}
LARGE = os.urandom(2 * FRAME_SIZE_BYTES + 17)
OBJECTS = {
    "photos/empty": Object(),
    "photos/large.bin": Object(LARGE, storage_class="GLACIER"),
    "photos//odd ümlaut&+?%25 🦊": Object(b"odd"),
    "photos/with/attributes.txt": Object(b"all of them", **ATTRIBUTES),
    **{f"photos/small/{n:02d}": Object(b"small %d" % n) for n in range(4)},
    "videos/other": Object(b"of another bucket"),
}


@pytest.fixture
def uploads(coffre: Coffre) -> Coffre:
    """A deployment with the target `uploads`."""
    configure(coffre)
    return coffre


def configure(coffre: Coffre, **drill: Any) -> None:
    buckets = [{"name": "photos"}, {"name": "videos"}]
    target = {"name": "uploads", "kind": "bucket", "buckets": buckets, "drill": drill}
    coffre.document(json.dumps({"encryption": "age", "recipients": [public_key(coffre.identity)], "targets": [target]}))


def keep(coffre: Coffre, scratch: Path, objects: Mapping[str, Object] = OBJECTS, prefix: str = "") -> Backup:
    """Put a backup of these objects into the vault and the catalog."""
    s3 = make_client(session=botocore.session.get_session(), region=REGION)
    vault = Vault(S3Store(BUCKET, prefix=prefix, client=s3))
    backup = keep_backup(vault, objects, scratch, recipients=[public_key(coffre.identity)])
    coffre.catalog.create_backup(backup)
    return backup


def drilled(
    coffre: Coffre, backup: Backup, bucket: BucketWriter | None = None, context: Context | None = None
) -> DrillReport:
    """Drill with one stream, as AWS as moto plays it is not made for several threads; return the report."""
    function = coffre.drill_function()
    place = replace(function.place, bucket=bucket) if bucket else function.place
    function = replace(function, object_streams=1, place=place)
    said = function.handle({"backup_id": backup.id}, context or Context(function_name="drill"))
    report = report_of(coffre, backup)
    assert said["id"] == report.id
    return report


class Lossy(SealedBucket):
    """A bucket that takes everything, and keeps it otherwise or not at all."""

    def __init__(self, operation: str, lose: Any) -> None:
        s3 = make_client(session=botocore.session.get_session(), region=REGION)
        s3.meta.events.register(f"provide-client-params.s3.{operation}", lose)
        super().__init__(s3, BUCKET, is_aws=True)


def scratch_keys(coffre: Coffre, prefix: str = "") -> set[str]:
    return set(coffre.objects(f"{prefix}scratch/"))


# --- a good backup ---


@pytest.mark.parametrize("prefix", ["", "safe/here"])
def test_a_backup_of_few_objects_comes_back_whole_and_is_verified(uploads: Coffre, tmp_path: Path, prefix: str) -> None:
    configure(uploads, rto_minutes=5)
    uploads.environment["COFFRE_VAULT_PREFIX"] = prefix
    backup = keep(uploads, tmp_path, prefix=prefix)
    seen: list[str] = []

    def note(params: dict[str, Any], **_: Any) -> None:
        seen.append(params["Key"])

    report = drilled(uploads, backup, Lossy("PutObject", note))

    assert (report.outcome, report.problems, report.exceptions) == ("passed", (), ())
    assert {one.name: one.verdict for one in report.objects} == dict.fromkeys(OBJECTS, Verdict.EQUAL)
    assert report.sample is not None
    assert (report.sample.chosen, report.sample.objects) == (9, 9)
    assert report.size_bytes == report.sample.size_bytes == sum(len(one.body) for one in OBJECTS.values())
    # All was restored: so it is verified, and the time is that of a restore
    assert uploads.catalog.get_backup(backup.id).verified_at == report.completed_at
    assert report.restore_seconds is not None
    assert report.restore_limit_seconds == 300
    # And it was below the drill's own folder, where nothing is left
    folder = f"{prefix}/scratch/{report.id}/".removeprefix("/")
    assert {f"{folder}{name}" for name in OBJECTS} < set(seen)
    assert all(key.startswith(folder) for key in seen)
    assert scratch_keys(uploads, f"{prefix}/".removeprefix("/")) == set()
    assert uploads.alerts() == []
    assert "photos/with/attributes.txt" in page_of(report)


def test_of_more_objects_a_sample_is_taken_that_verifies_nothing(uploads: Coffre, tmp_path: Path) -> None:
    configure(uploads, objects=6, rto_minutes=5)
    backup = keep(uploads, tmp_path)

    report = drilled(uploads, backup)

    names = {one.name for one in report.objects}
    assert (report.outcome, len(names)) == ("passed", 6)
    assert names >= {"photos/empty", "photos/large.bin", "photos//odd ümlaut&+?%25 🦊", "photos/with/attributes.txt"}
    assert (report.restore_seconds, uploads.catalog.get_backup(backup.id).verified_at) == (None, None)
    assert [limit[:30] for limit in report.limits] == [
        "A sample: 6 of 9 objects. The ",
        "Storage classes and rights of ",
    ]
    assert "A sample was restored and proven, 6 of 9 objects" in page_of(report)
    assert scratch_keys(uploads) == set()


def test_keys_that_get_too_long_or_may_lead_into_the_vault_are_not_drilled(uploads: Coffre, tmp_path: Path) -> None:
    keys = ("x" * 1024, "../../../v1/a", "a/./b")
    backup = keep(uploads, tmp_path, {f"photos/{key}": Object(b"x") for key in keys} | {"photos/y": Object(b"y")})

    report = drilled(uploads, backup)

    assert ([one.name for one in report.objects], report.outcome) == (["photos/y"], "passed")
    assert "3 keys cannot be put below another prefix: too long, or with a part `.` or `..`." in report.limits
    assert uploads.catalog.get_backup(backup.id).verified_at is None


def test_many_objects_at_once_are_restored_and_removed_on_a_real_store(weed: Weed, tmp_path: Path) -> None:
    with closing(make_client(region="us-east-1", endpoint_url=weed.endpoint_url, credentials=OWNER)) as s3:
        scene = Scene(tmp_path, s3)
        bucket = scene.new_bucket()
        scene.put(bucket, "safe/v1/packs/other", b"not of a drill")
        small = {f"photos/{number:03d}.txt": Object(b"%d" % number, tags={"n": str(number)}) for number in range(150)}
        backup = scene.backup({**small, **OBJECTS, "photos/larger": Object(os.urandom(20 * 2**20))})
        job = StorageDrillJob(
            id=str(ULID()),
            backup=backup,
            settings=BucketDrill(objects=1000),
            vault=scene.vault,
            decoder=FrameDecoder([IDENTITY]),
            place=ScratchPlace(SealedBucket(s3, bucket, is_aws=False), "safe/"),
            streams=8,
            now=lambda: datetime.now(UTC),
            remaining_seconds=scene.remaining_seconds,
            look_again=lambda: backup,
        )

        report = drill_storage(job)

        assert (report.outcome, report.problems) == ("passed", ())
        assert report.exceptions == (
            f"{bucket}: some objects have no Expires there: the store does not take a text that is no date.",
        )
        assert {one.name for one in report.objects} == {*small, *OBJECTS, "photos/larger"}
        assert all(one.sha256_found == one.sha256 for one in report.objects)
        assert scene.contents(bucket) == {"safe/v1/packs/other": b"not of a drill"}


@pytest.mark.parametrize("size", [1, 40, 2 * FRAME_SIZE_BYTES + 17, 20 * 2**20])
def test_what_a_drill_stores_can_be_read_by_that_drill_alone(
    uploads: Coffre, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    body = (b"Ada Lovelace, 1815. " * (size // 20 + 1))[:size]
    backup = keep(uploads, tmp_path, {"photos/a": Object(body)})
    monkeypatch.setattr(BucketWriter, "delete", lambda *_: None)

    report = drilled(uploads, backup)

    assert report.outcome == "passed"
    (stored,) = [one for key, one in uploads.objects("scratch/").items() if key.endswith("/a")]
    assert body[:20] not in stored if size > 1 else stored != body
    assert AGE_MAGIC in stored[:30]
    # The key pair was in the memory of that drill: another drill measures only what is stored.
    s3 = make_client(session=botocore.session.get_session(), region=REGION)
    again = SealedBucket(s3, BUCKET, is_aws=True).read_back(f"scratch/{report.id}/a", ObjectFacts())
    assert (again.size, again.sha256) == (len(stored), hashlib.sha256(stored).hexdigest())


@given(chunks=st.lists(st.binary(max_size=80)), cut=st.integers(min_value=1, max_value=50))
def test_a_sealed_object_opens_however_it_is_cut_and_any_other_is_passed_on(chunks: list[bytes], cut: int) -> None:
    bucket = SealedBucket(MagicMock(), "b", is_aws=True)
    stored = b"".join(map(bucket._seal, chunks))

    def opened(data: bytes) -> bytes:
        return b"".join(bucket._open(data[at : at + cut] for at in range(0, len(data), cut)))

    assert opened(stored) == b"".join(chunks)
    foreign = b"".join(chunks)
    assert opened(foreign) == foreign


# --- a bad one ---


def test_a_changed_byte_in_the_vault_is_found_and_marks_the_backup_as_damaged(uploads: Coffre, tmp_path: Path) -> None:
    backup = keep(uploads, tmp_path)
    [pack] = [(key, body) for key, body in uploads.objects("v1/packs/").items() if len(body) > len(LARGE)]
    changed = bytearray(pack[1])
    changed[len(changed) // 2] ^= 1
    uploads.put_object(pack[0], bytes(changed))

    report = drilled(uploads, backup)

    bad = [one for one in report.objects if one.verdict is Verdict.DIFFERENT]
    assert (report.outcome, report.is_damaged, [one.name for one in bad]) == ("failed", True, ["photos/large.bin"])
    assert report.failure is not None
    assert report.failure.code == "OBJECTS_DIFFER"
    found = uploads.catalog.get_backup(backup.id)
    assert (found.damage, found.damaged_at) == (report.damage.words, report.completed_at)
    assert len(report.objects) == 9, "the others are proven all the same"
    assert [one["MessageAttributes"]["kind"]["Value"] for one in uploads.alerts()] == ["DRILL_FAILED"]
    assert scratch_keys(uploads) == set()


def test_damage_is_recorded_though_another_record_of_the_catalog_cannot_be_read(
    uploads: Coffre, tmp_path: Path
) -> None:
    backup = keep(uploads, tmp_path, {"photos/a": Object(b"right")})
    unreadable = IntegrityError("The record of another backup cannot be read.", code="RECORD_DAMAGED")
    [pack] = uploads.objects("v1/packs/")
    uploads.put_object(pack, b"other bytes")

    with patch.object(CatalogSnapshot, "read", side_effect=unreadable):
        report = drilled(uploads, backup)

    assert uploads.catalog.get_backup(backup.id).damage == report.damage.words


def test_an_object_that_the_backup_could_not_read_is_nothing_against_it(uploads: Coffre, tmp_path: Path) -> None:
    archived = Object(b"archived", unread="OBJECT_ARCHIVED: it has to be restored first.")
    backup = keep(uploads, tmp_path, {"photos/a": Object(b"right"), "photos/archived": archived})

    report = drilled(uploads, backup)

    assert (report.outcome, report.problems, [one.name for one in report.objects]) == ("passed", (), ["photos/a"])
    assert any("1 object could not be read when the backup was taken" in limit for limit in report.limits)
    assert uploads.catalog.get_backup(backup.id).verified_at == report.completed_at


def test_other_bytes_than_were_sent_are_found(uploads: Coffre, tmp_path: Path) -> None:
    backup = keep(uploads, tmp_path, {"photos/a": Object(b"right")})

    def change(params: dict[str, Any], **_: Any) -> None:
        if params["Key"].endswith("/a"):
            params["Body"] = b"wrong"
            params.pop("ChecksumSHA256")

    report = drilled(uploads, backup, Lossy("PutObject", change))

    assert [(one.verdict, one.detail) for one in report.objects] == [(Verdict.DIFFERENT, "other bytes")]
    assert report.is_damaged


@pytest.mark.parametrize(
    ("field", "named"),
    [
        ("CacheControl", "cache_control"), ("ContentType", "content_type"), ("ContentEncoding", "content_encoding"),
        ("ContentDisposition", "content_disposition"), ("ContentLanguage", "content_language"),
        ("Metadata", "metadata"), ("Tagging", "tags"),
    ],
)  # fmt: skip
def test_a_lost_attribute_is_found_and_is_no_damage(uploads: Coffre, tmp_path: Path, field: str, named: str) -> None:
    backup = keep(uploads, tmp_path, {"photos/a": Object(b"a", **{**ATTRIBUTES, "expires": None})})

    def lose(params: dict[str, Any], **_: Any) -> None:
        if params["Key"].endswith("/a"):
            del params[field]

    report = drilled(uploads, backup, Lossy("PutObject", lose))

    assert [(one.verdict, one.detail) for one in report.objects] == [(Verdict.DIFFERENT, f"another {named}")]
    assert report.failure is not None
    assert (report.outcome, report.failure.code) == ("failed", "ATTRIBUTES_DIFFER")
    found = uploads.catalog.get_backup(backup.id)
    assert (found.damaged_at, found.verified_at) == (None, None)


def test_a_list_of_entries_without_one_object_is_found(uploads: Coffre, tmp_path: Path) -> None:
    backup = keep(uploads, tmp_path)
    uploads.catalog._backups.change(backup.id, {"objects": 10}, allowed=(backup.status,))

    report = drilled(uploads, backup)

    assert report.failure is not None
    assert (report.outcome, report.failure.code) == ("failed", "TOTALS_DIFFER")


# --- not possible, and what is left ---


@pytest.mark.parametrize("operation", ["PutObject", "GetObject", "GetObjectTagging", "DeleteObject"])
def test_without_its_rights_a_drill_is_not_possible(uploads: Coffre, tmp_path: Path, operation: str) -> None:
    backup = keep(uploads, tmp_path)

    def refuse(**_: Any) -> Any:
        raise answer("AccessDenied", status=403, call=operation)

    s3 = make_client(session=botocore.session.get_session(), region=REGION)
    s3.meta.events.register(f"before-call.s3.{operation}", refuse)

    report = drilled(uploads, backup, SealedBucket(s3, BUCKET, is_aws=True))

    assert report.failure is not None
    assert (report.outcome, report.failure.code, report.is_damaged) == ("not_possible", "SCRATCH_DENIED", False)
    assert "s3:PutObjectTagging" in (report.failure.hint or "")
    assert uploads.catalog.get_backup(backup.id).damaged_at is None
    assert [one["MessageAttributes"]["kind"]["Value"] for one in uploads.alerts()] == ["DRILL_NOT_POSSIBLE"]


def test_after_a_failure_nothing_is_left(uploads: Coffre, tmp_path: Path) -> None:
    backup = keep(uploads, tmp_path)
    asked: list[str] = []

    def stop(params: dict[str, Any], **_: Any) -> None:
        asked.append(params["Key"])
        if len(asked) == 4:
            raise StoreTransientError("The store is gone.")

    with pytest.raises(StoreTransientError):
        drilled(uploads, backup, Lossy("GetObject", stop))

    assert scratch_keys(uploads) == set()


def test_a_drill_that_runs_out_of_time_is_not_possible_and_leaves_nothing(uploads: Coffre, tmp_path: Path) -> None:
    backup = keep(uploads, tmp_path)
    counts = iter(range(1))
    context = Context(lambda: 900 if next(counts, None) is not None else 1, "r", "drill")

    report = drilled(uploads, backup, Lossy("PutObject", _wait_for_the_watch()), context)

    assert report.failure is not None
    assert (report.outcome, report.failure.code) == ("not_possible", "DEADLINE")
    assert scratch_keys(uploads) == set()


def _wait_for_the_watch() -> Any:
    import threading

    def wait(params: dict[str, Any], **_: Any) -> None:
        for thread in threading.enumerate():
            if thread.name == "watch":
                thread.join(30)

    return wait


def test_leftovers_of_dead_drills_are_removed_and_nothing_else(uploads: Coffre, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    dead, alive = (ULID.from_datetime(now - timedelta(hours=hours)) for hours in (25, 23))
    for key in (f"scratch/{dead}/photos/a", f"scratch/{dead}/probe", f"scratch/{alive}/photos/a", "scratch/notes.txt"):
        uploads.put_object(key, b"x")
    backup = keep(uploads, tmp_path)

    drilled(uploads, backup)

    assert scratch_keys(uploads) == {f"scratch/{alive}/photos/a", "scratch/notes.txt"}


def test_a_target_that_wants_no_drill_gets_none_by_hand_either(uploads: Coffre, tmp_path: Path) -> None:
    configure(uploads, objects=0)

    report = drilled(uploads, keep(uploads, tmp_path))

    assert report.failure is not None
    assert (report.outcome, report.failure.code, report.objects) == ("not_possible", "NO_SAMPLE", ())
    assert "PostgreSQL" not in page_of(report)


# --- which ---


class _Functions:
    def __init__(self) -> None:
        self.targets: list[str] = []

    def invoke(self, Payload: bytes, **_: Any) -> None:  # noqa: N803
        self.targets.append(json.loads(Payload)["target"])


def test_each_target_of_buckets_has_a_drill_of_its_own_unless_it_wants_none(
    uploads: Coffre, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(uploads, tmp_path)
    functions, function = _Functions(), uploads.drill_function()
    monkeypatch.setitem(vars(function.services), "functions", functions)

    said = function.handle({}, Context(function_name="drill"))
    configure(uploads, objects=0)
    without = function.handle({}, Context(function_name="drill"))

    assert (said["started"], without["started"], functions.targets) == (["uploads"], [], ["uploads"])


def test_the_newest_backup_of_a_target_of_buckets_is_drilled(uploads: Coffre, tmp_path: Path) -> None:
    keep(uploads, tmp_path, {"photos/a": Object(b"a")})
    backup = keep(uploads, tmp_path, {"photos/b": Object(b"b")})

    said = replace(uploads.drill_function(), object_streams=1).handle({"target": "uploads"}, Context())

    assert (said["backup_id"], said["outcome"], said["objects"]) == (backup.id, "passed", 1)
