"""Objects are moved between stores whole and right, by whatever way."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.awsrequest import AWSResponse
from tests.contract.conftest import BUCKET, MakeStore
from tests.contract.faults import Answer, Cut, FaultyStore, FlipByte, LoseAnswer, Request
from tests.contract.objects import keys_of, put, sha256
from tests.contract.weed import Weed

from coffre.model.errors import ObjectMissingError, StoreError
from coffre.model.locks import Lock, LockMode
from coffre.stores.directory import DirectoryStore
from coffre.stores.request_counts import Tally
from coffre.stores.s3 import Checksum, S3Store
from coffre.stores.store import ObjectInfo, Store
from coffre.stores.transfer import Transfer

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

MANY = 1_000
LARGE = b"large" * 300_000


Open = Callable[..., Transfer]


def move(transfer: Transfer, key: str, body: bytes) -> bool:
    return transfer.move(key, size=len(body), sha256=sha256(body))


@pytest.fixture
def source(weed: Weed, store_at: MakeStore) -> S3Store:
    return store_at(weed.endpoint_url)


@pytest.fixture(params=["weed-sha256", "weed-md5", "directory", "google"])
def destination(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A destination of each kind."""
    from tests.contract.conftest import _store

    return _store(request, request.param)


@pytest.fixture
def transfer_of() -> Iterator[Open]:
    """Make transfers that are closed at the end."""
    with ExitStack() as stack:
        yield lambda *stores, objects: stack.enter_context(closing(Transfer(*stores, objects=objects)))


@pytest.mark.parametrize("objects", [1, MANY])
def test_objects_arrive_as_they_are(transfer_of: Open, source: S3Store, destination: Store, objects: int) -> None:
    bodies = {f"v1/packs/{number}": os.urandom(number * 30_000 + 1) for number in range(12)}
    for key, body in bodies.items():
        put(source, key, body)
    transfer = transfer_of(source, destination, objects=objects)
    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(lambda one: move(transfer, *one), bodies.items()))
    assert {key: destination.get(key) for key in keys_of(destination)} == bodies
    assert {destination.head(key).sha256 for key in bodies} <= {sha256(body) for body in bodies.values()} | {None}


@pytest.mark.parametrize("objects", [1, MANY])
def test_what_exists_with_the_same_bytes_is_fine_and_with_others_is_refused(
    transfer_of: Open, source: S3Store, destination: Store, objects: int
) -> None:
    for key, there in (("a", b"same"), ("b", b"other")):
        put(source, key, b"same")
        put(destination, key, there)
    transfer = transfer_of(source, destination, objects=objects)
    assert move(transfer, "a", b"same")
    with pytest.raises(StoreError) as refused:
        move(transfer, "b", b"same")
    assert refused.value.code == "OBJECT_EXISTS"
    assert destination.get("b") == b"other"


@pytest.mark.parametrize("objects", [1, MANY])
@pytest.mark.parametrize("wanted", [b"shor", b"short and more", b"SHORT"])
def test_other_bytes_than_the_expected_ones_are_not_moved(
    transfer_of: Open, source: S3Store, objects: int, wanted: bytes
) -> None:
    put(source, "a", b"short")
    other = S3Store(BUCKET, prefix="elsewhere-of-transfers", client=source.client)
    assert not move(transfer_of(source, other, objects=objects), "a", wanted)
    assert keys_of(other) == []


@pytest.mark.parametrize("objects", [1, MANY])
def test_an_object_that_is_gone_is_missing(transfer_of: Open, source: S3Store, tmp_path: Path, objects: int) -> None:
    with pytest.raises(ObjectMissingError):
        move(transfer_of(source, DirectoryStore(tmp_path), objects=objects), "gone", b"")


def test_requests_past_the_client_are_counted(transfer_of: Open, weed_client: S3Client) -> None:
    tally = Tally()
    source, destination = (
        S3Store(BUCKET, prefix=f"counted-{side}", client=weed_client, count=tally.counter(weed_client, side))
        for side in ("vault", "source")
    )
    put(source, "a", b"x" * 1_000)
    assert move(transfer_of(source, destination, objects=MANY), "a", b"x" * 1_000)
    counts = tally.take()
    assert (counts.vault_reads, counts.vault_received_bytes) == (1, 1_000)
    assert (counts.source_writes, counts.source_sent_bytes, counts.outside_bytes) == (1, 1_000, 1_000)


