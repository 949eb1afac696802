"""What is at the destination of a restore: sorted, whatever order the store has and however much there is."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from coffre.buckets.writer import BucketWriter
from coffre.model.errors import StoreError
from coffre.stores.s3_client import S3Credentials, make_client

PAGES = 60
WHEN = datetime(2026, 1, 2, tzinfo=UTC)


class Unsorted:
    """A store that lists the last key first."""

    def list_objects_v2(self, **request: Any) -> dict[str, Any]:
        number = int(request.get("ContinuationToken", PAGES)) - 1
        keys = [f"{number:03}/{index:03}" for index in reversed(range(1000))]
        contents = [{"Key": key, "Size": 7, "ETag": '"e"', "LastModified": WHEN} for key in keys]
        more = {"IsTruncated": True, "NextContinuationToken": str(number)} if number else {}
        return {"Contents": contents, **more}


class Repeating(Unsorted):
    """A store that never comes to an end."""

    def list_objects_v2(self, **request: Any) -> dict[str, Any]:
        return {"Contents": [{"Key": "a", "Size": 1}], "IsTruncated": True, "NextContinuationToken": "again"}


def bucket(store: Unsorted, *, is_aws: bool = False) -> BucketWriter:
    key = S3Credentials("id", "secret")
    client = make_client(region="eu-west-3", endpoint_url="http://store.example", credentials=key)
    client.list_objects_v2 = store.list_objects_v2  # type: ignore[method-assign,assignment]
    return BucketWriter(client, "b", is_aws=is_aws)


def test_a_large_bucket_of_a_store_without_order_is_sorted_through_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    listing = bucket(Unsorted()).listing("")

    first = next(listing)
    files = list(tmp_path.rglob("*.zst"))
    others = [found.key for found in listing]

    assert (first.key, first.size, first.etag, first.last_modified) == ("000/000", 7, "e", WHEN)
    assert others == sorted(others)
    assert len(others) == PAGES * 1000 - 1
    assert len(files) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_listing_of_aws_that_is_not_in_order_is_sorted_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    assert next(bucket(Unsorted(), is_aws=True).listing("")).key == "000/000"


def test_a_listing_that_is_left_early_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    listing = bucket(Unsorted()).listing("")
    next(listing)

    listing.close()  # type: ignore[attr-defined]

    assert list(tmp_path.iterdir()) == []


def test_a_bucket_that_repeats_a_page_is_refused() -> None:
    with pytest.raises(StoreError) as refused:
        list(bucket(Repeating()).listing(""))

    assert refused.value.code == "LISTING_BROKEN"
