"""The function `restore` exports a backup into a file: encrypted, whole, recorded, and nothing of it after an error."""

from __future__ import annotations

from typing import Any

import pyrage
import pytest
from tests.integration.conftest import REGION, Context, client
from tests.integration.contents import RoundTrip
from tests.integration.exports import another_database, program

from coffre.model.backup import Backup, Status
from coffre.model.errors import BackupStateError, CoffreError, EventError, SettingsError
from coffre.model.export import exported_file, key_of
from coffre.stores import s3_upload
from coffre.vault.codec import new_identity, public_key

EXPORTS = "exports-of-the-stack"


@pytest.fixture
def backup(round_trip: RoundTrip) -> Backup:
    client("s3").create_bucket(Bucket=EXPORTS, CreateBucketConfiguration={"LocationConstraint": REGION})
    round_trip.coffre.environment["COFFRE_EXPORT_BUCKET"] = EXPORTS
    round_trip.fill(
        "CREATE TABLE wide AS SELECT n AS id, md5(n::text) AS text FROM generate_series(1, 20000) n",
        "CREATE TABLE small AS SELECT 1 AS i",
    )
    return round_trip.back_up()


def export(round_trip: RoundTrip, backup: Backup, **scope: Any) -> dict[str, Any]:
    event = {"backup_id": backup.id, "export": scope, "actor": "ada"}
    return round_trip.coffre.restore_function().handle(event, Context(function_name="restore"))


def files() -> list[str]:
    return [item["Key"] for item in client("s3").list_objects_v2(Bucket=EXPORTS).get("Contents", [])]


def test_a_backup_becomes_a_file_or_leaves_nothing(
    round_trip: RoundTrip, backup: Backup, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog, theirs = round_trip.coffre.catalog, new_identity()
    monkeypatch.setattr(s3_upload, "PART_BYTES", 5 * 1024 * 1024)

    answer = export(round_trip, backup, recipients=[public_key(theirs)])

    record = catalog.get_restore(answer["id"])
    name = exported_file(record.destination)
    assert name == f"shop-{backup.created_at:%Y%m%dT%H%M%SZ}.dump.age"
    assert (answer["status"], record.status, record.tables, record.rows) == ("COMPLETED", Status.COMPLETED, 2, 20_001)
    assert files() == [key_of(record.id, name)]
    body = client("s3").get_object(Bucket=EXPORTS, Key=files()[0])["Body"].read()
    assert b"wide" not in body
    opened = pyrage.decrypt(body, [pyrage.x25519.Identity.from_str(theirs)])
    with another_database(round_trip) as copy:
        program(round_trip.home, "pg_restore", "-e", "-d", copy, stdin=opened)
        round_trip.assert_equal()
    [event] = [one for one in catalog.audit.events(target="shop") if one.action == "backup.exported"]
    assert (event.subject, event.actor, event.result) == (backup.id, "ada", "done")
    assert public_key(theirs) in (event.detail or "")
    # The target's own recipients, chosen tables, SQL
    plain = export(round_trip, backup, tables=["small"], format="plain")
    shown = catalog.get_restore(plain["id"])
    own = client("s3").get_object(Bucket=EXPORTS, Key=key_of(shown.id, exported_file(shown.destination) or ""))
    assert (shown.rows, shown.destination.endswith(".sql.zst.age")) == (1, True)
    assert pyrage.decrypt(own["Body"].read(), [pyrage.x25519.Identity.from_str(round_trip.coffre.identity)])

    # Refused, failed at the plan, and failed in the middle of the stream: no file is left
    kept = files()
    with pytest.raises(EventError, match="prefix is for objects"):
        export(round_trip, backup, prefix="2026/")
    with pytest.raises(EventError, match=r"export\.to: unknown field"):
        export(round_trip, backup, to="elsewhere")
    with pytest.raises(CoffreError) as unmatched:
        export(round_trip, backup, tables=["nothing"])
    assert unmatched.value.code == "PATTERN_UNMATCHED"
    failed = max(catalog.restores(target="shop"), key=lambda one: one.id)
    assert (failed.status, failed.failure and failed.failure.code) == (Status.FAILED, "PATTERN_UNMATCHED")
    for pack, stored in round_trip.coffre.objects("v1/packs/").items():
        round_trip.coffre.put_object(pack, b"x" * len(stored))
    with pytest.raises(CoffreError):
        export(round_trip, backup)
    assert files() == kept
    assert client("s3").list_multipart_uploads(Bucket=EXPORTS).get("Uploads", []) == []
    results = [one.result for one in catalog.audit.events(target="shop") if one.action == "backup.exported"]
    assert results.count("failed") == 2

    monkeypatch.setitem(round_trip.coffre.environment, "COFFRE_EXPORT_BUCKET", "")
    with pytest.raises(SettingsError, match="console is off"):
        export(round_trip, backup)
    with pytest.raises(BackupStateError):
        round_trip.coffre.restore_function().handle(
            {"backup_id": "01K9X000000000000000000000", "export": {}}, Context(function_name="restore")
        )
