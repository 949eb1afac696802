"""A catalog on a fresh table, and the records to put into it."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from moto import mock_aws
from tests.catalog_table import create
from ulid import ULID

from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup, Restore, Status, Tier

TABLE = "coffre-catalog"
NOON = datetime(2026, 10, 2, 12, tzinfo=UTC)

type NewBackup = Callable[..., Backup]
type NewRestore = Callable[..., Restore]
type RawTable = Any


@pytest.fixture(autouse=True)
def aws_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that open nothing, and no endpoint or profile of the machine."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-3")


@pytest.fixture
def aws(aws_environment: None) -> Iterator[None]:
    """An empty AWS account in this process."""
    with mock_aws():
        yield


@pytest.fixture
def catalog(aws: None) -> Catalog:
    catalog = Catalog(TABLE)
    create(catalog._table)
    return catalog


@pytest.fixture
def raw_table(catalog: Catalog) -> RawTable:
    """The table as its owner sees it in the console."""
    return boto3.resource("dynamodb").Table(TABLE)


@pytest.fixture
def now() -> datetime:
    return NOON


@pytest.fixture
def new_backup() -> NewBackup:
    """Return the record of a backup that has just begun; each one a second younger than the one before."""
    count = 0

    def new(**fields: Any) -> Backup:
        nonlocal count
        count += 1
        created_at = fields.pop("created_at", NOON + timedelta(seconds=count))
        return Backup(
            id=fields.pop("id", str(ULID.from_datetime(created_at))),
            target=fields.pop("target", "shop"),
            tiers=fields.pop("tiers", (Tier.DAILY,)),
            status=fields.pop("status", Status.IN_PROGRESS),
            created_at=created_at,
            **fields,
        )

    return new


@pytest.fixture
def new_restore() -> NewRestore:
    """Return the record of a restore that has just begun."""
    count = 0

    def new(**fields: Any) -> Restore:
        nonlocal count
        count += 1
        created_at = NOON + timedelta(seconds=count)
        return Restore(
            id=str(ULID.from_datetime(created_at)),
            backup_id="01M00000000000000000000000",
            target=fields.pop("target", "shop"),
            destination="db.example.org:5432/shop",
            status=fields.pop("status", Status.IN_PROGRESS),
            created_at=created_at,
            **fields,
        )

    return new


@pytest.fixture
def completed() -> Callable[[Backup], Backup]:
    """Return a record with the results that a run adds at its end."""

    def complete(backup: Backup) -> Backup:
        return backup.model_copy(
            update={
                "status": Status.COMPLETED,
                "completed_at": NOON + timedelta(minutes=5),
                "duration_ms": 300_000,
                "plaintext_bytes": 5_000_000_000,
                "stored_bytes": 1_234_567_890,
                "tables": 42,
                "rows": 10_000_000,
                "manifest_key": f"v1/backups/{backup.target}/{backup.id}/manifest.json",
                "manifest_sha256": "a" * 64,
                "source_version": "16.4",
                "encryption": "age",
                "exceptions": ("extension postgis is not restored",),
            }
        )

    return complete
