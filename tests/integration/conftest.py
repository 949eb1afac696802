"""The functions as they are deployed, in this process: real PostgreSQL, AWS played by moto."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import botocore.session
import psycopg2
import pytest
from aws_lambda_powertools import Logger
from moto import mock_aws
from tests.catalog_table import create_table
from tests.confirming import overwrites, with_confirmation
from tests.integration.contents import RoundTrip, RoundTripOn
from tests.judged_calls import judged
from tests.shared_server import drop_databases, own_databases
from ulid import ULID

from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup
from coffre.runtime.backup_database_function import BackupDatabaseFunction
from coffre.runtime.drill_function import DrillFunction
from coffre.runtime.restore_function import RestoreFunction
from coffre.runtime.rotate_function import RotateFunction
from coffre.runtime.verify_function import VerifyFunction
from coffre.vault.codec import new_identity, public_key
from coffre_local.postgres_server import PostgresServer

BUCKET = "vault"
TABLE = "catalog"
REGION = "eu-west-1"

_numbers = itertools.count(1)
# In every secret that tests write. Servers that trust everyone do not ask for it; it must not show up anywhere.
PASSWORD = "pa55/w@rd of:%shop"


@dataclass
class Context:
    """An invocation's context; `remaining` is read each time, so a test can let the time run out."""

    remaining: Callable[[], float] = field(default=lambda: 900.0)
    aws_request_id: str = field(default_factory=lambda: f"request-{next(_numbers)}")
    function_name: str = "backup-database"

    def get_remaining_time_in_millis(self) -> int:
        return int(self.remaining() * 1000)


@dataclass
class Coffre:
    """Both functions with their AWS, and what a test looks at afterwards."""

    environment: dict[str, str]
    identity: str
    log_lines: list[str] = field(default_factory=list)
    alerts_read: list[str] = field(default_factory=list)
    with_safety: bool = False
    _functions: dict[object, Any] = field(default_factory=dict)
    _heard: list[tuple[Logger, logging.Handler]] = field(default_factory=list)

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
        client("ssm").put_parameter(Name="configuration", Value=text, Type="String", Overwrite=True)

    def document_text(self) -> str:
        """The configuration document as it is now."""
        text: str = client("ssm").get_parameter(Name="configuration")["Parameter"]["Value"]
        return text

    def secret(self, name: str, value: str) -> None:
        """Write a secret."""
        secrets = client("secretsmanager")
        try:
            secrets.create_secret(Name=name, SecretString=value)
        except secrets.exceptions.ResourceExistsException:
            secrets.put_secret_value(SecretId=name, SecretString=value)

    def backup_function(self) -> BackupDatabaseFunction:
        """The function `backup_database` with this environment, as one process of it lives through invocations."""
        function: BackupDatabaseFunction = self._function(BackupDatabaseFunction.make)
        return function

    def restore_function(self) -> RestoreFunction:
        """The function `restore` with this environment."""
        function: RestoreFunction = self._function(RestoreFunction.make)
        return function

    def rotate_function(self) -> RotateFunction:
        """The function `rotate` with this environment."""
        function: RotateFunction = self._function(RotateFunction.make)
        return function

    def rotate(self, context: Context | None = None, **event: Any) -> dict[str, Any]:
        """Invoke `rotate`."""
        return self.rotate_function().handle(event, context or Context(function_name="rotate"))

    def drill_function(self) -> DrillFunction:
        """The function `drill` with this environment."""
        function: DrillFunction = self._function(DrillFunction.make)
        return function

    def drill(self, context: Context | None = None, **event: Any) -> dict[str, Any]:
        """Invoke `drill`, of the target `shop` unless the event says otherwise."""
        return self.drill_function().handle(event or {"target": "shop"}, context or Context(function_name="drill"))

    def verify_function(self) -> VerifyFunction:
        """The function `verify` with this environment."""
        function: VerifyFunction = self._function(VerifyFunction.make)
        return function

    def verify(self, level: str, context: Context | None = None, **event: Any) -> dict[str, Any]:
        """Invoke `verify`."""
        return self.verify_function().handle({"level": level, **event}, context or Context(function_name="verify"))

    def _function(self, make: Callable[[dict[str, str]], Any]) -> Any:
        key = (make, *sorted(self.environment.items()))
        if key not in self._functions:
            self._functions[key] = make(self.environment)
            self._hear(self._functions[key].services.edge.logger)
        return self._functions[key]

    def _hear(self, logger: Logger) -> None:
        handler = _Lines(self.log_lines)
        handler.setFormatter(logger.registered_formatter)
        logger.addHandler(handler)
        self._heard.append((logger, handler))

    def close(self) -> None:
        """Stop to listen to the loggers, which outlive a test."""
        for logger, handler in self._heard:
            logger._logger.removeHandler(handler)

    def backup(self, context: Context | None = None, **event: Any) -> dict[str, Any]:
        """Invoke `backup_database` for the target `shop`."""
        return self.backup_function().handle({"target": "shop", **event}, context or Context())

    def restore(
        self, backup_id: str, destination: str | None, context: Context | None = None, **event: Any
    ) -> dict[str, Any]:
        """Invoke `restore` of a backup into a database given by its URL, or into the target's own.

        What overwrites is planned and confirmed first, and needs no SAFETY backup but in tests of those.
        """
        wanted = {"backup_id": backup_id, **event}
        if not self.with_safety and (event.get("replace") or event.get("apply")):
            wanted = {"no_safety": True, **wanted}
        if destination is not None:
            self.secret("coffre/database/destination", destination)
            wanted["destination"] = "coffre/database/destination"
        handle = self.restore_function().handle
        if overwrites(wanted):
            wanted = with_confirmation(lambda event: handle(event, Context(function_name="restore")), wanted)
        return handle(wanted, context or Context(function_name="restore"))

    def delete(self, backup_id: str, **how: Any) -> dict[str, Any]:
        """Delete a backup as a person does."""
        event = with_confirmation(lambda event: self.rotate(**event), {"delete": {"backup_id": backup_id, **how}})
        return self.rotate(**event)

    @cached_property
    def catalog(self) -> Catalog:
        return Catalog(TABLE)

    def backups(self) -> list[Backup]:
        """All backups in the catalog, newest first."""
        return list(self.catalog.backups())

    def objects(self, prefix: str = "") -> dict[str, bytes]:
        """Everything in the vault."""
        s3 = client("s3")
        listed = s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
        return {item["Key"]: s3.get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read() for item in listed}

    def put_object(self, key: str, body: bytes) -> None:
        """Change the vault behind Coffre's back."""
        client("s3").put_object(Bucket=BUCKET, Key=key, Body=body)

    def alerts(self) -> list[dict[str, Any]]:
        """Every alert that was published so far (and not read before): subject, text and attributes."""
        sqs = client("sqs")
        queue = sqs.get_queue_url(QueueName="alerts")["QueueUrl"]
        found = []
        while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                self.alerts_read.append(message["Body"])
                found.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return found

    def troubles(self) -> list[dict[str, Any]]:
        """The same without what is told for information, as that a restore began."""
        return [alert for alert in self.alerts() if alert["MessageAttributes"]["severity"]["Value"] != "info"]


