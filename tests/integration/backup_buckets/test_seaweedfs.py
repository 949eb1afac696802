"""Backups of buckets on a real S3 server, which sorts by directories and checks every signature."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.contract.weed import OWNER, Weed
from tests.integration.capture_scene import Scene

from coffre.buckets.open_reader import open_reader
from coffre.buckets.reader import PIECE_BYTES
from coffre.model.bucket_target import BucketTarget
from coffre.stores.s3_client import make_client

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

NOISE = random.Random(5)
BUCKETS = ("files", "files-old")
# What SeaweedFS, which keeps directories, can hold.
KEYS = [
    "a/x",
    "a-b",
    "a.b",
    "A/x",
    "with space + plus%20&<>",
    "ünï/日本語/🗄️",
    "e\u0301 \u00e9",
    "?q=1#f",
    "'\"quotes",
    "x" * 200,
]


@pytest.fixture(scope="module")
def client(weed: Weed) -> Iterator[S3Client]:
    client = make_client(region="us-east-1", endpoint_url=weed.endpoint_url, credentials=OWNER)
    for bucket in BUCKETS:
        client.create_bucket(Bucket=bucket)
    yield client
    client.close()


@pytest.fixture
def scene(tmp_path: Path, weed: Weed, client: S3Client) -> Iterator[Scene]:
    document = {"store": {"endpoint": weed.endpoint_url}, "buckets": [{"name": name} for name in BUCKETS]}
    target = BucketTarget.model_validate({"name": "files", "kind": "bucket", **document})
    with open_reader(target, OWNER, stopping=threading.Event()) as reader:
        yield Scene(tmp_path, reader.wire, document, has_acls=reader.has_acls)


def put(client: S3Client, name: str, body: bytes) -> None:
    bucket, _, key = name.partition("/")
    client.put_object(
        Bucket=bucket,
        Key=key,
        Body=body,
        ContentType="text/plain",
        CacheControl="max-age=60",
        Metadata={"who": "ada"},
        Tagging="team=a%20b",
    )


def test_a_real_store_is_backed_up_and_the_next_time_only_what_changed(scene: Scene, client: S3Client) -> None:
    # Given small objects in an order that is not that of their bytes, and one of several pieces
    bodies = {f"files/{key}": key.encode() for key in KEYS}
    bodies |= {f"files-old/d{number % 7}/{number:04}.txt": b"%d " % number * 30 for number in range(150)}
    bodies["files/empty"] = b""
    bodies["files/film.mov"] = NOISE.randbytes(2 * PIECE_BYTES + 17)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda item: put(client, *item), bodies.items()))

    first = scene.backup()

    assert scene.bodies(first) == bodies
    assert first.exceptions == ()
    facts = scene.entries(first)["files/a-b"].object
    assert facts is not None
    assert (facts.content_type, facts.cache_control, facts.metadata) == ("text/plain", "max-age=60", {"who": "ada"})
    assert facts.tags == {"team": "a b"}

    # When some are changed, added and deleted
    put(client, "files/a-b", b"changed")
    put(client, "files-old/a/new", b"new")
    client.delete_object(Bucket="files-old", Key="d1/0001.txt")
    bodies |= {"files/a-b": b"changed", "files-old/a/new": b"new"}
    del bodies["files-old/d1/0001.txt"]
    before = scene.store.requests["get"]
    second = scene.backup()

    # Then only those are read, and nothing is lost
    assert scene.store.requests["get"] - before == 2
    content = second.storage
    assert (content.added, content.changed, content.removed) == (1, 1, 1)
    assert scene.bodies(second) == bodies
