"""Every store that locks keeps the promises of `LockingStore`; the others say that they cannot lock."""

import itertools
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError
from tests.contract.conftest import MakeStore
from tests.contract.objects import put
from tests.contract.refusing import STORES, refusing
from tests.contract.weed import Weed
from tests.locking_store import LockingDirectory

from coffre.model.errors import ObjectMissingError, StoreError
from coffre.model.locks import Lock, LockMode, LockState
from coffre.operations.copy.put_back import Need, PutBack
from coffre.stores.directory import DirectoryStore
from coffre.stores.locking import LockingStore, locking
from coffre.stores.s3 import Checksum, S3Store

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

NOW = datetime.now(UTC).replace(microsecond=0)
WEEK = Lock(LockMode.GOVERNANCE, NOW + timedelta(days=7))
MONTH = Lock(LockMode.GOVERNANCE, NOW + timedelta(days=28))
LOCKED = "coffre-locked"
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def locked_bucket(weed_client: "S3Client") -> str:
    """The name of a bucket of SeaweedFS with Object Lock."""
    weed_client.create_bucket(Bucket=LOCKED, ObjectLockEnabledForBucket=True)
    return LOCKED


@pytest.fixture
def weed_store(weed_client: "S3Client", locked_bucket: str) -> S3Store:
    return S3Store(locked_bucket, prefix=f"p{next(_numbers)}", client=weed_client)


