"""Google's and Azure's stores when uploads are corrupted or lost on the way, and what their refusals say."""

import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.contract.conftest import BUCKET, azure_store, google_store
from tests.contract.emulators import ACCOUNT, ACCOUNT_KEY, GOOGLE_KEY, sas_token
from tests.contract.faults import Answer, FaultyStore, FlipByte, LoseAnswer
from tests.contract.objects import keys_of, put, sha256

from coffre.model.addresses import parse_address
from coffre.model.copies import Destination
from coffre.model.errors import ObjectMissingError, SecretError, StoreError, StoreTransientError
from coffre.runtime.copy_destinations import Opening, open_address, open_destination
from coffre.stores.cloud import CloudStore
from coffre.stores.cloud_clients import AzureKey
from coffre.stores.request_counts import Tally
from coffre.stores.s3_client import RetryLimits

BODY = os.urandom(300_000)
ONCE = RetryLimits(attempts=1, connect_seconds=60, read_seconds=60)


@pytest.fixture(params=["google", "azure"])
def way(request: pytest.FixtureRequest) -> Iterator[tuple[FaultyStore, CloudStore]]:
    """Each store behind a network with faults, and the network."""
    endpoint: str = request.getfixturevalue("google_endpoint" if request.param == "google" else "azurite_endpoint")
    with FaultyStore(endpoint.removesuffix(f"/{ACCOUNT}")) as network:
        if request.param == "google":
            yield network, google_store(network.endpoint_url)
        else:
            yield network, azure_store(f"{network.endpoint_url}/{ACCOUNT}")


def azure_with_sas(endpoint: str, permissions: str) -> CloudStore:
    return azure_store(endpoint, key=AzureKey(sas_token=sas_token(BUCKET, permissions)))


# --- uploads ---


def test_an_upload_that_arrives_otherwise_is_replaced(way: tuple[FaultyStore, CloudStore]) -> None:
    network, store = way
    network.expect([FlipByte(5)])
    put(store, "pack", BODY, if_absent=True)
    assert store.get("pack") == BODY
    assert len([one for one in network.requests if one.method == "PUT"]) == 2


def test_an_upload_that_arrives_otherwise_every_time_is_an_error_and_leaves_nothing(
    google_endpoint: str, azurite_endpoint: str
) -> None:
    for endpoint, make in ((google_endpoint, google_store), (azurite_endpoint, azure_store)):
        with FaultyStore(endpoint.removesuffix(f"/{ACCOUNT}")) as network:
            store = make(network.endpoint_url + (f"/{ACCOUNT}" if make is azure_store else ""))
            flip_uploads(network)
            with pytest.raises(StoreTransientError) as refused:
                put(store, "dir/pack", BODY)
            assert refused.value.code == "UPLOAD_CORRUPTED"
            network.faults.clear()
            assert keys_of(store) == []


def flip_uploads(network: FaultyStore) -> None:
    """Corrupt each upload, and nothing else: a test's own answer to each request in turn."""

    class Flips(type(network.faults)):  # type: ignore[misc]
        def popleft(self) -> Any:
            return FlipByte(7) if network.requests[-1].method == "PUT" else None

        def __bool__(self) -> bool:
            return True

    network.faults = Flips()


@pytest.mark.parametrize("if_absent", [False, True])
def test_an_upload_whose_answer_was_lost_finds_its_own_object(
    way: tuple[FaultyStore, CloudStore], if_absent: bool
) -> None:
    network, store = way
    network.expect([Answer(500), LoseAnswer()])
    put(store, "manifest", b"mine", if_absent=if_absent)
    assert store.get("manifest") == b"mine"


def test_a_foreign_object_is_not_taken_for_ones_own(way: tuple[FaultyStore, CloudStore]) -> None:
    network, store = way
    put(store, "manifest", b"mine")
    network.expect([Answer(500)])
    with pytest.raises(StoreError) as refused:
        put(store, "manifest", b"mine", if_absent=True)
    assert refused.value.code == "OBJECT_EXISTS"


def test_the_digest_is_kept_with_the_object(way: tuple[FaultyStore, CloudStore]) -> None:
    _, store = way
    put(store, "pack", BODY)
    assert store.head("pack").sha256 == sha256(BODY)


def test_what_azure_does_not_confirm_is_read_back(azurite_endpoint: str) -> None:
    store = azure_store(azurite_endpoint)
    unsure = CloudStore(
        type(store._cloud)(
            store._cloud.client, store._cloud.root, store._cloud.where, store._cloud.permissions, lambda *_: None
        ),
        prefix="unsure",
    )
    put(unsure, "pack", BODY)
    assert unsure.get("pack") == BODY


# --- refusals ---


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (403, "STORE_DENIED"),
        (401, "STORE_CREDENTIALS"),
        (429, "STORE_THROTTLED"),
        (503, "STORE_THROTTLED"),
        (500, "STORE_UNAVAILABLE"),
        (400, "STORE_FAILED"),
    ],
)
def test_what_a_store_refuses_is_said(status: int, code: str) -> None:
    with FaultyStore() as network:
        network.script = lambda _: Answer(status, b"<Error><Code>Odd</Code><Message>no way</Message></Error>")
        for store in (
            google_store(network.endpoint_url, limits=ONCE),
            azure_store(f"{network.endpoint_url}/{ACCOUNT}", limits=ONCE),
        ):
            for call in (lambda s: put(s, "a"), lambda s: s.get("a"), lambda s: list(s.list())):
                with pytest.raises((StoreError, StoreTransientError)) as refused:
                    call(store)
                assert refused.value.code == code
                assert refused.value.detail == "Odd: no way"