class _Lines(logging.Handler):
    """Keeps what a logger writes."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(self.format(record))


@cache
def client(service: str) -> Any:
    """A client of the played AWS. Making one takes longer than most calls."""
    return botocore.session.get_session().create_client(service, region_name=REGION)


@pytest.fixture
def coffre(monkeypatch: pytest.MonkeyPatch, postgresql_home: Path) -> Iterator[Coffre]:
    """A fresh deployment without a configuration document: call `coffre.configure`.

    What a function may not do when it is deployed fails the test (`tests.judged_calls`).
    """
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "POWERTOOLS_METRICS_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        create_table(TABLE)
        topic = client("sns").create_topic(Name="alerts")["TopicArn"]
        queue = client("sqs").create_queue(QueueName="alerts")["QueueUrl"]
        arn = client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
        client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn["Attributes"]["QueueArn"])
        identity = new_identity()
        client("secretsmanager").create_secret(Name="coffre/identity/main", SecretString=identity)
        scene = Coffre(
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
        with judged(vault=BUCKET) as refused:
            yield scene
        scene.close()
        assert refused == [], "the role in template.yaml does not allow what the function did"


@pytest.fixture
def shop(empty_database: str) -> str:
    """The URL, with a password, of a small shop: two tables, a key between them, a sequence, 1,050 rows."""
    run_sql(empty_database, SHOP)
    return with_password(empty_database)


@pytest.fixture
def new_database(empty_database: str, postgres_server: PostgresServer) -> Iterator[str]:
    """The URL, with a password, of a database that does not exist yet; dropped afterwards."""
    name = f"new_{urlsplit(empty_database).path[1:]}"
    yield with_password(beside(empty_database, name))
    drop_databases(postgres_server, name)


SHOP = """
CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL);
INSERT INTO customers SELECT n, 'Ada Lovelace ' || n FROM generate_series(1, 50) n;
CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer int NOT NULL REFERENCES customers, note text);
INSERT INTO orders (customer, note) SELECT 1 + n % 50, repeat(md5(n::text), 3) FROM generate_series(1, 1000) n;
CREATE INDEX orders_by_customer ON orders (customer)
"""


def run_sql(url: str, *statements: str) -> list[tuple[Any, ...]]:
    """Run statements, each in its own transaction, and return the rows of the last one."""
    rows: list[tuple[Any, ...]] = []
    with closing(psycopg2.connect(url)) as session:
        session.autocommit = True
        with session.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
                rows = cursor.fetchall() if cursor.description else []
    return rows


def with_password(url: str, user: str | None = None) -> str:
    """Return a URL with `PASSWORD` in it, and another role if one is named."""
    parts = urlsplit(url)
    return f"postgresql://{user or parts.username}:{quote(PASSWORD, safe='')}@{parts.hostname}:{parts.port}{parts.path}"


@pytest.fixture
def round_trip_on(coffre: Coffre, postgresql_home: Path) -> Iterator[RoundTripOn]:
    """Make an empty database on a server, to fill, back up, and restore into another that does not exist yet."""
    with ExitStack() as stack:

        def make(server: PostgresServer) -> RoundTrip:
            name = f"source_{next(_numbers)}"
            copy = f"copy_of_{name}"
            stack.enter_context(own_databases(server, name, copy))
            return RoundTrip(coffre, server, server.dsn(name), server.dsn(copy), postgresql_home)

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
