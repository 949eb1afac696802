"""Restore points: what rows refer to at the moment of the snapshot is in the backup of the bucket, or it is named."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.contract.weed import OWNER, Weed
from tests.integration.conftest import TABLE, Coffre, new_id, run_sql, with_password
from tests.integration.conftest import client as boto_client
from tests.integration.points_scene import PointScene
from tests.integration.vault_copies import command_in, copy_vault, files_of, without_aws, write_identity

from coffre.model.backup import Status, Tier
from coffre.model.errors import CoffreError, EventError
from coffre.operations.admin.catalog_rebuild import ADDED, rebuild
from coffre.operations.backup_database.job import BackupPlan
from coffre.operations.backup_database.plan import make_plan
from coffre.operations.points.find import whole_points
from coffre.operations.stored_backup.vault_backups import VaultBackups
from coffre.postgres.source.object_references import supabase_query
from coffre.stores.s3_client import make_client
from coffre.vault.points import read_references, read_seal

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

SLOT = "2026-11-01T03:00:00Z"
QUERY = {"type": "query", "query": "SELECT bucket, key, version, etag, size FROM public.documents"}
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def client(weed: Weed) -> Iterator[S3Client]:
    client = make_client(region="us-east-1", endpoint_url=weed.endpoint_url, credentials=OWNER)
    yield client
    client.close()


class Documents:
    """An application with rows and objects: each row has the version and the etag of its object."""

    def __init__(self, client: S3Client, bucket: str, database: str) -> None:
        self.client, self.bucket, self.database = client, bucket, database
        client.create_bucket(Bucket=bucket)
        run_sql(
            database,
            "CREATE TABLE documents (key text PRIMARY KEY, bucket text NOT NULL, version text, etag text, size bigint)",
        )

    def versioned(self) -> None:
        self.client.put_bucket_versioning(Bucket=self.bucket, VersioningConfiguration={"Status": "Enabled"})

    def put(self, key: str, body: bytes) -> None:
        """Store an object, then its row."""
        made = self.client.put_object(Bucket=self.bucket, Key=key, Body=body)
        etag = made["ETag"].strip('"')
        run_sql(
            self.database,
            f"INSERT INTO documents VALUES ('{key}', '{self.bucket}', NULL, '{etag}', {len(body)}) "
            "ON CONFLICT (key) DO UPDATE SET etag = EXCLUDED.etag, size = EXCLUDED.size",
        )

    def delete(self, key: str) -> None:
        """Delete a row, then its object."""
        run_sql(self.database, f"DELETE FROM documents WHERE key = '{key}'")
        self.client.delete_object(Bucket=self.bucket, Key=key)


@pytest.fixture
def scene(coffre: Coffre, weed: Weed) -> PointScene:
    return PointScene(coffre, weed.endpoint_url, f"documents-{next(_numbers)}")


@pytest.fixture
def documents(scene: PointScene, client: S3Client, empty_database: str) -> Documents:
    scene.configure(with_password(empty_database), objects=QUERY)
    made = Documents(client, scene.bucket, empty_database)
    for key in ("kept", "changed", "deleted"):
        made.put(key, f"{key} at first".encode())
    client.put_object(Bucket=scene.bucket, Key="no-row", Body=b"no row")
    return made


def test_of_a_versioned_bucket_every_reference_is_in_the_point(scene: PointScene, documents: Documents) -> None:
    documents.versioned()
    for key in ("kept", "changed", "deleted"):
        documents.put(key, f"{key} at first".encode())

    def meanwhile() -> None:
        documents.put("changed", b"changed later")
        documents.delete("deleted")
        documents.put("later", b"made later")

    point = scene.take(meanwhile)

    assert scene.bodies(point) == {
        "changed": b"changed at first",
        "deleted": b"deleted at first",
        "kept": b"kept at first",
        "later": b"made later",
        "no-row": b"no row",
    }
    assert point.sealed_at is not None
    assert (point.references, point.dangling, point.orphans) == (3, 0, 2)
    assert scene.files(point).exceptions == ()
    # The next backup knows that what it finds is another version
    again = scene.take()
    assert scene.bodies(again) == {
        "changed": b"changed later",
        "kept": b"kept at first",
        "later": b"made later",
        "no-row": b"no row",
    }
    assert (again.references, again.dangling, again.orphans) == (3, 0, 1)


def test_without_versions_what_is_gone_comes_from_the_backup_before_or_is_named(
    scene: PointScene, documents: Documents
) -> None:
    first = scene.take()
    assert (first.references, first.dangling, first.orphans) == (3, 0, 1)
    documents.put("new-changed", b"new at first")
    documents.put("new-deleted", b"new at first")

    def meanwhile() -> None:
        documents.put("changed", b"changed later")
        documents.delete("deleted")
        documents.put("new-changed", b"new later")
        documents.delete("new-deleted")

    point = scene.take(meanwhile)

    # Then what the backup before has is taken from it, and of the rest each is named
    bodies = scene.bodies(point)
    assert bodies["changed"] == b"changed at first"
    assert bodies["deleted"] == b"deleted at first"
    assert bodies["new-changed"] == b"new later"
    assert "new-deleted" not in bodies
    assert point.sealed_at is not None
    assert (point.references, point.dangling, point.buckets[0].counts and point.buckets[0].counts.replaced) == (5, 2, 1)
    backup, entries = scene.files(point), scene.entries(point)
    assert len(backup.exceptions) == 2
    assert any(f"'{scene.bucket}/new-deleted' is not in this backup" in text for text in backup.exceptions)
    assert any(f"'{scene.bucket}/new-changed' is in this backup as it is now" in text for text in backup.exceptions)
    assert all("[DANGLING]" in text for text in backup.exceptions)
    gone, other = entries[f"{scene.bucket}/new-deleted"].object, entries[f"{scene.bucket}/new-changed"].object
    assert gone is not None
    assert (gone.unread or "").startswith("DANGLING: ")
    assert other is not None
    assert other.dangling is not None
    assert backup.unread == 1
    kinds = [alert["MessageAttributes"]["kind"]["Value"] for alert in scene.coffre.alerts()]
    assert "BACKUP_EXCEPTIONS" in kinds
    # And the next point, whose rows mean what exists, has no mark left
    again = scene.take()
    assert (again.dangling, scene.files(again).exceptions) == (0, ())
    assert all(entry.object is not None and entry.object.dangling is None for entry in scene.entries(again).values())


def test_a_point_is_sealed_in_the_vault_and_the_catalog(
    scene: PointScene, documents: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned: list[datetime] = []

    def planning(*arguments: Any) -> BackupPlan:
        planned.append(datetime.now(UTC))
        return make_plan(*arguments)

    monkeypatch.setattr("coffre.operations.backup_database.plan.make_plan", planning)
    point_id = "01" + "K9X" + "0" * 20 + "1"
    scene.backup_database(point="shop", point_id=point_id)
    [(function, event)] = scene.invoked.events
    assert function == "backup-storage"
    assert (event["target"], event["point"], event["point_id"]) == ("files", "shop", point_id)
    begun = scene.newest()
    assert (begun.id, begun.sealed_at) == (point_id, None)
    assert begun.taken_at <= planned[0], "a plan can take minutes, in which objects are replaced"
    vault = scene.coffre.backup_function().services.vault
    assert [reference.key for reference in read_references(vault.store, begun.lists)] == ["changed", "deleted", "kept"]
    assert read_seal(vault.store, "shop", point_id) is None

    [answer] = scene.run_started()

    sealed = read_seal(vault.store, "shop", point_id)
    assert sealed is not None
    assert sealed == scene.newest()
    assert sealed.sealed_at is not None
    assert sealed.buckets[0].backup_id == answer["id"]
    for part in sealed.parts:
        backup = scene.coffre.catalog.get_backup(part.backup_id)
        assert (backup.point, backup.point_name, backup.status) == (point_id, "shop", Status.COMPLETED)
        assert part.manifest_sha256 == backup.manifest_sha256
    assert answer["tiers"] == ["MANUAL"]
    # The vault alone knows it, and a catalog that is rebuilt from it knows it again
    assert list(whole_points(VaultBackups(vault))) == [sealed]
    keys = {"pk": {"S": "POINT"}, "sk": {"S": point_id}}
    boto_client("dynamodb").delete_item(TableName=TABLE, Key=keys)
    assert scene.coffre.catalog.points.find(point_id) is None
    rebuilt = {one.backup_id: one.outcome for one in rebuild(scene.coffre.catalog, vault)}
    assert rebuilt[point_id] == ADDED
    assert scene.coffre.catalog.points.find(point_id) == sealed


def test_a_point_that_its_last_part_could_not_seal_is_sealed_by_the_next_run(
    scene: PointScene, documents: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.backup_database(tier="DAILY", scheduled_time=SLOT)
    with monkeypatch.context() as patch:
        patch.setattr("coffre.runtime.backup_runs.seal_after", lambda *_: None)  # its function was killed
        [answer] = scene.run_started()
    assert (answer["outcome"], scene.newest().sealed_at) == ("completed", None)

    begun = scene.newest()
    scene.backup_database(tier="DAILY", scheduled_time="2026-11-02T03:00:00Z")

    sealed = scene.coffre.catalog.points.find(begun.id)
    assert sealed is not None
    assert sealed.sealed_at is not None
    assert read_seal(scene.coffre.backup_function().services.vault.store, "shop", begun.id) == sealed


def test_a_schedule_takes_the_point_and_starts_no_bucket_of_it_otherwise(
    scene: PointScene, documents: Documents
) -> None:
    assert scene.backup_storage(tier="WEEKLY", scheduled_time=SLOT) == {"started": []}
    scene.backup_database(tier="DAILY", scheduled_time=SLOT)
    # another rule of the same slot joins, and starts nothing
    assert scene.backup_database(tier="WEEKLY", scheduled_time=SLOT)["outcome"] == "joined"

    [(_, event)] = scene.invoked.events
    assert (event["tier"], event["point"]) == ("DAILY", "shop")
    scene.run_started()
    point = scene.newest()
    assert point.sealed_at is not None
    assert scene.files(point).tiers == (Tier.DAILY,)
    # by hand, without the point, the database alone is backed up
    scene.backup_database()
    assert scene.invoked.events == []


def test_if_the_database_fails_its_buckets_are_backed_up_nevertheless(scene: PointScene, documents: Documents) -> None:
    scene.configure("postgresql://postgres@127.0.0.1:1/none", objects=QUERY)

    with pytest.raises(CoffreError):
        scene.backup_database(tier="DAILY", scheduled_time=SLOT)

    [(_, event)] = scene.invoked.events
    assert event == {"target": "files", "tier": "DAILY", "scheduled_time": SLOT}
    [answer] = scene.run_started()
    assert answer["outcome"] == "completed"
    assert list(scene.coffre.catalog.points.all()) == []

    # A rule that joined the run leaves its buckets to it, which are the backup of that month, too
    [failed] = scene.coffre.catalog.backups(target="shop")
    tiers = {"id": new_id(), "tiers": (Tier.DAILY, Tier.MONTHLY), "status": Status.IN_PROGRESS, "failure": None}
    scene.coffre.catalog.create_backup(failed.model_copy(update=tiers))
    assert failed.failure is not None
    scene.coffre.catalog.fail_backup(str(tiers["id"]), failed.failure, failed.created_at)
    with pytest.raises(CoffreError):
        scene.backup_database(tier="DAILY", scheduled_time=SLOT)
    assert sorted(event["tier"] for _, event in scene.invoked.events) == ["DAILY", "MONTHLY"]
    scene.run_started()
    [files] = scene.coffre.catalog.backups(target="files")
    assert set(files.tiers) == {Tier.DAILY, Tier.MONTHLY}


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT nothing FROM public.missing", 'relation "public.missing" does not exist'),
        ("SELECT key FROM documents", "its columns are key; it needs bucket and key"),
        ("SELECT bucket, key FROM documents; DELETE FROM documents", "it must be one SELECT"),
        ("SELECT bucket, key FROM documents, pg_sleep(30)", "statement timeout"),
        ("SELECT bucket, key FROM documents, nextval('counter')", "read-only transaction"),
    ],
)
def test_a_query_that_fails_costs_the_point_and_not_the_backup(
    scene: PointScene, documents: Documents, query: str, said: str
) -> None:
    run_sql(documents.database, "CREATE SEQUENCE counter")
    objects = {"type": "query", "query": query}
    scene.configure(with_password(documents.database), objects=objects, timeout_seconds=1)

    answer = scene.backup_database(point="shop")

    backup = scene.coffre.catalog.get_backup(answer["id"])
    assert (backup.status, backup.point) == (Status.COMPLETED, None)
    [exception] = backup.exceptions
    assert exception.startswith("No restore point was taken of shop: ")
    assert said in exception
    assert "POINT_QUERY" in exception
    assert run_sql(documents.database, "SELECT count(*) FROM documents") == [(3,)]
    assert scene.invoked.events == []  # it was by hand: no backup of the bucket is due
    [alert] = scene.coffre.troubles()
    assert alert["MessageAttributes"]["kind"]["Value"] == "BACKUP_EXCEPTIONS"


def test_a_scheduled_backup_of_the_bucket_does_not_depend_on_the_query(scene: PointScene, documents: Documents) -> None:
    objects = {"type": "query", "query": "SELECT nothing FROM public.missing"}
    scene.configure(with_password(documents.database), objects=objects)

    scene.backup_database(tier="DAILY", scheduled_time=SLOT)

    assert scene.invoked.events == [
        ("backup-storage", {"target": "files", "tier": "DAILY", "scheduled_time": SLOT}),
    ]


def test_a_part_that_fails_makes_no_point(scene: PointScene, documents: Documents) -> None:
    scene.backup_database(point="shop")
    [(_, event)] = scene.invoked.events
    scene.configure(with_password(documents.database), objects=QUERY)
    scene.coffre.secret("coffre/storage/weed", "{}")

    with pytest.raises(CoffreError):
        scene.backup_storage(**event)

    point = scene.newest()
    assert point.sealed_at is None
    assert scene.coffre.catalog.get_backup(point.database.backup_id).status is Status.COMPLETED


def test_a_backup_that_is_no_part_is_refused(scene: PointScene, documents: Documents) -> None:
    scene.backup_database(point="shop")
    [(_, event)] = scene.invoked.events

    with pytest.raises(EventError, match="as a part"):
        scene.backup_storage(**{**event, "backup_id": "01" + "K9X" + "0" * 20 + "2"})
    document = json.loads(scene.coffre.document_text())
    document["targets"].append({"name": "other", "secret": "coffre/database/shop"})
    scene.coffre.document(json.dumps(document))
    with pytest.raises(EventError, match="is of the database shop, not of other"):
        scene.backup_database(target="other", point="shop")


def test_supabase_storage_is_listed_by_its_rows_alone(scene: PointScene, client: S3Client, empty_database: str) -> None:
    client.create_bucket(Bucket=scene.bucket)
    run_sql(
        empty_database,
        "CREATE SCHEMA storage",
        "CREATE TABLE storage.objects (id int, bucket_id text, name text, version text, metadata jsonb)",
    )
    for number, key in enumerate(("a/1.txt", "a-1.txt", "big.bin")):
        body = b"x" * 9_000_000 if key == "big.bin" else key.encode()
        etag = client.put_object(Bucket=scene.bucket, Key=key, Body=body)["ETag"]
        metadata = f'{{"eTag": "\\"{etag.strip(chr(34))}\\"", "size": {len(body)}}}'
        values = f"{number}, '{scene.bucket}', '{key}', 'v{number}', '{metadata}'"
        run_sql(empty_database, f"INSERT INTO storage.objects VALUES ({values})")
    run_sql(empty_database, f"INSERT INTO storage.objects VALUES (9, '{scene.bucket}', 'gone', 'v', '{{}}')")
    run_sql(empty_database, "INSERT INTO storage.objects VALUES (10, 'elsewhere', 'x', 'v', '{}')")
    client.put_object(Bucket=scene.bucket, Key="without-row", Body=b"?")
    scene.configure(with_password(empty_database), objects={"type": "supabase"}, listing="rows")

    point = scene.take()

    assert {key: len(body) for key, body in scene.bodies(point).items()} == {
        "a-1.txt": 7,
        "a/1.txt": 7,
        "big.bin": 9_000_000,
    }
    assert (point.references, point.dangling, point.orphans) == (5, 1, 0)
    database = scene.coffre.catalog.get_backup(point.database.backup_id)
    assert database.notes[-1] == (
        "1 object that rows refer to are in buckets that no target of the point shop backs up: elsewhere (1)."
    )
    behind = run_sql(empty_database, f"SELECT bucket, key FROM ({supabase_query("it's", 'stub')}) AS o ORDER BY key")
    assert behind[-1] == ("it's", "stub/elsewhere/x/v")
    # and what has not changed is not read again
    again = scene.take()
    assert (scene.files(again).stored_bytes or 0) < 5_000
    assert scene.bodies(again) == scene.bodies(point)


def test_a_recovery_as_of_a_point_restores_its_rows_and_objects_and_names_what_dangles(
    scene: PointScene,
    documents: Documents,
    new_database: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    point = scene.take(lambda: documents.delete("deleted"))
    documents.put("later", b"later")
    scene.take()
    copy = copy_vault(scene.coffre, tmp_path / "copy")
    key = write_identity(scene.coffre, tmp_path / "key.txt")
    without_aws(monkeypatch)
    monkeypatch.setenv("NEW", new_database)
    run = command_in(tmp_path / "here", monkeypatch, capfd)
    source = ("recover", "--from", copy, "--identity", key, "--to", "shop=env:NEW", "--to", "files=directory:back")

    newest = run(*source, "--dry-run")
    unknown = run(*source, "--point", "nosuch", "--yes")
    both = run(*source, "--point", "latest", "--at", "2026-11-01")
    done = run(*source, "--point", point.id, "--yes")

    assert f"{point.id} of shop, taken" in newest.out
    assert (unknown.status, "[POINT_UNKNOWN]" in unknown.err) == (1, True)
    assert (both.status, "exclude each other" in both.err) == (2, True)
    assert done.status == 4, done.out + done.err
    assert f"The restore point {point.id} of shop" in done.out
    assert "3 references, 1 dangling" in done.out
    assert "deleted, which the backup lacks" in done.out
    assert run_sql(new_database, "SELECT key FROM documents ORDER BY 1") == [("changed",), ("deleted",), ("kept",)]
    assert sorted(files_of(tmp_path / "here" / "back")) == ["changed", "kept", "no-row"]