def test_a_store_that_is_throttled_for_a_moment_is_asked_again(way: tuple[FaultyStore, CloudStore]) -> None:
    network, store = way
    put(store, "a", b"x")
    network.expect([Answer(503), Answer(503)])
    assert store.get("a") == b"x"


def test_a_bucket_that_is_missing_is_not_a_missing_object(google_endpoint: str, azurite_endpoint: str) -> None:
    missing = azure_store(azurite_endpoint, container="nowhere")
    for call in (
        lambda: put(missing, "a"),
        lambda: missing.get("a"),
        lambda: missing.head("a"),
        lambda: list(missing.list()),
        lambda: missing.delete("a"),
    ):
        with pytest.raises(StoreError) as refused:
            call()
        assert refused.value.code == "BUCKET_MISSING"
        assert not isinstance(refused.value, ObjectMissingError)


def test_a_sas_token_may_do_what_it_says_and_is_in_no_error(azurite_endpoint: str) -> None:
    writer = azure_with_sas(azurite_endpoint, "rcwl")
    put(writer, "a", b"x", if_absent=True)
    assert (writer.get("a"), keys_of(writer)) == (b"x", ["a"])
    with pytest.raises(StoreError):
        writer.delete("a")
    sweeper = azure_with_sas(azurite_endpoint, "rd")
    sweeper = CloudStore(sweeper._cloud, prefix=writer._prefix)
    sweeper.delete("a")
    sweeper.delete("a")
    assert keys_of(writer) == []
    reader = azure_with_sas(azurite_endpoint, "r")
    calls: list[Callable[[], object]] = [lambda: put(reader, "b"), lambda: list(reader.list())]
    for call in calls:
        with pytest.raises(StoreError) as refused:
            call()
        assert refused.value.code == "STORE_DENIED"
        assert "sig=" not in f"{refused.value} {refused.value.detail}"


def test_a_dead_host_is_unreachable_and_no_signature_is_shown() -> None:
    with FaultyStore() as network:
        endpoint = network.endpoint_url
    for store in (
        google_store(endpoint, limits=ONCE),
        azure_store(f"{endpoint}/{ACCOUNT}", key=AzureKey(sas_token="sv=1&sig=SECRETSIG"), limits=ONCE),
    ):
        with pytest.raises(StoreTransientError) as refused:
            store.get("a")
        assert refused.value.code == "STORE_UNREACHABLE"
        assert "SECRETSIG" not in f"{refused.value} {refused.value.detail}"


# --- opening ---


def destination(store: dict[str, Any]) -> Destination:
    return Destination.model_validate({"name": "offsite", "store": store})


def test_destinations_are_opened_by_their_secrets_and_counted(google_endpoint: str, azurite_endpoint: str) -> None:
    places: list[tuple[dict[str, Any], str]] = [
        ({"type": "gcs", "bucket": BUCKET, "prefix": "opened", "endpoint": google_endpoint}, GOOGLE_KEY),
        (
            {
                "type": "azure",
                "account": ACCOUNT,
                "container": BUCKET,
                "prefix": "opened",
                "endpoint": azurite_endpoint,
            },
            json.dumps({"account_key": ACCOUNT_KEY}),
        ),
    ]
    for place, secret in places:
        tally = Tally()
        vault = open_destination(destination({**place, "secret": "s"}), {"s": secret}.__getitem__, Opening(tally=tally))
        put(vault.store, "v1/a", b"content")
        assert vault.store.get("v1/a") == b"content"
        counts = tally.take()
        assert (counts.source_writes, counts.source_sent_bytes, counts.outside_bytes) == (1, 7, 7)
        assert (counts.source_reads, counts.source_received_bytes) == (1, 7)
        vault.store.delete("v1/a")


def test_an_address_takes_the_keys_of_the_environment(azurite_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", ACCOUNT_KEY)
    address = parse_address(f"azure://{ACCOUNT}/{BUCKET}/by-address")
    store = open_address(address, endpoint_url=azurite_endpoint)
    put(store, "a", b"x")
    assert keys_of(store) == ["a"]


GCS = {"type": "gcs", "bucket": "acme-copy", "secret": "coffre/copies/cloud"}
AZURE = {"type": "azure", "account": "acme", "container": "copy", "secret": "coffre/copies/cloud"}


@pytest.mark.parametrize(
    ("place", "text", "said"),
    [
        (GCS, "SECRETVALUE", "not a JSON object"),
        (GCS, '{"type": "authorized_user", "private_key": "SECRETVALUE"}', "type"),
        (GCS, '{"type": "service_account", "client_email": "a@b", "private_key_id": "SECRETVALUE"}', "private_key"),
        (AZURE, '{"account_key": "SECRETVALUE", "sas_token": "sig=SECRETVALUE"}', "either"),
        (AZURE, "{}", "either"),
        (AZURE, '{"key": "SECRETVALUE"}', "key"),
        (AZURE, '{"sas_token": "https://acme.blob/SECRETVALUE"}', "sas_token"),
        (AZURE, '{"account_key": "SECRETVALUE no base64"}', ""),
        (GCS, '{"type": "service_account", "client_email": "a@b", "private_key": "SECRETVALUE"}', ""),
    ],
)
def test_a_malformed_key_is_named_and_not_shown(place: dict[str, Any], text: str, said: str) -> None:
    with pytest.raises(SecretError) as refused:
        open_destination(destination(place), lambda _: text)
    assert refused.value.code == "SECRET_SHAPE"
    assert "coffre/copies/cloud" in refused.value.message
    assert said in (refused.value.detail or "")
    assert "SECRETVALUE" not in f"{refused.value} {refused.value.detail} {refused.value.hint}"
