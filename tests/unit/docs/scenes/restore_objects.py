"""docs/restore.md: objects of buckets."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tests.integration.bucket_backups import Object, keep_backup
from tests.synthetic import Writer
from tests.unit.cli.conftest import BUCKET, OUTPUTS
from tests.unit.docs.scenes import Stage, scene

from coffre.model.backup import Backup
from coffre.model.manifest import RelationName, TableContent
from coffre.model.storage import Objects, StorageOutcome, StorageResult, StorageScope
from coffre.operations.restore_buckets.report import report_of
from coffre.stores.s3 import S3Store
from coffre.stores.s3_client import make_client
from coffre.vault.codec import new_identity, public_key
from coffre.vault.vault import Vault
from coffre_cli import stack_choice

PAGE: Final = "docs/restore.md"
WHERE: Final = "casa-files at AWS"
FILES: Final = {
    "casa-files/leases/2026/00042.txt": Object(b"as it was"),
    "casa-files/photos/1.jpg": Object(b"a photo"),
    "casa-files/plans/1.svg": Object(b"a plan"),
}


def uploads(stage: Stage, at: datetime | None = None) -> Backup:
    """Take a backup of buckets for which the account has the key."""
    identity = new_identity()
    vault = Vault(S3Store(BUCKET, client=make_client()))
    stage.account.configure_buckets("uploads", "casa-files")
    backup = keep_backup(vault, FILES, stage.terminal.folder, recipients=[public_key(identity)])
    times = {"created_at": at, "completed_at": at} if at else {}
    stage.account.catalog.create_backup(backup.model_copy(update=times))
    know(stage, identity)
    return backup


def know(stage: Stage, identity: str) -> None:
    """Let the stack's secret hold a private key."""
    name = "coffre/identity/main"
    stage.account.secrets.create_secret(Name=name, SecretString=identity)
    stage.monkeypatch.setattr(stack_choice, "_outputs", lambda _: {**OUTPUTS, "IdentitySecret": name})


def play(stage: Stage, milliseconds: int, **result: Any) -> None:
    """Let a restore of objects end like this; the function's own code makes its report."""

    def answer(_: str, event: Mapping[str, Any]) -> None:
        found = StorageResult(scope=StorageScope.model_validate(event["storage"]), **result)
        backup = stage.account.catalog.get_backup(event["backup_id"])
        report = report_of(event["restore_id"], backup, found, WHERE, {})
        stage.account.restore(
            id=event["restore_id"],
            backup_id=backup.id,
            target=backup.target,
            destination=WHERE,
            duration_ms=milliseconds,
            objects=found.written,
            exceptions=report.exceptions,
            dry_run=found.scope.dry_run,
            report=dict(report),
        )

    stage.account.play = answer


@scene(f"{PAGE}#I deleted a folder of uploads", "coffre ls latest --target uploads")
def a_listing(stage: Stage) -> None:
    uploads(stage)


@scene(
    f"{PAGE}#I deleted a folder of uploads",
    "coffre restore objects latest --target uploads --prefix leases/2026/",
)
def a_deleted_folder(stage: Stage) -> None:
    uploads(stage)
    play(
        stage,
        751,
        restored=Objects(count=77, size_bytes=432_900),
        same=Objects(count=2, size_bytes=9_000),
        left=Objects(count=1, size_bytes=5_000),
    )


@scene(
    f"{PAGE}#I need one file as it was on Tuesday",
    "coffre cat 2026-11-17 leases/2026/00042.txt --target uploads > 00042.txt",
)
def one_file(stage: Stage) -> None:
    uploads(stage, datetime(2026, 11, 17, 3, tzinfo=UTC))
    stage.after = lambda: Path("00042.txt").read_bytes() == b"as it was"


@scene(
    f"{PAGE}#Rows of an extension's tables",
    "coffre cat ID 'pgmq.q_orders' | psql \"$DESTINATION\" -c 'COPY pgmq.q_orders FROM STDIN'",
)
def rows_of_a_member(stage: Stage) -> None:
    identity = new_identity()
    vault = Vault(S3Store(BUCKET, client=make_client()))
    stage.monkeypatch.setattr("tests.synthetic.RelationName", _of_pgmq)
    stage.monkeypatch.setattr("tests.synthetic.TableContent", _of_pgmq_too)
    writer = Writer(stage.account.catalog, vault, stage.terminal.folder, (public_key(identity),))
    stage.terminal.values["ID"] = writer.backup({"q_orders": b"1\tfirst\n"}, datetime.now(UTC)).id
    know(stage, identity)
    stage.after = lambda: stage.terminal.piped == b"1\tfirst\n"


def _of_pgmq(**fields: Any) -> RelationName:
    return RelationName(**{**fields, "schema_name": "pgmq"})


def _of_pgmq_too(**fields: Any) -> TableContent:
    return TableContent(**{**fields, "schema_name": "pgmq"})


@scene(
    f"{PAGE}#Files were overwritten or encrypted",
    "coffre restore objects latest --target uploads --mode mirror --dry-run",
)
def a_mirror(stage: Stage) -> None:
    uploads(stage)
    play(
        stage,
        300,
        overwritten=Objects(count=1, size_bytes=1_849),
        same=Objects(count=282, size_bytes=16_236_161),
        examples={StorageOutcome.OVERWRITTEN: ("casa-files/leases/2026/00000.txt",)},
    )


@scene(f"{PAGE}#Files were overwritten or encrypted", "coffre restore objects 01M80S... --retry 01M80T...")
def again(stage: Stage) -> None:
    backup = uploads(stage)
    play(
        stage,
        900,
        restored=Objects(count=281, size_bytes=16_000_000),
        failed=Objects(count=2, size_bytes=10),
        failed_lists=("v1/restores/x.failed-000001.jsonl.zst",),
        failures=("casa-files/photos/1.jpg: STORE_DENIED", "casa-files/photos/2.jpg: STORE_DENIED"),
    )
    stage.terminal.run(f"coffre restore objects {backup.id}")
    stage.terminal.values |= {"01M80S...": backup.id, "01M80T...": stage.account.invoked[0][1]["restore_id"]}
    play(stage, 340, restored=Objects(count=2, size_bytes=1_200_000))
