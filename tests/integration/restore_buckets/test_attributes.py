"""What is compared before an object is written again: bytes by what can be proven, attributes, tags; and where."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.contract.faults import Answer, FaultyStore
from tests.contract.weed import OWNER, Weed
from tests.integration.bucket_backups import Object
from tests.integration.storage_scene import Scene, counts

from coffre.buckets.writer_likeness import Proof, proof_of
from coffre.model.manifest import ObjectFacts
from coffre.operations.restore_buckets import write_object as restore_storage_write
from coffre.stores.s3_client import RetryLimits, make_client

LARGE = bytes(range(251)) * 50_000
PART_BYTES = 5 * 1024 * 1024


@pytest.fixture
def network(weed: Weed) -> Iterator[FaultyStore]:
    with FaultyStore(weed.endpoint_url) as proxy:
        yield proxy


@pytest.fixture
def scene(network: FaultyStore, tmp_path: Path) -> Iterator[Scene]:
    client = make_client(
        region="us-east-1", endpoint_url=network.endpoint_url, credentials=OWNER, limits=RetryLimits(2)
    )
    with closing(client):
        yield Scene(tmp_path, client)


def puts(network: FaultyStore, *, of_tags: bool = False) -> int:
    return sum(one.method == "PUT" and ("tagging" in one.path) == of_tags for one in network.requests)


def untouched(scene: Scene, bucket: str, **facts: Any) -> Any:
    """A backup of `k` as it is in the bucket by size, etag and time, with these facts."""
    scene.put(bucket, "k", b"k" * 50, ContentType="image/png", Tagging="team=web")
    listed = scene.client.list_objects_v2(Bucket=bucket)["Contents"][0]
    return scene.backup({f"{bucket}/k": Object(b"k" * 50, **{"last_modified": listed["LastModified"], **facts})})


def tags(scene: Scene, bucket: str) -> dict[str, str]:
    found = scene.client.get_object_tagging(Bucket=bucket, Key="k")["TagSet"]
    return {tag["Key"]: tag["Value"] for tag in found}


@pytest.mark.parametrize("mode", ["overwrite", "mirror"])
@pytest.mark.parametrize("wanted", [{}, {"team": "shop"}, {"team": "web", "more": "1"}])
def test_tags_that_changed_alone_are_set_back(
    scene: Scene, network: FaultyStore, mode: str, wanted: dict[str, str]
) -> None:
    bucket = scene.new_bucket()
    backup = untouched(scene, bucket, tags=wanted)
    network.requests.clear()

    planned = scene.result(backup, mode=mode, dry_run=True)
    assert (counts(planned), puts(network), puts(network, of_tags=True)) == ({"overwritten": 1}, 0, 0)
    result = scene.result(backup, mode=mode)

    assert counts(result) == {"overwritten": 1}
    assert tags(scene, bucket) == wanted
    assert (puts(network), puts(network, of_tags=True)) == (0, 1)  # its bytes are not sent again
    assert counts(scene.result(backup, mode=mode)) == {"same": 1}


def test_other_attributes_of_what_looks_untouched_are_set_back(scene: Scene) -> None:
    bucket = scene.new_bucket()
    backup = untouched(scene, bucket, tags={"team": "web"}, content_type="image/webp", metadata={"who": "ada"})

    assert counts(scene.result(backup, mode="overwrite")) == {"overwritten": 1}
    head = scene.client.head_object(Bucket=bucket, Key="k")
    assert (head["ContentType"], head["Metadata"]) == ("image/webp", {"who": "ada"})
    assert counts(scene.result(backup, mode="overwrite")) == {"same": 1}


def test_an_object_whose_tags_may_not_be_set_alone_is_written_again(scene: Scene, network: FaultyStore) -> None:
    bucket = scene.new_bucket()
    backup = untouched(scene, bucket, tags={"team": "shop"})
    denied = Answer.error(403, "AccessDenied")
    network.script = lambda one: denied if one.method == "PUT" and "tagging" in one.path else None  # type: ignore[assignment,return-value]

    assert counts(scene.result(backup, mode="overwrite")) == {"overwritten": 1}
    assert tags(scene, bucket) == {"team": "shop"}


def test_tags_that_may_not_be_read_are_named_and_cost_nothing(scene: Scene, network: FaultyStore) -> None:
    bucket = scene.new_bucket()
    backup = untouched(scene, bucket)
    network.script = lambda one: Answer.error(403, "AccessDenied") if "tagging" in one.path else None  # type: ignore[assignment,return-value]

    report = scene.restore(backup, mode="mirror")

    assert report.storage is not None
    assert counts(report.storage) == {"same": 1}
    assert report.exceptions == (f"{bucket}: tags were not compared: s3:GetObjectTagging was denied.",)


def in_parts(scene: Scene, bucket: str, body: bytes) -> None:
    """Write an object in parts of another size than restores do."""
    where: dict[str, Any] = {"Bucket": bucket, "Key": "k"}
    upload = scene.client.create_multipart_upload(**where, ContentType="image/png")["UploadId"]
    parts: list[Any] = []
    for number, start in enumerate(range(0, len(body), PART_BYTES), 1):
        part = body[start : start + PART_BYTES]
        etag = scene.client.upload_part(**where, UploadId=upload, PartNumber=number, Body=part)["ETag"]
        parts.append({"PartNumber": number, "ETag": etag})
    scene.client.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": parts})


@pytest.mark.parametrize("mode", ["missing", "overwrite", "mirror"])
def test_the_same_bytes_in_other_parts_are_the_same(scene: Scene, network: FaultyStore, mode: str) -> None:
    bucket = scene.new_bucket()
    backup = scene.backup({f"{bucket}/k": Object(LARGE)})
    in_parts(scene, bucket, LARGE)
    network.requests.clear()

    assert counts(scene.result(backup, mode=mode)) == {"same": 1}
    assert puts(network) == 0


@pytest.mark.parametrize(("mode", "outcome"), [("missing", "left"), ("overwrite", "overwritten")])
def test_other_bytes_of_the_same_size_in_parts_are_others(scene: Scene, mode: str, outcome: str) -> None:
    bucket = scene.new_bucket()
    backup = scene.backup({f"{bucket}/k": Object(LARGE)})
    in_parts(scene, bucket, LARGE[:-1] + b"!")

    assert counts(scene.result(backup, mode=mode)) == {outcome: 1}


def test_no_more_is_read_than_is_allowed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restore_storage_write.ReadAllowance.__init__, "__defaults__", (len(LARGE) - 1,))
    bucket = scene.new_bucket()
    backup = scene.backup({f"{bucket}/k": Object(LARGE)})
    in_parts(scene, bucket, LARGE)

    assert counts(scene.result(backup)) == {"left": 1}


MD5, OTHER = "0" * 32, "1" * 32


@pytest.mark.parametrize(
    ("etag", "head", "proof"),
    [
        (MD5, {"ETag": f'"{MD5}"'}, Proof.SAME),
        (MD5, {"ETag": f'"{OTHER}"'}, Proof.OTHER),
        (MD5, {"ETag": f'"{OTHER}"', "ServerSideEncryption": "aws:kms"}, Proof.NONE),
        (MD5, {"ETag": f'"{OTHER}"', "SSECustomerAlgorithm": "AES256"}, Proof.NONE),
        (MD5, {"ETag": f'"{OTHER}-2"'}, Proof.NONE),
        (f"{MD5}-3", {"ETag": f'"{MD5}-2"'}, Proof.NONE),
        (None, {}, Proof.NONE),
        (MD5, {"ETag": f'"{OTHER}"', "ChecksumSHA256": base64.b64encode(b"\xff" * 32).decode()}, Proof.SAME),
        (MD5, {"ETag": f'"{OTHER}-2"', "ChecksumSHA256": "AAAA"}, Proof.OTHER),
        (MD5, {"ETag": f'"{OTHER}-2"', "ChecksumSHA256": "AAAA-2"}, Proof.NONE),
    ],
)
def test_what_checksums_prove(etag: str | None, head: Any, proof: Proof) -> None:
    assert proof_of(ObjectFacts(etag=etag), head, "ff" * 32) is proof


def test_a_mirror_elsewhere_names_what_it_deletes_where_it_is(scene: Scene, network: FaultyStore) -> None:
    bucket, other = scene.new_bucket(), scene.new_bucket()
    backup = scene.backup({f"{bucket}/a": Object(b"a"), f"{bucket}/b": Object(b"b")})
    scene.put(bucket, "extra")
    for key in ("back/extra", "back/locked", "back/b"):
        scene.put(other, key)

    planned = scene.restore(backup, mode="mirror", to=f"{other}/back", dry_run=True)
    denied = Answer.error(403, "AccessDenied")
    network.script = lambda one: denied if one.method == "DELETE" and "locked" in one.path else None  # type: ignore[assignment,return-value]
    done = scene.restore(backup, mode="mirror", to=f"{other}/back")

    assert planned.storage is not None
    assert done.storage is not None
    assert planned.storage.examples == {
        "overwritten": (f"{other}/back/b",),
        "deleted": (f"{other}/back/extra", f"{other}/back/locked"),
    }
    assert planned.steps[-1].startswith(f"Delete 2 objects (0 bytes): in {other}/back at here, ")
    assert not any(f"{bucket}" in text for text in (*planned.steps, *done.storage.failures, *done.exceptions))
    assert done.storage.failures[0].startswith(f"{other}/back/locked: ")
    assert done.storage.failed_lists == ()  # there is nothing to restore again
    assert set(scene.contents(bucket)) == {"extra"}


def test_tags_that_a_backup_does_not_know_stay(scene: Scene) -> None:
    bucket = scene.new_bucket()
    scene.put(bucket, "a", b"a", ContentType="image/png", Tagging="team=web")
    backup = scene.backup({f"{bucket}/a": Object(b"a", unknown=("tags",))})

    assert counts(scene.result(backup, mode="overwrite")) == {"same": 1}


def test_a_failure_elsewhere_names_both_places(scene: Scene, network: FaultyStore) -> None:
    bucket, other = scene.new_bucket(), scene.new_bucket()
    backup = scene.backup({f"{bucket}/a": Object(b"a")})
    network.script = lambda one: Answer.error(403, "AccessDenied") if one.method == "PUT" else None  # type: ignore[assignment,return-value]

    result = scene.result(backup, to=other)

    assert result.failures[0].startswith(f"{bucket}/a (to {other}/a): ")
    assert len(result.failed_lists) == 1


def test_an_empty_content_type_and_a_redirect_are_sent(scene: Scene, network: FaultyStore) -> None:
    bucket = scene.new_bucket()
    backup = scene.backup({f"{bucket}/a": Object(b"a", content_type="", redirect="/new")})

    scene.restore(backup)

    sent = next(one for one in network.requests if one.method == "PUT" and one.path.endswith("/a"))
    assert sent.headers["content-type"] == ""
    assert sent.headers["x-amz-website-redirect-location"] == "/new"


def test_a_key_of_kms_that_is_not_used_there_is_named(scene: Scene) -> None:
    bucket = scene.new_bucket()
    backup = scene.backup({f"{bucket}/{n}": Object(b"a", kms_key="arn:aws:kms:eu:1:key/k") for n in range(3)})

    report = scene.restore(backup)

    assert report.storage is not None
    assert report.exceptions == ()
    assert sum("arn:aws:kms:eu:1:key/k" in note for note in report.storage.notes) == 1
