"""The command `coffre` in this process: AWS is moto's, functions are played, and no stack of the machine is seen."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import boto3
import pytest
from botocore.config import Config
from moto import mock_aws
from tests.catalog_table import create_table
from tests.played_account import make_bucket, put_object, put_parameter
from ulid import ULID

from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup, Failure, Restore, Status, Tier
from coffre.model.kinds import TargetKind
from coffre.model.manifest import (
    BucketSummary,
    DatabaseContent,
    EntriesFile,
    Manifest,
    StorageContent,
    TableContent,
)
from coffre.model.restore_report import RestoredTable, RestoreReport
from coffre.vault.codec import new_identity, public_key
from coffre_cli import app, screen, stack_choice
from coffre_cli.deployed import DeployedStack

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

REGION: Final = "eu-west-1"
BUCKET, TABLE, STACK = "vault", "catalog", "safe"
RECIPIENT = public_key(new_identity())
OUTPUTS = {
    "VaultBucket": BUCKET,
    "VaultPrefix": "/",
    "CatalogTable": TABLE,
    "Configuration": "configuration",
    "BackupDatabaseFunction": "safe-backup-database",
    "BackupStorageFunction": "safe-backup-storage",
    "RestoreFunction": "safe-restore",
    "RotateFunction": "safe-rotate",
    "CopyFunction": "safe-copy",
    "DrillFunction": "safe-drill",
    "VerifyFunction": "safe-verify",
    "JournalFunction": "safe-journal",
}
DATABASE = DatabaseContent(
    database="shop",
    encoding="UTF8",
    server_version="18.6",
    server_version_number=180006,
    client_version="18.6",
    snapshot="1:1:",
    tables=(
        TableContent(oid=16385, schema_name="public", table_name="orders", columns=("id",), rows=1000, size=5_000_000),
        TableContent(oid=16390, schema_name="public", table_name="Odd Name", columns=("id",), rows=3, size=12),
    ),
)
STORAGE = StorageContent(
    endpoint="https://account.r2.cloudflarestorage.com",
    buckets=(
        BucketSummary(name="avatars", objects=12_000, size=5_000_000),
        BucketSummary(name="invoices", prefixes=("2026/",), exclude=("**.tmp",), objects=345, size=12),
    ),
    objects=12_345,
    added=40,
    changed=5,
    removed=1,
    previous="01K9X000000000000000000000",
    requests={"list": 13, "get": 45, "put": 3},
)
FAILURE = Failure(code="AUTHENTICATION_FAILED", message="The server refuses the password.", hint="Update the secret.")


@cache
def _client(service: str) -> Any:
    """Return a client that moto answers in every test: making one takes longer than a call."""
    config = Config(ignore_configured_endpoint_urls=True)  # type: ignore[call-arg] # its types are older
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    return boto3.Session().client(service, region_name=REGION, config=config, **keys)  # type: ignore[call-overload]


@dataclass(frozen=True)
class Said:
    """How a command ended and what it said; `stack` is the first line on stderr when it says which stack answered."""

    status: int
    out: str
    err: str
    stack: str = ""

    def json(self) -> Any:
        """What a script reads."""
        return json.loads(self.out)


type Coffre = Callable[..., Said]
type Played = Callable[[str, Mapping[str, Any]], object]


@dataclass
class Account:
    """An AWS account with a deployed stack, whose functions do what a test says."""

    catalog: Catalog
    invoked: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    play: Played = field(default=lambda function, event: None)
    caller: str = "arn:aws:iam::123456789012:user/ada"
    _times: Iterator[datetime] = field(default_factory=lambda: _every_second())

    @property
    def secrets(self) -> SecretsManagerClient:
        client: SecretsManagerClient = _client("secretsmanager")
        return client

    def secret_names(self) -> list[str]:
        return sorted(secret["Name"] for secret in self.secrets.list_secrets()["SecretList"])

    def configure(self, *targets: str, encryption: str = "age", recipients: Sequence[str] = (RECIPIENT,)) -> None:
        """Write the configuration document."""
        document = {
            "encryption": encryption,
            "recipients": list(recipients) if encryption == "age" else [],
            "targets": [{"name": name, "secret": f"coffre/database/{name}"} for name in targets],
        }
        put_parameter("configuration", json.dumps(document), REGION)

    def configure_copy(self, name: str) -> None:
        """Add a copy of the vault to the configuration document."""
        ssm = _client("ssm")
        document = json.loads(ssm.get_parameter(Name="configuration")["Parameter"]["Value"])
        document["copies"] = [{"name": name, "store": {"type": "s3", "bucket": f"acme-{name}"}}]
        put_parameter("configuration", json.dumps(document), REGION)

    def configure_journal(self, name: str, **options: Any) -> None:
        """Give a database of the configuration document a journal."""
        ssm = _client("ssm")
        document = json.loads(ssm.get_parameter(Name="configuration")["Parameter"]["Value"])
        for target in document["targets"]:
            if target["name"] == name:
                target["journal"] = options
        put_parameter("configuration", json.dumps(document), REGION)

    def configure_server(self, name: str) -> None:
        """Add a server to the configuration document."""
        ssm = _client("ssm")
        document = json.loads(ssm.get_parameter(Name="configuration")["Parameter"]["Value"])
        server = {"name": name, "secret": f"coffre/database/{name}", "databases": "all"}
        others = [target for target in document["targets"] if target["name"] != name]
        document["targets"] = [*others, server]
        put_parameter("configuration", json.dumps(document), REGION)

    def configure_copies(self, **stores: Mapping[str, str]) -> None:
        """Add copies to the configuration document, their stores by their names."""
        ssm = _client("ssm")
        document = json.loads(ssm.get_parameter(Name="configuration")["Parameter"]["Value"])
        document["copies"] = [{"name": name, "store": store} for name, store in stores.items()]
        put_parameter("configuration", json.dumps(document), REGION)

    def configure_buckets(self, name: str, *buckets: str) -> None:
        """Write a configuration document with a database and one target of buckets."""
        document = {
            "encryption": "age",
            "recipients": [RECIPIENT],
            "targets": [
                {"name": "shop", "secret": "coffre/database/shop"},
                {"name": name, "kind": "bucket", "buckets": [{"name": bucket} for bucket in buckets]},
            ],
        }
        put_parameter("configuration", json.dumps(document), REGION)

    def backup(self, status: Status = Status.COMPLETED, **fields: Any) -> Backup:
        """Put a backup into the catalog, each one younger than the one before."""
        created_at = fields.pop("created_at", next(self._times))
        backup_id = fields.pop("id", str(ULID.from_datetime(created_at)))
        target = fields.setdefault("target", "shop")
        if status is Status.COMPLETED:
            is_bucket = fields.get("kind") is TargetKind.BUCKET
            content = fields.pop("content", STORAGE if is_bucket else DATABASE)
            results = {"tables": None, "rows": None, "objects": 12_345} if is_bucket else {}
            manifest = self._manifest(backup_id, target, created_at, content)
            fields = {**_results(created_at), **results, **manifest, **fields}
        if status is Status.FAILED:
            fields.setdefault("failure", FAILURE)
        fields.setdefault("tiers", (Tier.DAILY,))
        record = Backup(id=backup_id, status=status, created_at=created_at, **fields)
        self.catalog.create_backup(record)
        return record

    def restore(self, status: Status = Status.COMPLETED, **fields: Any) -> Restore:
        """Put a restore into the catalog, and its report into the vault (`report` changes what it says)."""
        created_at = next(self._times)
        said = fields.pop("report", {})
        fields.setdefault("id", str(ULID()))
        if status is Status.COMPLETED:
            results = {"tables": 2, "rows": 1003, "duration_ms": 2500, "completed_at": created_at}
            fields = {**results, **fields, "report_key": self._report(fields, said)}
        if status is Status.FAILED:
            fields.setdefault("failure", FAILURE)
        fields.setdefault("target", "shop")
        fields.setdefault("destination", "db.example:5432/copy")
        record = Restore(status=status, created_at=created_at, **fields)
        self.catalog.create_restore(record)
        return record

    def _report(self, fields: Mapping[str, Any], said: Mapping[str, Any]) -> str:
        tables = (
            RestoredTable(table="public.orders", rows=1000, size_bytes=5_000_000, duration_ms=900),
            RestoredTable(table='public."Odd Name"', rows=3, size_bytes=12, duration_ms=10),
        )
        report = RestoreReport(
            **{
                "id": fields["id"],
                "backup_id": fields["backup_id"],
                "target": "shop",
                "destination": "db.example:5432/copy",
                "tables": tables,
                "rows": 1003,
                "phases_ms": {"tables": 900},
                "exceptions": fields.get("exceptions", ()),
                **said,
            }
        )
        key = f"v1/restores/{report.id}.json"
        put_object(BUCKET, key, report.model_dump_json().encode())
        return key

    def _manifest(
        self, backup_id: str, target: str, created_at: datetime, content: DatabaseContent | StorageContent
    ) -> dict[str, str]:
        is_bucket = isinstance(content, StorageContent)
        entries = f"v1/backups/{target}/{backup_id}/entries.jsonl.zst"
        put_object(BUCKET, entries, b"-")
        manifest = Manifest(
            backup_id=backup_id,
            target=target,
            kind=TargetKind.BUCKET if is_bucket else TargetKind.DATABASE,
            tiers=(Tier.DAILY,),
            created_at=created_at,
            completed_at=created_at + timedelta(seconds=12),
            encryption="age",
            recipients=(RECIPIENT,),
            entries=(EntriesFile(key=entries, sha256=hashlib.sha256(b"-").hexdigest(), length=1, count=2),),
            packs=(),
            plaintext_bytes=5_000_012,
            stored_bytes=1_234_567,
            rows=0 if is_bucket else 1003,
            content=content,
            exceptions=() if is_bucket else ("extension table spatial_ref_sys is left out",),
            notes=() if is_bucket else ("2 of 4 streams were used",),
        )
        body = manifest.model_dump_json().encode()
        key = f"v1/backups/{target}/{backup_id}/manifest.json"
        put_object(BUCKET, key, body)
        return {"manifest_key": key, "manifest_sha256": hashlib.sha256(body).hexdigest()}


def _every_second() -> Iterator[datetime]:
    now = datetime.now(UTC) - timedelta(hours=5)
    while True:
        now += timedelta(seconds=1)
        yield now


def _results(created_at: datetime) -> dict[str, Any]:
    return {
        "started_at": created_at,
        "completed_at": created_at + timedelta(seconds=12),
        "duration_ms": 12_345,
        "plaintext_bytes": 5_000_012,
        "stored_bytes": 1_234_567,
        "tables": 2,
        "rows": 1003,
        "source_version": "18.6",
        "encryption": "age",
    }


@pytest.fixture
def aws_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that open nothing, nothing of the user's own, and a terminal of eighty columns."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "COFFRE_"))]:
        monkeypatch.delenv(name)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("COFFRE_DEBUG", "1")
    monkeypatch.setattr(screen.console, "width", 80)
    monkeypatch.setattr(stack_choice, "read_state", lambda: None)


@pytest.fixture
def coffre(aws_environment: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Coffre:
    """Run the command as a shell does, errors shown as they are meant included."""

    def run(*arguments: object, stdin: str = "") -> Said:
        monkeypatch.setattr("sys.argv", ["coffre", *map(str, arguments)])
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            app.main()
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        assert isinstance(ended.value.code, int | None)
        first, _, rest = said.err.partition("\n")
        is_about_stack = first.startswith(("Stack ", "The local stack ", "Your AWS account in ")) and " in " in first
        stack, err = (first, rest) if is_about_stack else ("", said.err)
        return Said(ended.value.code or 0, said.out, err, stack)

    return run


@pytest.fixture
def account(aws_environment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """A deployed stack named by COFFRE_STACK, with the one target `shop`."""
    with mock_aws():
        make_bucket(BUCKET, REGION)
        create_table(TABLE)
        account = Account(Catalog(TABLE))
        account.configure("shop")

        def invoke(stack: DeployedStack, function: str, event: Mapping[str, Any], how: str) -> Any:
            account.invoked.append((stack.function_name(function), event))
            answer = account.play(function, event)
            error = {"FunctionError": "Unhandled"} if isinstance(answer, dict) and "errorType" in answer else {}
            return {"Payload": io.BytesIO(json.dumps(answer).encode()), **error}

        # moto runs no functions without Docker, and its CloudFormation no templates of SAM.
        monkeypatch.setattr(DeployedStack, "_invoke", invoke)
        monkeypatch.setattr(stack_choice, "_outputs", lambda name: OUTPUTS)
        monkeypatch.setenv("COFFRE_STACK", STACK)
        yield account
