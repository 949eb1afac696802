"""An account for the benchmark of the console: its table with many records, its configuration, rules and bucket."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import boto3
from ulid import ULID

from benchmarks.harness import progress
from coffre.catalog.catalog import Catalog
from coffre.catalog.items import index_value
from coffre.model.backup import Backup, Status
from coffre.model.configuration import parse_configuration
from coffre.model.drill import DrillSummary, Outcome
from coffre_console.access.bearers import Person
from coffre_console.access.sessions import SessionDoor

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

TARGETS: Final = tuple(f"shop-{number:02}" for number in range(20))
_JOBS: Final = ("daily-databases", "weekly-databases", "monthly-databases", "rotate", "fresh", "inventory", "read")
_BATCH: Final = 25
_ONE_FAILS_OF: Final = 2_000
_GROUP: Final = "dba"
FEW: Final = "few"
"""The group whose role is for this many targets."""
MANY_ENOUGH: Final = 5


@dataclass(frozen=True)
class Place:
    """The account, and what its parts are called."""

    endpoint: str
    table: str = "catalog"
    bucket: str = "vault"
    configuration: str = "/coffre/configuration"
    region: str = "eu-west-1"

    def environment(self) -> dict[str, str]:
        """Return the variables of a console of this account."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "COFFRE_CONFIGURATION": self.configuration,
            "COFFRE_VAULT_BUCKET": self.bucket,
            "COFFRE_CATALOG_TABLE": self.table,
            "COFFRE_ALERT_TOPIC_ARN": f"arn:aws:sns:{self.region}:000000000000:alerts",
            "COFFRE_STACK": "safe",
            "COFFRE_CONSOLE_ADDRESS": "https://backups.example.com",
            "COFFRE_SCHEDULES": " ".join(f"{job}=safe-{job}" for job in _JOBS),
            "COFFRE_DOWNLOAD_ROLE": "arn:aws:iam::000000000000:role/download",
        }


def make_account(place: Place) -> None:
    """Make the bucket, the rules and the configuration."""
    where: Any = {"LocationConstraint": place.region}
    boto3.client("s3").create_bucket(Bucket=place.bucket, CreateBucketConfiguration=where)
    events = boto3.client("events")
    for job in _JOBS:
        events.put_rule(Name=f"safe-{job}", ScheduleExpression="cron(0 2 * * ? *)")
    console = {
        "issuer": "https://login.example.com",
        "client_id": "coffre",
        "roles": [
            {"group": _GROUP, "role": "admin"},
            {"group": FEW, "role": "admin", "targets": TARGETS[:MANY_ENOUGH]},
        ],
    }
    targets = [{"name": name, "secret": f"coffre/database/{name}"} for name in TARGETS]
    document = json.dumps({"encryption": "none", "targets": targets, "console": console})
    boto3.client("ssm").put_parameter(Name=place.configuration, Value=document, Type="String", Tier="Advanced")


def sign_in(catalog: Catalog, now: datetime, group: str = _GROUP) -> str:
    """Begin an administrator's session, and return its cookie as a browser sends it."""
    document = boto3.client("ssm").get_parameter(Name="/coffre/configuration")["Parameter"]["Value"]
    configuration = parse_configuration(document, where="the benchmark")
    assert configuration.console is not None
    anna = Person("anna", "anna@example.com", (group,))
    door = SessionDoor(catalog.sessions, lambda: configuration)
    return door.begin(configuration.console, anna, now).partition(";")[0]


def note_drills(catalog: Catalog, like: Backup) -> None:
    """Record a drill of each target."""
    for name in TARGETS:
        drill = DrillSummary(
            id=str(ULID.from_datetime(like.created_at)),
            backup_id=like.id,
            target=name,
            outcome=Outcome.PASSED,
            completed_at=like.created_at,
        )
        catalog.latest.note_drill(drill)


def fill(client: DynamoDBClient, place: Place, like: Backup, count: int) -> None:
    """Write records of hourly backups of all targets, older than `like`, by its own item: few of them failed."""
    [item] = client.query(
        TableName=place.table,
        KeyConditionExpression="pk = :pk AND sk = :sk",
        ExpressionAttributeValues={":pk": {"S": "BACKUP"}, ":sk": {"S": like.id}},
    )["Items"]
    records = _records(item, like.created_at, count)
    batches = iter(lambda: list(itertools.islice(records, _BATCH)), [])
    with ThreadPoolExecutor(2) as pool:
        for number, _ in enumerate(pool.map(lambda batch: _write(client, place.table, batch), batches)):
            if number % 1_000 == 999:
                progress(f"  {number * _BATCH + _BATCH:,}")


def _records(item: dict[str, Any], newest: datetime, count: int) -> Iterator[dict[str, Any]]:
    for number in range(count - 1):
        target = TARGETS[number % len(TARGETS)]
        began = newest - timedelta(hours=1 + number // len(TARGETS), seconds=number % len(TARGETS))
        status = Status.FAILED if number % _ONE_FAILS_OF == _ONE_FAILS_OF - 1 else Status.COMPLETED
        made = copy.copy(item)
        made |= {"sk": {"S": str(ULID.from_datetime(began))}, "target": {"S": target}, "status": {"S": status.value}}
        made["target_key"] = {"S": index_value("BACKUP", target)}
        made["status_key"] = {"S": index_value("BACKUP", status.value)}
        times = ("created_at", "started_at", "completed_at", "heartbeat_at")
        for name in times if status is Status.FAILED else (*times, "verified_at"):
            made[name] = {"S": began.isoformat()}
        yield made


def _write(client: DynamoDBClient, table: str, batch: list[dict[str, Any]]) -> None:
    left: Any = {table: [{"PutRequest": {"Item": item}} for item in batch]}
    while left:
        left = client.batch_write_item(RequestItems=left).get("UnprocessedItems")
