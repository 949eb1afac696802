"""How a user's store is addressed, and what a secret may say."""

import json
from contextlib import closing

import pytest

from coffre.buckets.client import make_bucket_client, parse_credentials, parse_store_secret, region_of
from coffre.model.bucket_target import ObjectStore
from coffre.model.errors import SecretError
from coffre.stores.s3_client import S3Credentials

KEY = {"access_key_id": "id", "secret_access_key": "hush"}


@pytest.mark.parametrize(
    ("store", "region"),
    [
        (ObjectStore(), None),
        (ObjectStore(region="eu-west-3"), "eu-west-3"),
        (ObjectStore(endpoint="https://s3.us-west-004.backblazeb2.com"), "us-west-004"),
        (ObjectStore(endpoint="https://s3.us-west-004.backblazeb2.com", region="x"), "x"),
        (ObjectStore(endpoint="https://0123.r2.cloudflarestorage.com"), "auto"),
        (ObjectStore(endpoint="http://127.0.0.1:9000"), "us-east-1"),
        (ObjectStore(endpoint="https://abc.supabase.co/storage/v1/s3"), "us-east-1"),
    ],
)
def test_the_region_is_found_where_it_is_known(store: ObjectStore, region: str | None) -> None:
    assert region_of(store) == region


@pytest.mark.parametrize(
    ("addressing", "address"),
    [("auto", "https://store.example/photos/cat"), ("virtual", "https://photos.store.example/cat")],
)
def test_buckets_stand_in_the_path_unless_something_else_is_said(addressing: str, address: str) -> None:
    store = ObjectStore.model_validate({"endpoint": "https://store.example", "addressing": addressing})

    with closing(make_bucket_client(store, S3Credentials("id", "hush"))) as client:
        url = client.generate_presigned_url("get_object", Params={"Bucket": "photos", "Key": "cat"})

    assert url.startswith(f"{address}?")


def test_a_secret_holds_a_key_and_perhaps_an_address() -> None:
    text = json.dumps({**KEY, "session_token": "t", "endpoint": "https://store.example", "region": "eu"})

    assert parse_credentials(text, where="here") == S3Credentials("id", "hush", "t")
    assert parse_store_secret(text, where="here").store == ObjectStore(endpoint="https://store.example", region="eu")
    assert "hush" not in repr(parse_store_secret(text, where="here"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("hush", "not a JSON object"),
        ('["hush"]', "document"),
        (json.dumps({"access_key_id": "id"}), "secret_access_key: Field required"),
        (json.dumps({**KEY, "colour": "hush"}), "colour: unknown field"),
        (json.dumps({**KEY, "endpoint": "ftp://hush"}), "endpoint"),
    ],
)
def test_what_is_no_key_is_refused_without_repeating_it(text: str, why: str) -> None:
    with pytest.raises(SecretError) as caught:
        parse_store_secret(text, where="coffre/storage/x")

    assert caught.value.code == "SECRET_SHAPE"
    assert why in str(caught.value)
    assert "coffre/storage/x" in str(caught.value)
    assert "hush" not in str(caught.value)