def test_a_locked_destination_locks_what_is_moved(transfer_of: Open, weed_client: S3Client, source: S3Store) -> None:
    weed_client.create_bucket(Bucket="locked-transfers", ObjectLockEnabledForBucket=True)
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=2)
    lock = Lock(LockMode.GOVERNANCE, until)
    destination = S3Store("locked-transfers", client=weed_client, lock=lock)
    put(source, "a", b"bytes")
    assert move(transfer_of(source, destination, objects=MANY), "a", b"bytes")
    assert destination.lock_of("a").lock == lock


# --- the short cut fails ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("checksum", ["sha256", "md5"])
def test_a_store_that_refuses_the_short_cut_gets_objects_its_own_way(
    transfer_of: Open, network: FaultyStore, source: S3Store, store_at: MakeStore, checksum: Checksum
) -> None:
    """botocore says who it is; what says something else is refused here."""

    def refuse(request: Request) -> Answer | None:
        is_other = "oto" not in request.headers.get("user-agent", "")
        return Answer.error(501, "NotImplemented", "not this way") if is_other else None

    network.script = refuse  # type: ignore[assignment]
    destination = store_at(network.endpoint_url, checksum=checksum)
    transfer = transfer_of(source, destination, objects=MANY)
    for number in range(3):
        put(source, f"{number}", b"bytes")
        assert move(transfer, f"{number}", b"bytes")
    refused = [request for request in network.requests if "oto" not in request.headers.get("user-agent", "")]
    # The short cut is not taken again.
    assert [request.path.rpartition("/")[2] for request in refused] == ["0"]
    assert keys_of(destination) == ["0", "1", "2"]


@pytest.mark.parametrize("faults", [[Cut(10)], [Cut(10, reset=True)] * 4, [Answer(503)] * 3, [Answer(403)]])
def test_what_breaks_while_it_is_read_is_read_by_the_store(
    transfer_of: Open, network: FaultyStore, store_at: MakeStore, tmp_path: Path, faults: list[Any]
) -> None:
    source = store_at(network.endpoint_url, attempts=6)
    body = os.urandom(100_000)
    put(source, "a", body)
    network.expect(faults)
    destination = DirectoryStore(tmp_path)
    assert move(transfer_of(source, destination, objects=MANY), "a", body)
    assert destination.get("a") == body


@pytest.mark.parametrize("faults", [[LoseAnswer()], [LoseAnswer()] * 2, [Answer(503)] * 3, [Answer(403)]])
def test_what_breaks_while_it_is_written_is_written_by_the_store(
    transfer_of: Open, network: FaultyStore, source: S3Store, store_at: MakeStore, faults: list[Any]
) -> None:
    body = os.urandom(100_000)
    put(source, "a", body)
    destination = store_at(network.endpoint_url, attempts=6)
    network.expect(faults)
    assert move(transfer_of(source, destination, objects=MANY), "a", body)
    assert destination.get("a") == body


# --- large objects are written while they are read -------------------------------------------------------------------


def test_a_large_object_is_not_held(transfer_of: Open, weed_client: S3Client, monkeypatch: pytest.MonkeyPatch) -> None:
    source, destination = (S3Store(BUCKET, prefix=f"flow-{side}", client=weed_client) for side in ("in", "out"))
    put(source, "a", LARGE)
    transfer = transfer_of(source, destination, objects=MANY)
    monkeypatch.setattr(transfer, "_move_whole", None)
    assert move(transfer, "a", LARGE)
    assert destination.head("a").sha256 == sha256(LARGE)
    put(source, "damaged", LARGE)
    assert not transfer.move("damaged", size=len(LARGE), sha256=sha256(LARGE[:-1] + b"!"))
    assert {key: destination.get(key) for key in keys_of(destination)} == {"a": LARGE}


@pytest.mark.parametrize("faults", [[Cut(600_000)], [Cut(10, reset=True)], [Answer(503)], [Answer(200, b"short")]])
def test_what_breaks_while_a_large_object_is_read_stores_no_part_of_it(
    transfer_of: Open, network: FaultyStore, store_at: MakeStore, weed: Weed, faults: list[Any]
) -> None:
    source, destination = store_at(network.endpoint_url, attempts=6), store_at(weed.endpoint_url)
    put(source, "a", LARGE)
    network.expect(faults)
    assert move(transfer_of(source, destination, objects=MANY), "a", LARGE)
    assert destination.get("a") == LARGE


@pytest.mark.parametrize("faults", [[LoseAnswer()], [Answer(503)] * 2, [Answer(403)], [FlipByte(100)]])
def test_what_breaks_while_a_large_object_is_written_is_written_by_the_store(
    transfer_of: Open, network: FaultyStore, store_at: MakeStore, weed: Weed, faults: list[Any]
) -> None:
    source, destination = store_at(weed.endpoint_url), store_at(network.endpoint_url, attempts=6)
    put(source, "a", LARGE)
    network.expect(faults)
    assert move(transfer_of(source, destination, objects=MANY), "a", LARGE)
    assert destination.get("a") == LARGE


