"""Casa's files: the same each time, and damaged in a way that shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import boto3
import pytest
from moto import mock_aws

from coffre_local.sample.files import damage_files, fingerprint_files, load_files, sample_files

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SMALL = 0.05


@pytest.fixture
def client() -> Iterator[S3Client]:
    with mock_aws():
        made = boto3.client("s3", region_name="us-east-1")
        made.create_bucket(Bucket="files")
        yield made


def test_the_files_are_the_same_each_time() -> None:
    assert list(sample_files(SMALL)) == list(sample_files(SMALL))
    assert len({file.key for file in sample_files(SMALL)}) == len(list(sample_files(SMALL))) == 18


def test_an_accident_deletes_a_folder_and_overwrites_photos(client: S3Client) -> None:
    assert load_files(client, "files", scale=SMALL) == 18
    before = fingerprint_files(client, "files")
    assert before["photos/0001/00005.jpg"][1:] == ("image/jpeg", (("listing", "1"),))

    said = damage_files(client, "files")

    after = fingerprint_files(client, "files")
    assert sorted(set(before) - set(after)) == [f"leases/2026/{number:05d}.txt" for number in range(5)]
    changed = [key for key in after if after[key] != before[key]]
    assert sorted(changed) == [f"photos/0001/{number:05d}.jpg" for number in range(5, 10)]
    assert said[0].startswith("Deleted leases/ with its 5 files")
