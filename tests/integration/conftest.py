"""The functions as they are deployed, in this process: real PostgreSQL, AWS played by moto."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from tests.integration.contents import RoundTrip, RoundTripOn
from ulid import ULID

from coffre.catalog.catalog import Catalog
from coffre.catalog.tables import create_table
from coffre.model.backup import Backup
from coffre.runtime.backup_database_function import BackupDatabaseFunction
from coffre.runtime.bootstrap import make_backup_database_function, make_restore_function
from coffre.runtime.restore_function import RestoreFunction
from coffre.vault.codec import new_identity, public_key
from coffre_cli.local.postgres_server import PostgresServer

BUCKET = "vault"
TABLE = "catalog"
REGION = "eu-west-1"

_numbers = itertools.count(1)


@dataclass
class Context:
    """An invocation's context; `remaining` is read each time, so a test can let the time run out."""

    remaining: Callable[[], float] = field(default=lambda: 900.0)
    aws_request_id: str = "request-1"
    function_name: str = "backup-database"

    def get_remaining_time_in_millis(self) -> int:
        return int(self.remaining() * 1000)


@dataclass
class Coffre:
    """Both functions with their AWS, and what a test looks at afterwards."""

    environment: dict[str, str]
    identity: str

    def configure(self, database: str, **changes: Any) -> None:
        """Write the configuration document with one target `shop` at `database`."""
        self.secret("coffre/database/shop", database)
        document = {
            "encryption": "age",
            "recipients": [public_key(self.identity)],
            "targets": [{"name": "shop", "secret": "coffre/database/shop", **changes.pop("target", {})}],
            **changes,
        }
        self.document(json.dumps(document))

    def document(self, text: str) -> None:
        """Write the configuration document as it is."""
        boto3.client("ssm").put_parameter(Name="configuration", Value=text, Type="String", Overwrite=True)

    def secret(self, name: str, value: str) -> None:
        """Write a secret."""
        client = boto3.client("secretsmanager")
        try:
            client.create_secret(Name=name, SecretString=value)
        except client.exceptions.ResourceExistsException:
            client.put_secret_value(SecretId=name, SecretString=value)

    def backup_function(self) -> BackupDatabaseFunction:
        return make_backup_database_function(self.environment)

    def restore_function(self) -> RestoreFunction:
        return make_restore_function(self.environment)

    def backup(self, context: Context | None = None, **event: Any) -> dict[str, Any]:
        """Invoke `backup_database` for the target `shop`."""
        return self.backup_function().handle({"target": "shop", **event}, context or Context())

    def restore(self, backup_id: str, destination: str, context: Context | None = None, **event: Any) -> dict[str, Any]:
        """Invoke `restore` of a backup into a database given by its URL."""
        self.secret("coffre/database/destination", destination)
        wanted = {"backup_id": backup_id, "destination": "coffre/database/destination", **event}
        return self.restore_function().handle(wanted, context or Context(function_name="restore"))

    @property
    def catalog(self) -> Catalog:
        return Catalog(TABLE)

    def backups(self) -> list[Backup]:
        """All backups in the catalog, newest first."""
        return list(self.catalog.backups())

    def objects(self, prefix: str = "") -> dict[str, bytes]:
        """Everything in the vault."""
        client = boto3.client("s3")
        listed = client.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
        return {item["Key"]: client.get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read() for item in listed}

    def put_object(self, key: str, body: bytes) -> None:
        """Change the vault behind Coffre's back."""
        boto3.client("s3").put_object(Bucket=BUCKET, Key=key, Body=body)

    def alerts(self) -> list[dict[str, Any]]:
        """Every alert that was published so far (and not read before): subject, text and attributes."""
        client = boto3.client("sqs")
        queue = client.get_queue_url(QueueName="alerts")["QueueUrl"]
        found = []
        while messages := client.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                found.append(json.loads(message["Body"]))
                client.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return found


@pytest.fixture
def coffre(monkeypatch: pytest.MonkeyPatch, postgresql_home: Path) -> Iterator[Coffre]:
    """A fresh deployment without a configuration document: call `coffre.configure`."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "POWERTOOLS_METRICS_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        boto3.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        create_table(TABLE)
        topic = boto3.client("sns").create_topic(Name="alerts")["TopicArn"]
        queue = boto3.client("sqs").create_queue(QueueName="alerts")["QueueUrl"]
        arn = boto3.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
        boto3.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn["Attributes"]["QueueArn"])
        identity = new_identity()
        boto3.client("secretsmanager").create_secret(Name="coffre/identity/main", SecretString=identity)
        yield Coffre(
            environment={
                "COFFRE_CONFIGURATION": "configuration",
                "COFFRE_VAULT_BUCKET": BUCKET,
                "COFFRE_CATALOG_TABLE": TABLE,
                "COFFRE_ALERT_TOPIC_ARN": topic,
                "COFFRE_POSTGRES_HOME": str(postgresql_home),
                "COFFRE_IDENTITY_SECRET": "coffre/identity/main",
            },
            identity=identity,
        )


@pytest.fixture
def round_trip_on(coffre: Coffre, postgresql_home: Path) -> Iterator[RoundTripOn]:
    """Make an empty database on a server, to fill, back up, and restore into another that does not exist yet."""
    with ExitStack() as stack:

        def make(server: PostgresServer) -> RoundTrip:
            name = f"source_{next(_numbers)}"
            source = server.create_database(name)
            for made in (name, f"copy_of_{name}"):
                stack.callback(server.drop_database, made)
            return RoundTrip(coffre, source, beside(source, f"copy_of_{name}"), postgresql_home)

        yield make


@pytest.fixture
def round_trip(round_trip_on: RoundTripOn, postgres_server: PostgresServer) -> RoundTrip:
    """The same, on the server that most tests share."""
    return round_trip_on(postgres_server)


def new_id() -> str:
    """A fresh ULID."""
    return str(ULID.from_datetime(datetime.now(UTC)))


def beside(database: str, name: str) -> str:
    """The URL of another database on the same server, which does not exist yet."""
    return f"{database.rsplit('/', 1)[0]}/{name}"
