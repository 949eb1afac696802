"""The stores that are held to the contract: S3 as moto and SeaweedFS, a directory, Google's and Azure's emulators."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from moto import mock_aws
from tests.contract.emulators import (
    ACCOUNT,
    ACCOUNT_KEY,
    GOOGLE_KEY,
    azurite,
    google,
    make_container,
    make_google_bucket,
)
from tests.contract.faults import FaultyStore
from tests.contract.weed import OWNER, Weed

from coffre.stores.cloud import CloudStore
from coffre.stores.cloud_clients import AzureKey, azure_cloud, google_cloud
from coffre.stores.directory import DirectoryStore
from coffre.stores.s3 import Checksum, S3Store
from coffre.stores.s3_client import RetryLimits, S3Credentials, make_client
from coffre.stores.store import Store
from coffre_local.certificate import write_certificate
from coffre_local.toolchain import Toolchain

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

BUCKET = "coffre-contract"
PAGE_SIZE = 7  # small, so that a handful of objects is a listing of several pages
QUICK = RetryLimits(attempts=3, connect_seconds=60, read_seconds=60)

_numbers = itertools.count(1)

MakeStore = Callable[..., S3Store]

# Fixtures that start a server, and how the names of stores in one begin.
_SERVERS = {"weed", "azurite_endpoint", "google_endpoint"}
_IN_SERVERS = ("weed", "google", "azure")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what asks a server: that takes seconds to start, and is no part of `make test-fast`."""
    for item in items:
        if isinstance(item, pytest.Function) and item.path.is_relative_to(Path(__file__).parent):
            chosen = item.callspec.params.values() if hasattr(item, "callspec") else ()
            is_in_server = any(isinstance(one, str) and one.startswith(_IN_SERVERS) for one in chosen)
            if is_in_server or _SERVERS.intersection(item.fixturenames):
                item.add_marker(pytest.mark.object_store)


@pytest.fixture(scope="session")
def weed(weed: Weed) -> Weed:
    """The SeaweedFS server with one bucket."""
    with closing(make_client(region="us-east-1", endpoint_url=weed.endpoint_url, credentials=OWNER)) as client:
        client.create_bucket(Bucket=BUCKET)
    return weed


@pytest.fixture(scope="session")
def weed_client(weed: Weed) -> Iterator["S3Client"]:
    """The bucket owner's client."""
    with closing(make_client(region="us-east-1", endpoint_url=weed.endpoint_url, credentials=OWNER)) as client:
        yield client


@pytest.fixture(scope="session")
def mocked_client() -> Iterator["S3Client"]:
    """A client that moto answers inside `mock_aws` (it hooks into every client that is made after its import)."""
    with closing(make_client(region="us-east-1", credentials=S3Credentials("testing", "testing"))) as client:
        yield client


@pytest.fixture
def moto_client(mocked_client: "S3Client") -> Iterator["S3Client"]:
    """The client of a mocked AWS with one empty bucket."""
    with mock_aws():
        mocked_client.create_bucket(Bucket=BUCKET)
        yield mocked_client


@pytest.fixture(scope="session")
def azurite_endpoint(toolchain: Toolchain) -> Iterator[str]:
    """An Azurite with one container."""
    with azurite(*toolchain.azurite()) as endpoint:
        make_container(endpoint, BUCKET)
        yield endpoint


@pytest.fixture(scope="session")
def google_endpoint(toolchain: Toolchain) -> Iterator[str]:
    """A fake-gcs-server with one bucket."""
    with google(toolchain.gcs()) as endpoint:
        make_google_bucket(endpoint, BUCKET)
        yield endpoint


@pytest.fixture(params=["moto-sha256", "moto-md5", "weed-sha256", "weed-md5", "directory", "google", "azure"])
def store(request: pytest.FixtureRequest) -> Store:
    """Each store in turn, empty."""
    kind: str = request.param
    return _store(request, kind)


@pytest.fixture(params=["weed-sha256", "weed-md5", "directory", "google", "azure"])
def real_store(request: pytest.FixtureRequest) -> Store:
    """Each store that is what it seems: moto takes any SHA-256 for true, and is not made for threads."""
    kind: str = request.param
    return _store(request, kind)


def _store(request: pytest.FixtureRequest, kind: str) -> Store:
    if kind == "directory":
        path: Path = request.getfixturevalue("tmp_path")
        return DirectoryStore(path)
    if kind == "google":
        return google_store(request.getfixturevalue("google_endpoint"))
    if kind == "azure":
        return azure_store(request.getfixturevalue("azurite_endpoint"))
    server, _, checksum = kind.partition("-")
    client = request.getfixturevalue(f"{server}_client")
    wanted: Checksum = "md5" if checksum == "md5" else "sha256"
    return S3Store(BUCKET, prefix=_prefix(), client=client, checksum=wanted, page_size=PAGE_SIZE)


def google_store(endpoint: str, *, bucket: str = BUCKET, limits: RetryLimits = QUICK) -> CloudStore:
    """Return an empty place in a bucket of the emulator."""
    return CloudStore(google_cloud(bucket, key=GOOGLE_KEY, endpoint=endpoint, limits=limits), prefix=_prefix())


def azure_store(
    endpoint: str, *, container: str = BUCKET, key: AzureKey | None = None, limits: RetryLimits = QUICK
) -> CloudStore:
    """Return an empty place in a container of the emulator."""
    key = key or AzureKey(account_key=ACCOUNT_KEY)
    return CloudStore(azure_cloud(ACCOUNT, container, key=key, endpoint=endpoint, limits=limits), prefix=_prefix())


@pytest.fixture
def network(weed: Weed) -> Iterator[FaultyStore]:
    """An endpoint with SeaweedFS behind it, and faults on the way."""
    with FaultyStore(weed.endpoint_url) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that no machine trusts by itself, and its key."""
    return write_certificate(tmp_path_factory.mktemp("certificate"), now=datetime.now(UTC))


@pytest.fixture
def tls_network(weed: Weed, certificate: tuple[Path, Path]) -> Iterator[FaultyStore]:
    """SeaweedFS behind TLS."""
    with FaultyStore(weed.endpoint_url, certificate=certificate) as proxy:
        yield proxy


@pytest.fixture
def script() -> Iterator[FaultyStore]:
    """An endpoint that says what it is told to."""
    with FaultyStore() as server:
        yield server


@pytest.fixture
def store_at() -> Iterator[MakeStore]:
    """Return a store at an endpoint, below a prefix of its own, with short timeouts and few attempts."""
    with ExitStack() as clients:

        def make(
            endpoint_url: str,
            *,
            credentials: S3Credentials = OWNER,
            checksum: Checksum = "sha256",
            bucket: str = BUCKET,
            prefix: str | None = None,
            attempts: int = 3,
            read_timeout_seconds: float = 60,
        ) -> S3Store:
            client = clients.enter_context(
                closing(
                    make_client(
                        region="us-east-1",
                        endpoint_url=endpoint_url,
                        credentials=credentials,
                        limits=RetryLimits(attempts, connect_seconds=60, read_seconds=read_timeout_seconds),
                    )
                )
            )
            where = _prefix() if prefix is None else prefix
            return S3Store(bucket, prefix=where, client=client, checksum=checksum, page_size=PAGE_SIZE)

        yield make


@pytest.fixture
def trusted(certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this machine trust the certificate of the tests."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate[0]))


def _prefix() -> str:
    return f"test-{next(_numbers)}/"
