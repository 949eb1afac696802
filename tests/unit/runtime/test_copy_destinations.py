"""Destinations and addresses are opened in one place, and no secret gets into an error."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from moto import mock_aws

from coffre.model.addresses import parse_address
from coffre.model.copies import Destination
from coffre.model.errors import SecretError, StoreError
from coffre.model.locks import LockMode
from coffre.runtime.copy_destinations import Opening, open_address, open_destination
from coffre.stores.request_counts import Tally
from coffre.stores.s3 import S3Store
from coffre.stores.s3_client import S3Credentials, make_client
from coffre.stores.store import put_small

KEY = {"access_key_id": "AKIDCOPY", "secret_access_key": "very-secret-value"}
BUCKET = {"type": "s3", "bucket": "acme-copy", "prefix": "coffre", "region": "eu-west-1"}


def destination(store: dict[str, Any], **fields: object) -> Destination:
    return Destination.model_validate({"name": "offsite", "store": store, **fields})


def secrets(**known: object) -> Callable[[str], str]:
    values = {name: value if isinstance(value, str) else json.dumps(value) for name, value in known.items()}
    return lambda name: values[name]


def no_secret(name: str) -> str:
    raise AssertionError(f"no secret was to be read: {name}")


def test_a_directory_is_opened_without_a_secret(tmp_path: Path) -> None:
    vault = open_destination(destination({"type": "directory", "path": str(tmp_path)}), no_secret)

    put_small(vault.store, "v1/a", b"x")

    assert (tmp_path / "v1/a").read_bytes() == b"x"
    assert vault.locks is None


def test_a_directory_that_is_not_mounted_is_no_empty_vault(tmp_path: Path) -> None:
    vault = open_destination(destination({"type": "directory", "path": str(tmp_path / "nas")}), no_secret)

    with pytest.raises(StoreError) as refused:
        put_small(vault.store, "v1/a", b"x")
    assert refused.value.code == "BUCKET_MISSING"


@mock_aws
def test_a_bucket_is_opened_with_the_key_of_its_secret_and_its_requests_are_counted() -> None:
    owner = make_client(region="eu-west-1", credentials=S3Credentials("AKIDCOPY", "very-secret-value"))
    owner.create_bucket(Bucket="acme-copy", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    tally = Tally()
    vault = open_destination(destination({**BUCKET, "secret": "copies"}), secrets(copies=KEY), Opening(tally=tally))

    put_small(vault.store, "v1/a", b"content")

    assert owner.get_object(Bucket="acme-copy", Key="coffre/v1/a")["Body"].read() == b"content"
    counts = tally.take()
    assert (counts.source_writes, counts.source_sent_bytes, counts.outside_bytes) == (1, 7, 0)
    assert isinstance(vault.store, S3Store)
    assert vault.store._client.meta.region_name == "eu-west-1"
    owner.close()
    vault.store._client.close()


@pytest.mark.parametrize("mode", ["governance", "compliance"])
def test_a_bucket_with_locks_has_them(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "role")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "role")
    vault = open_destination(destination(BUCKET, object_lock=mode), no_secret, lock_max_days=90)

    assert vault.locks is not None
    assert (vault.locks.mode, vault.locks.max_days) == (LockMode(mode), 90)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a JSON object"),
        ("very-secret-value", "not a JSON object"),
        ('{"access_key_id": "AKIDCOPY", "secret_access_key": ', "not a JSON object"),
        ('["very-secret-value"]', "valid"),
        ('{"access_key_id": "AKIDCOPY"}', "secret_access_key"),
        ('{"access_key_id": "AKIDCOPY", "secret_access_key": "very-secret-value", "sekret": "x"}', "sekret"),
        ('{"access_key_id": "AKIDCOPY", "secret_access_key": ["very-secret-value"]}', "secret_access_key"),
    ],
)
def test_a_malformed_access_key_is_named_and_not_shown(text: str, said: str) -> None:
    with pytest.raises(SecretError) as refused:
        open_destination(destination({**BUCKET, "secret": "coffre/copies/r2"}), lambda _: text)
    assert refused.value.code == "SECRET_SHAPE"
    assert "coffre/copies/r2" in refused.value.message
    assert said in (refused.value.detail or "")
    assert "very-secret-value" not in f"{refused.value} {refused.value.detail} {refused.value.hint}"


def test_an_address_of_a_directory_is_opened(tmp_path: Path) -> None:
    put_small(open_address(parse_address(f"directory:{tmp_path}")), "v1/a", b"x")

    assert (tmp_path / "v1/a").read_bytes() == b"x"


@pytest.mark.parametrize(
    ("endpoint", "environment", "wanted"),
    [
        (None, "eu-west-1", "eu-west-1"),
        ("https://s3.us-west-004.backblazeb2.com", "eu-west-1", "us-west-004"),
        ("http://127.0.0.1:9000", "eu-west-1", "eu-west-1"),
        ("http://127.0.0.1:9000", None, "us-east-1"),
    ],
)
def test_an_address_is_signed_for_the_region_of_its_store_or_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, endpoint: str | None, environment: str | None, wanted: str
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    monkeypatch.delenv("AWS_REGION", raising=False)
    if environment is not None:
        monkeypatch.setenv("AWS_REGION", environment)

    store = open_address(parse_address("s3://bucket/folder"), endpoint_url=endpoint)

    assert isinstance(store, S3Store)
    assert (store.bucket, store._prefix, store._client.meta.region_name) == ("bucket", "folder/", wanted)
    store._client.close()