# --- S3 copies by itself ---------------------------------------------------------------------------------------------


@pytest.fixture
def aws(moto_client: S3Client) -> tuple[S3Store, S3Store]:
    moto_client.create_bucket(Bucket="copies")
    source = S3Store(BUCKET, prefix="from", client=moto_client)
    return source, S3Store("copies", prefix="to", client=moto_client)


@pytest.fixture
def sent(moto_client: S3Client) -> Counter[str]:
    """The requests by operation, from here on."""
    counted: Counter[str] = Counter()

    def count(event_name: str, **_: object) -> None:
        counted[event_name.rpartition(".")[2]] += 1

    moto_client.meta.events.register("before-send.s3", count)
    return counted


def test_within_aws_no_byte_comes_here(transfer_of: Open, aws: tuple[S3Store, S3Store], sent: Counter[str]) -> None:
    source, destination = aws
    put(source, "v1/a b+c%", LARGE)
    sent.clear()
    assert move(transfer_of(source, destination, objects=1), "v1/a b+c%", LARGE)
    assert sent == {"HeadObject": 1, "CopyObject": 1}
    assert destination.get("v1/a b+c%") == LARGE
    assert destination.head("v1/a b+c%").sha256 == sha256(LARGE)


def test_a_small_object_is_read_and_written_for_less(
    transfer_of: Open, aws: tuple[S3Store, S3Store], sent: Counter[str]
) -> None:
    source, destination = aws
    put(source, "a", b"small")
    sent.clear()
    assert move(transfer_of(source, destination, objects=1), "a", b"small")
    assert sent == {"GetObject": 1, "PutObject": 1}


@pytest.mark.parametrize("keeps", [True, False])
def test_a_copy_whose_answer_has_no_checksum_is_asked_for_it(
    transfer_of: Open, aws: tuple[S3Store, S3Store], sent: Counter[str], keeps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, destination = aws
    put(source, "a", LARGE)

    def without(parsed: dict[str, Any], **_: object) -> None:
        parsed["CopyObjectResult"].pop("ChecksumSHA256")

    if not keeps:
        monkeypatch.setattr(destination, "head", lambda _: ObjectInfo("a", len(LARGE)))
    destination.client.meta.events.register("after-call.s3.CopyObject", without)
    sent.clear()
    try:
        assert move(transfer_of(source, destination, objects=1), "a", LARGE)
    finally:
        destination.client.meta.events.unregister("after-call.s3.CopyObject", without)
    # What no checksum confirms is compared byte by byte.
    assert sent["GetObject"] == (0 if keeps else 2)
    assert destination.get("a") == LARGE


@pytest.mark.parametrize("stored", [b"other" * 300_000, b"other"])
def test_within_aws_another_object_than_the_expected_one_is_not_copied(
    transfer_of: Open, aws: tuple[S3Store, S3Store], sent: Counter[str], stored: bytes
) -> None:
    source, destination = aws
    put(source, "a", stored)
    sent.clear()
    assert not move(transfer_of(source, destination, objects=1), "a", LARGE)
    assert "CopyObject" not in sent
    assert keys_of(destination) == []


@pytest.mark.parametrize("code", [403, 501, 400, 412])
def test_within_aws_what_may_not_be_copied_is_read_and_written(
    transfer_of: Open, aws: tuple[S3Store, S3Store], sent: Counter[str], code: int
) -> None:
    source, destination = aws

    def refuse(**_: object) -> AWSResponse:
        return AWSResponse("https://copies", code, {}, _Empty())  # type: ignore[arg-type]  # a body that was read

    destination.client.meta.events.register_first("before-send.s3.CopyObject", refuse)  # type: ignore[arg-type]
    bodies = {key: key.encode() + LARGE for key in ("a", "b")}
    for key, body in bodies.items():
        put(source, key, body)
    transfer = transfer_of(source, destination, objects=1)
    sent.clear()
    try:
        assert all(move(transfer, key, body) for key, body in bodies.items())
    finally:
        destination.client.meta.events.unregister("before-send.s3.CopyObject", refuse)  # type: ignore[arg-type]
    assert sent["PutObject"] == 2
    assert sent["HeadObject"] == (2 if code == 412 else 1)  # that an object exists says nothing of the next one
    assert {key: destination.get(key) for key in bodies} == bodies


class _Empty:
    def stream(self, **_: object) -> list[bytes]:
        return []
