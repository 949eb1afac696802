"""Casa's files: what its tenants and landlords upload, in a bucket, and what an accident does to them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_PHOTOS: Final = 200
_LEASES: Final = 80
_THREADS: Final = 4
_PHOTO_BYTES: Final = 40_000
_PLAN_BYTES: Final = 3_000_000
_CLAUSE: Final = "The tenant pays the rent on the first of each month, and the landlord keeps the roof tight.\n"

FileFingerprint = tuple[str, str, tuple[tuple[str, str], ...]]
"""SHA-256 of the bytes, content type, and the user's metadata."""


@dataclass(frozen=True, slots=True)
class SampleFile:
    """One object: its key, bytes, and what a browser and the application want to know about it."""

    key: str
    body: bytes
    content_type: str
    metadata: dict[str, str] = field(default_factory=dict)


def load_files(client: S3Client, bucket: str, *, scale: float = 1.0) -> int:
    """Fill an empty bucket with Casa's files, the same each time for the same scale, and return how many they are."""

    def put(file: SampleFile) -> None:
        client.put_object(
            Bucket=bucket, Key=file.key, Body=file.body, ContentType=file.content_type, Metadata=file.metadata
        )

    with ThreadPoolExecutor(_THREADS) as pool:
        return len(list(pool.map(put, sample_files(scale))))


def sample_files(scale: float = 1.0) -> Iterator[SampleFile]:
    """Yield Casa's files: photos that do not compress, leases that do, a large plan, and names that people give."""
    for number in range(max(10, int(_PHOTOS * scale))):
        size = _PHOTO_BYTES + 977 * (number % 50)
        listing = {"listing": str(number // 5)}
        yield SampleFile(
            f"photos/{number // 5:04d}/{number:05d}.jpg", _noise(f"photo {number}", size), "image/jpeg", listing
        )
    for number in range(max(5, int(_LEASES * scale))):
        text = f"Lease {number}\n\n" + _CLAUSE * (20 + number % 200)
        yield SampleFile(f"leases/2026/{number:05d}.txt", text.encode(), "text/plain; charset=utf-8")
    yield SampleFile(
        "plans/Haus am See, 1. Stock.pdf", _noise("plan", max(2_000_000, int(_PLAN_BYTES * scale))), "application/pdf"
    )
    yield SampleFile("plans/Crème brûlée & café.pdf", _noise("menu", 12_000), "application/pdf")
    yield SampleFile("plans/", b"", "application/x-directory")


def damage_files(client: S3Client, bucket: str) -> list[str]:
    """Do to the files what an accident does: delete a folder, overwrite what looks alike, and say so in sentences."""
    leases = list(_keys(client, bucket, "leases/"))
    for key in leases:
        client.delete_object(Bucket=bucket, Key=key)
    photos = list(_keys(client, bucket, "photos/0001/"))
    for key in photos:
        client.put_object(Bucket=bucket, Key=key, Body=b"404 Not Found", ContentType="text/html")
    return [
        f"Deleted leases/ with its {len(leases)} files: a life-cycle rule that was meant for logs.",
        f"Overwrote the {len(photos)} photos below photos/0001/ with an error page.",
    ]


def fingerprint_files(client: S3Client, bucket: str) -> dict[str, FileFingerprint]:
    """Hash every object of a bucket, with its content type and metadata, by key."""

    def read(key: str) -> tuple[str, FileFingerprint]:
        answer = client.get_object(Bucket=bucket, Key=key)
        digest = hashlib.sha256(answer["Body"].read()).hexdigest()
        return key, (digest, answer.get("ContentType", ""), tuple(sorted(answer["Metadata"].items())))

    with ThreadPoolExecutor(_THREADS) as pool:
        return dict(pool.map(read, _keys(client, bucket, "")))


def make_bucket(client: S3Client, bucket: str, region: str) -> None:
    """Create a bucket, unless it exists."""
    if bucket not in {found["Name"] for found in client.list_buckets()["Buckets"]}:
        place = {"LocationConstraint": region}
        client.create_bucket(Bucket=bucket, CreateBucketConfiguration=place)  # type: ignore[arg-type]


def _keys(client: S3Client, bucket: str, prefix: str) -> Iterator[str]:
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for found in page.get("Contents", []):
            yield found["Key"]


def _noise(seed: str, size: int) -> bytes:
    """Return bytes that nothing compresses, the same each time."""
    return hashlib.shake_256(seed.encode()).digest(size)
