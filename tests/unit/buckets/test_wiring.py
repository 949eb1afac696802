"""Where requests of a target go, how its buckets are addressed, and by whose key they are signed."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from coffre.buckets.open_reader import open_reader
from coffre.model.bucket_target import BucketTarget
from coffre.model.errors import StoreError
from coffre.stores.s3_client import S3Credentials
from coffre.stores.s3_wire import Endpoint

KEY = S3Credentials("key", "secret")
R2 = "https://account.r2.cloudflarestorage.com"
SUPABASE = "https://ref.supabase.co/storage/v1/s3"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-3")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "role-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "role-secret")


def target(*buckets: str, **store: str) -> BucketTarget:
    document: dict[str, Any] = {"name": "files", "kind": "bucket", "store": store}
    return BucketTarget.model_validate({**document, "buckets": [{"name": name} for name in buckets or ("photos",)]})


@pytest.mark.parametrize(
    ("store", "endpoint"),
    [
        ({}, Endpoint("https://s3.eu-west-3.amazonaws.com", "eu-west-3", by_path=False)),
        ({"region": "us-west-2"}, Endpoint("https://s3.us-west-2.amazonaws.com", "us-west-2", by_path=False)),
        ({"addressing": "path"}, Endpoint("https://s3.eu-west-3.amazonaws.com", "eu-west-3", by_path=True)),
        ({"endpoint": R2}, Endpoint(R2, "auto", by_path=True)),
        ({"endpoint": R2, "addressing": "virtual"}, Endpoint(R2, "auto", by_path=False)),
        ({"endpoint": SUPABASE, "region": "eu-west-3"}, Endpoint(SUPABASE, "eu-west-3", by_path=True)),
        ({"endpoint": "https://s3.eu-central-003.backblazeb2.com"}, None),
    ],
)
def test_where_requests_go(store: dict[str, str], endpoint: Endpoint | None) -> None:
    with open_reader(target(**store), KEY, stopping=threading.Event()) as reader:
        expected = endpoint or Endpoint(store["endpoint"], "eu-central-003", by_path=True)
        assert reader.wire.endpoint == expected
        assert reader.has_acls is ("endpoint" not in store)


def test_a_bucket_with_a_dot_stands_in_the_path() -> None:
    """No certificate of AWS is for two names before its own."""
    with open_reader(target("my.photos"), KEY, stopping=threading.Event()) as reader:
        assert reader.wire.endpoint.by_path


def test_an_emulator_is_addressed_by_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")

    with open_reader(target(), None, stopping=threading.Event()) as reader:
        assert reader.wire.endpoint == Endpoint("http://127.0.0.1:4566", "eu-west-3", by_path=True)


def test_without_a_secret_the_functions_role_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session")

    with open_reader(target(), None, stopping=threading.Event()) as reader:
        assert reader.wire.credentials() == S3Credentials("role-key", "role-secret", "session")
    with open_reader(target(), KEY, stopping=threading.Event()) as reader:
        assert reader.wire.credentials() == KEY


def test_without_any_credentials_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")

    with pytest.raises(StoreError) as missing:
        open_reader(target(), None, stopping=threading.Event())

    assert missing.value.code == "STORE_CREDENTIALS"