@pytest.fixture(params=["weed-sha256", "weed-md5", "directory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> LockingStore:
    """Each store that locks in turn, empty. `directory` is the stand-in of other tests, held to the same promises."""
    if request.param == "directory":
        return LockingDirectory(tmp_path)
    client: S3Client = request.getfixturevalue("weed_client")
    bucket: str = request.getfixturevalue("locked_bucket")
    checksum: Checksum = "md5" if request.param == "weed-md5" else "sha256"
    return S3Store(bucket, prefix=f"p{next(_numbers)}", client=client, checksum=checksum)


def test_what_a_locking_store_puts_is_locked_and_what_the_store_itself_puts_is_not(store: LockingStore) -> None:
    store.require_locking()
    put(store.with_lock(WEEK), "packs/a", b"locked")
    put(store, "packs/b", b"free")

    assert store.lock_of("packs/a") == store.head("packs/a").locked == LockState(WEEK)
    assert store.lock_of("packs/b") == store.head("packs/b").locked == LockState()
    assert store.get("packs/a") == b"locked"


def test_a_lock_is_set_and_lengthened_and_each_can_be_repeated(store: LockingStore) -> None:
    put(store, "a", b"x")

    for lock in (WEEK, WEEK, MONTH, MONTH):
        store.extend_lock("a", lock)
        assert store.lock_of("a") == LockState(lock)


@pytest.mark.parametrize("other", [WEEK, Lock(LockMode.COMPLIANCE, MONTH.until + timedelta(days=1))])
def test_a_lock_is_neither_shortened_nor_brought_into_the_other_mode(store: LockingStore, other: Lock) -> None:
    put(store.with_lock(MONTH), "a", b"x")

    with pytest.raises(StoreError) as refused:
        store.extend_lock("a", other)

    assert refused.value.code == "STORE_DENIED"
    assert store.lock_of("a") == LockState(MONTH)


def test_a_legal_hold_comes_and_goes_next_to_a_lock(store: LockingStore) -> None:
    put(store.with_lock(WEEK), "a", b"x")
    put(store, "b", b"x")

    for key, lock in (("a", WEEK), ("b", None)):
        for on in (True, True, False, False):
            store.hold(key, on=on)
            assert store.lock_of(key) == store.head(key).locked == LockState(lock, held=on)


def test_a_missing_object_has_no_lock_to_see_or_to_set(store: LockingStore) -> None:
    with pytest.raises(ObjectMissingError):
        store.lock_of("a")
    with pytest.raises(ObjectMissingError):
        store.extend_lock("a", WEEK)


def test_a_locked_version_stays_when_its_object_is_deleted_or_replaced(
    weed_store: S3Store, weed_client: "S3Client"
) -> None:
    put(weed_store.with_lock(WEEK), "a", b"first")
    put(weed_store, "a", b"second")
    weed_store.delete("a")

    answer = weed_client.list_object_versions(Bucket=LOCKED, Prefix=weed_store._prefix)
    bodies = {
        weed_client.get_object(Bucket=LOCKED, Key=one["Key"], VersionId=one["VersionId"])["Body"].read(): one
        for one in answer["Versions"]
    }
    assert set(bodies) == {b"first", b"second"}
    first = bodies[b"first"]
    with pytest.raises(ClientError, match="AccessDenied"):
        weed_client.delete_object(Bucket=LOCKED, Key=first["Key"], VersionId=first["VersionId"])


def test_a_damaged_object_is_replaced_with_the_longest_lock_and_the_hold_that_it_needs(weed_store: S3Store) -> None:
    put(weed_store.with_lock(WEEK), "packs/a", b"spoiled")
    weed_store.hold("packs/a", on=True)
    back = PutBack(weed_store, NOW)

    back.put("packs/a", b"good", Need(MONTH.until))
    back.put("packs/gone", b"good too", Need(WEEK.until, is_held=True))

    assert (weed_store.get("packs/a"), weed_store.get("packs/gone")) == (b"good", b"good too")
    assert weed_store.lock_of("packs/a") == LockState(MONTH, held=True)
    assert weed_store.lock_of("packs/gone") == LockState(WEEK, held=True)


def locked_for(seconds: int, store: S3Store, client: "S3Client") -> tuple[str, datetime] | None:
    """Store an object with a lock; return its version and the lock's end, or None if that came before it was seen."""
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds)
    with suppress(StoreError):  # what ended on the way is refused
        put(store.with_lock(Lock(LockMode.COMPLIANCE, until)), "a", b"x")
        version = client.head_object(Bucket=LOCKED, Key=f"{store._prefix}a")["VersionId"]
        try:
            client.delete_object(Bucket=LOCKED, Key=f"{store._prefix}a", VersionId=version)
        except ClientError as error:
            if error.response["Error"]["Code"] != "AccessDenied":
                raise
            return version, until
    assert datetime.now(UTC) >= until, "the lock did not protect"
    return None


def test_a_lock_that_has_ended_protects_nothing(weed_store: S3Store, weed_client: "S3Client") -> None:
    # A short lock, and a longer one on a machine that is too slow for it
    version, until = next(found for seconds in (2, 10, 60) if (found := locked_for(seconds, weed_store, weed_client)))
    key = f"{weed_store._prefix}a"

    while datetime.now(UTC) <= until + timedelta(seconds=1):
        time.sleep(0.1)
    weed_client.delete_object(Bucket=LOCKED, Key=key, VersionId=version)

    with pytest.raises(ObjectMissingError):
        weed_store.head("a")


# --- stores that cannot ---


def test_a_bucket_without_object_lock_is_refused_with_what_to_do(store_at: MakeStore, weed: Weed) -> None:
    plain = store_at(weed.endpoint_url)

    with pytest.raises(StoreError) as refused:
        plain.require_locking()

    assert refused.value.code == "LOCKS_OFF"
    assert "put-object-lock-configuration" in (refused.value.hint or "")
    put(plain, "a", b"x")
    assert plain.lock_of("a") == LockState()


@pytest.mark.parametrize("kind", STORES)
def test_a_store_that_does_not_know_object_lock_is_refused(store_at: MakeStore, weed: Weed, kind: str) -> None:
    with refusing(weed.endpoint_url, kind) as network, pytest.raises(StoreError) as refused:
        store_at(network.endpoint_url, checksum="md5").require_locking()

    assert refused.value.code == "LOCKS_UNSUPPORTED"
    assert "ObjectLock=off" in (refused.value.hint or "")


def test_a_directory_cannot_lock(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as refused:
        locking(DirectoryStore(tmp_path))

    assert refused.value.code == "LOCKS_UNSUPPORTED"


def test_moto_sees_the_lock_that_a_put_and_an_extension_ask_for(moto_client: "S3Client") -> None:
    moto_client.create_bucket(Bucket=LOCKED, ObjectLockEnabledForBucket=True)
    store = S3Store(LOCKED, client=moto_client)
    store.require_locking()

    put(store.with_lock(WEEK), "a", b"x")
    assert store.head("a").locked == LockState(WEEK)
    store.extend_lock("a", MONTH)
    assert store.head("a").locked == LockState(MONTH)
