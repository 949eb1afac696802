"""What networks, busy stores and other people do to a restore of objects."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.contract.faults import Answer, Fault, FaultyStore, FlipByte, LoseAnswer, Request
from tests.contract.weed import OWNER, WRITER, Weed
from tests.integration.bucket_backups import Object
from tests.integration.storage_scene import Scene, counts

from coffre.model.errors import CoffreError
from coffre.stores.s3_client import RetryLimits, make_client

LARGE = hashlib.shake_256(b"large").digest(17 * 1024 * 1024)
SLOW_DOWN = Answer.error(503, "SlowDown", "Please reduce your request rate.")
DENIED = Answer.error(403, "AccessDenied", "Access Denied")


@pytest.fixture
def network(weed: Weed) -> Iterator[FaultyStore]:
    with FaultyStore(weed.endpoint_url) as proxy:
        yield proxy


@pytest.fixture
def scene(network: FaultyStore, tmp_path: Path) -> Iterator[Scene]:
    """A store behind a network that does what a test says, asked once more by a client that does not wait long."""
    client = make_client(
        region="us-east-1", endpoint_url=network.endpoint_url, credentials=OWNER, limits=RetryLimits(2)
    )
    with closing(client):
        yield Scene(tmp_path, client, streams=1)


def on(method: str, *faults: Fault, which: Callable[[Request], bool] = lambda _: True) -> Callable[[Request], Answer]:
    """Meet the next requests of this kind with these faults, and the others with none."""
    left = list(faults)

    def script(request: Request) -> Answer:
        is_meant = request.method == method and which(request) and left
        return left.pop(0) if is_meant else None  # type: ignore[return-value]

    return script


def always(answer: Fault, which: Callable[[Request], bool]) -> Callable[[Request], Answer]:
    return lambda request: answer if which(request) else None  # type: ignore[return-value]


def small(bucket: str, count: int = 3) -> dict[str, Object]:
    return {f"{bucket}/{number:03d}": Object(b"%d" % number * 100) for number in range(count)}


@pytest.mark.parametrize("fault", [FlipByte(3), SLOW_DOWN, LoseAnswer()], ids=["damaged", "throttled", "lost answer"])
@pytest.mark.parametrize("mode", ["missing", "overwrite"])
def test_what_passes_does_no_harm(scene: Scene, network: FaultyStore, fault: Fault, mode: str) -> None:
    bucket = scene.new_bucket()
    backup = scene.backup(small(bucket))
    network.script = on("PUT", fault)

    result = scene.result(backup, mode=mode)

    assert counts(result) == {"restored": 3}
    network.script = None
    assert scene.contents(bucket) == {name.partition("/")[2]: one.body for name, one in small(bucket).items()}


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_an_answer_about_a_large_object_that_is_lost_does_no_harm(
    scene: Scene, network: FaultyStore, method: str
) -> None:
    bucket = scene.new_bucket()
    backup = scene.backup({f"{bucket}/large": Object(LARGE)})
    network.script = on(method, LoseAnswer(), which=lambda request: "uploadId" in request.path)

    assert counts(scene.result(backup)) == {"restored": 1}

    network.script = None
    assert scene.contents(bucket) == {"large": LARGE}


def test_a_large_object_that_cannot_be_finished_leaves_nothing(scene: Scene, network: FaultyStore) -> None:
    bucket = scene.new_bucket()
    backup = scene.backup({f"{bucket}/large": Object(LARGE), f"{bucket}/small": Object(b"s")})
    network.script = always(SLOW_DOWN, lambda request: "partNumber=2" in request.path)

    report = scene.restore(backup)

    network.script = None
    assert report.storage is not None
    assert counts(report.storage) == {"restored": 1, "failed": 1}
    assert "[STORE_THROTTLED]" in report.storage.failures[0]
    assert scene.contents(bucket) == {"small": b"s"}
    assert scene.client.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []
    assert counts(scene.result(backup, names=report.storage.failed_lists)) == {"restored": 1}
    assert scene.contents(bucket)["large"] == LARGE


def test_a_folder_that_may_not_be_written_to_costs_no_other_object(scene: Scene, network: FaultyStore) -> None:
    bucket = scene.new_bucket()
    objects = {f"{bucket}/{key}": Object(b"x") for key in ["a", *(f"locked/{n}" for n in range(30)), "z"]}
    backup = scene.backup(objects)
    network.script = always(DENIED, lambda request: request.method == "PUT" and "/locked/" in request.path)

    report = scene.restore(backup)

    assert report.storage is not None
    assert counts(report.storage) == {"restored": 2, "failed": 30}
    assert set(scene.contents(bucket)) == {"a", "z"}


def test_a_store_that_dies_in_the_middle_ends_it_and_a_second_run_brings_the_rest(
    scene: Scene, network: FaultyStore
) -> None:
    bucket = scene.new_bucket()
    backup = scene.backup(small(bucket, 60))
    alive = iter(range(10))
    network.script = always(
        Answer.error(500, "InternalError"), lambda request: request.method == "PUT" and next(alive, None) is None
    )
    scene.client = make_client(
        region="us-east-1", endpoint_url=network.endpoint_url, credentials=OWNER, limits=RetryLimits(1)
    )

    with pytest.raises(CoffreError) as caught:
        scene.restore(backup)

    assert caught.value.code == "STORE_UNAVAILABLE"
    assert "25 objects in a row failed alike" in caught.value.message
    assert "the 10 objects that are restored will be found the same" in (caught.value.hint or "")
    network.script = None
    assert counts(scene.result(backup)) == {"restored": 50, "same": 10}
    scene.client.close()


@pytest.mark.parametrize(
    ("header", "message", "note"),
    [
        ("if-none-match", "A header you provided implies functionality that is not implemented", None),
        ("x-amz-tagging", "Header 'x-amz-tagging' with value 'a=b' not implemented", "no tags there"),
        ("x-amz-storage-class", "", "the default storage class there"),
    ],
)
def test_what_the_store_does_not_know_is_done_without_and_told(
    scene: Scene, network: FaultyStore, header: str, message: str, note: str | None
) -> None:
    bucket = scene.new_bucket()
    facts = {"tags": {"a": "b"}} if "tagging" in header else {"storage_class": "GLACIER_IR"}
    objects = {name: Object(one.body, **facts) for name, one in small(bucket).items()}
    code = "InvalidStorageClass" if "class" in header else "NotImplemented"
    network.script = always(
        Answer.error(400 if "class" in header else 501, code, message), lambda one: header in one.headers
    )
    scene.client = make_client(
        region="us-east-1", endpoint_url=network.endpoint_url, credentials=OWNER, limits=RetryLimits(1)
    )

    report = scene.restore(scene.backup(objects))

    assert report.storage is not None
    assert counts(report.storage) == {"restored": 3}
    assert report.exceptions == report.storage.lacking
    assert len(report.exceptions) == (1 if note else 0)
    assert note is None or note in report.exceptions[0]
    assert sum(header in request.headers for request in network.requests) == 1
    scene.client.close()


def test_an_object_that_came_meanwhile_is_left(scene: Scene, network: FaultyStore, weed: Weed) -> None:
    bucket = scene.new_bucket()
    backup = scene.backup(small(bucket, 1))
    with closing(make_client(region="us-east-1", endpoint_url=weed.endpoint_url, credentials=OWNER)) as other:

        def script(request: Request) -> Answer:
            if request.method == "PUT":
                other.put_object(Bucket=bucket, Key="000", Body=b"faster")
            return None  # type: ignore[return-value]

        network.script = script
        assert counts(scene.result(backup)) == {"left": 1}

    assert scene.contents(bucket) == {"000": b"faster"}


def test_an_object_that_came_meanwhile_is_left_by_a_store_that_knows_no_condition_too(
    scene: Scene, network: FaultyStore, weed: Weed
) -> None:
    bucket = scene.new_bucket()
    backup = scene.backup({**small(bucket, 2), f"{bucket}/large": Object(LARGE)})
    with closing(make_client(region="us-east-1", endpoint_url=weed.endpoint_url, credentials=OWNER)) as other:

        def script(request: Request) -> Answer:
            if "if-none-match" in request.headers:
                for key in ("001", "large"):
                    other.put_object(Bucket=bucket, Key=key, Body=b"faster")
                return Answer.error(501, "NotImplemented", "A header you provided is not implemented")
            return None  # type: ignore[return-value]

        network.script = script
        assert counts(scene.result(backup)) == {"restored": 1, "left": 2}

    assert scene.contents(bucket) == {"000": b"0" * 100, "001": b"faster", "large": b"faster"}


@pytest.mark.parametrize(("mode", "became"), [("missing", "left"), ("overwrite", "overwritten")])
def test_an_existing_object_that_cannot_be_read_is_another_one(
    scene: Scene, network: FaultyStore, mode: str, became: str
) -> None:
    bucket = scene.new_bucket()
    backup = scene.backup({f"{bucket}/a": Object(b"1", etag="of-parts-2")})
    scene.put(bucket, "a", b"2")
    archived = Answer.error(403, "InvalidObjectState", "The operation is not valid for the object's storage class")
    network.script = always(archived, lambda one: one.method == "GET" and one.path.endswith("/a"))

    assert counts(scene.result(backup, mode=mode)) == {became: 1}


def test_an_upload_that_is_forgotten_is_not_taken_for_the_object_that_it_replaces(
    scene: Scene, network: FaultyStore, weed: Weed
) -> None:
    bucket = scene.new_bucket()
    backup = scene.backup({f"{bucket}/large": Object(LARGE)})
    scene.put(bucket, "large", bytes(len(LARGE)))
    gone = Answer.error(404, "NoSuchUpload", "The specified upload does not exist.")
    network.script = always(gone, lambda one: one.method == "POST" and "uploadId" in one.path)

    assert counts(scene.result(backup, mode="overwrite")) == {"failed": 1}


def test_objects_that_may_not_be_deleted_are_told(scene: Scene, network: FaultyStore) -> None:
    bucket = scene.new_bucket()
    backup = scene.backup(small(bucket, 1))
    for key in ("x", "y"):
        scene.put(bucket, key)
    network.script = always(DENIED, lambda request: request.method == "DELETE" and request.path.endswith("/x"))

    report = scene.restore(backup, mode="mirror")

    assert report.storage is not None
    assert counts(report.storage) == {"restored": 1, "failed": 1, "deleted": 1}
    assert "s3:DeleteObject was denied" in report.storage.failures[0]


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (DENIED, "STORE_DENIED", "s3:ListBucket"),
        (
            Answer.error(400, "AuthorizationHeaderMalformed", extra="<Region>eu-west-3</Region>"),
            "BUCKET_REGION",
            "eu-west-3",
        ),
        (Answer.error(404, "NoSuchBucket"), "BUCKET_MISSING", "does not exist"),
        (Answer.error(403, "RequestTimeTooSkewed"), "CLOCK_SKEWED", "clock"),
        (Answer.error(403, "InvalidAccessKeyId"), "STORE_CREDENTIALS", "credentials"),
    ],
    ids=["denied", "region", "missing", "clock", "key"],
)
def test_a_bucket_that_cannot_be_used_is_one_clear_error_at_once(
    scene: Scene, network: FaultyStore, answer: Answer, code: str, words: str
) -> None:
    bucket = scene.new_bucket()
    backup = scene.backup(small(bucket))
    network.script = always(answer, lambda request: request.method == "GET")

    with pytest.raises(CoffreError) as caught:
        scene.restore(backup)

    assert caught.value.code == code
    assert words in str(caught.value)
    assert caught.value.hint
    assert not [request for request in network.requests if request.method == "PUT" and "/0" in request.path]


def test_a_key_that_may_only_write_is_told_what_it_lacks(scene: Scene, weed: Weed) -> None:
    bucket = scene.new_bucket()
    backup = scene.backup(small(bucket))
    with closing(make_client(region="us-east-1", endpoint_url=weed.endpoint_url, credentials=WRITER)) as writer:
        scene.client = writer
        with pytest.raises(CoffreError) as caught:
            scene.restore(backup)

    assert caught.value.code == "STORE_DENIED"
    assert "s3:ListBucket was denied" in str(caught.value)
