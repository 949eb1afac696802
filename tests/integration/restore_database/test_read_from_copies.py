"""Restores whose vault is damaged, empty or closed, and that have a copy of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.integration.conftest import BUCKET, REGION, Coffre, client
from tests.integration.expect import no_secret
from tests.integration.vault_copies import copy_vault

from coffre.model.backup import Restore
from coffre.model.copies import Copy, CopyStatus
from coffre.model.errors import BackupStateError, CopyUnknownError, IntegrityError
from coffre.model.restore_report import RestoreReport
from coffre_local.sample import fingerprint

THEN = datetime(2026, 11, 17, 3, 0, tzinfo=UTC)


@pytest.fixture
def copied(coffre: Coffre, shop: str, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Take a backup, and copy the vault as it is into the directories of these copies."""
    places = {name: tmp_path / name for name in ("offsite", "disk")}
    for place in places.values():
        place.mkdir()
    copies = [{"name": name, "store": {"type": "directory", "path": str(path)}} for name, path in places.items()]

    def make(*names: str, status: CopyStatus = CopyStatus.COMPLETED) -> dict[str, Any]:
        coffre.configure(shop, copies=copies)
        done = coffre.backup()
        for name in names:
            copy_vault(coffre, places[name])
            keep(coffre, done, name, status)
        return done

    return make


def keep(coffre: Coffre, done: dict[str, Any], name: str, status: CopyStatus = CopyStatus.COMPLETED) -> None:
    copy = Copy(destination=name, backup_id=done["id"], target="shop", status=status, started_at=THEN)
    coffre.catalog.copies.keep(copy)


def read_in(place: str) -> dict[str, Any]:
    return {"from": place}


def report_of(coffre: Coffre, said: dict[str, Any]) -> tuple[Restore, RestoreReport]:
    record = coffre.catalog.get_restore(said["id"])
    return record, coffre.restore_function().services.vault.read_report(record.report_key or "")


def damage_every_pack(coffre: Coffre) -> list[str]:
    keys = sorted(coffre.objects("v1/packs/"))
    for key in keys:
        body = bytearray(coffre.objects(key)[key])
        body[len(body) // 2] ^= 1
        coffre.put_object(key, bytes(body))
    return keys


def test_a_pack_that_the_vault_has_damaged_or_lost_is_read_from_the_copy_and_named(
    coffre: Coffre, shop: str, new_database: str, copied: Callable[..., dict[str, Any]]
) -> None:
    done = copied("offsite")
    damaged = damage_every_pack(coffre)
    client("s3").delete_object(Bucket=BUCKET, Key=damaged.pop())

    said = coffre.restore(done["id"], new_database)

    assert fingerprint(new_database) == fingerprint(shop)
    record, report = report_of(coffre, said)
    assert record.exceptions == ()
    [taken] = report.read_from
    assert (taken.place, taken.objects) == ("offsite", len(damaged) + 1)
    [note] = record.notes
    assert note.startswith('Read from the copy "offsite": ')
    assert "because: A stored frame is damaged [FRAME_DAMAGED]" in note or "[PACK_MISSING]" in note
    warning = next(json.loads(line) for line in coffre.log_lines if "a place cannot be read" in line)
    assert (warning["place"], warning["backup_id"]) == ("vault", done["id"])
    no_secret(coffre)


def test_without_the_copy_the_same_restore_ends_with_the_damage(
    coffre: Coffre, new_database: str, copied: Callable[..., dict[str, Any]]
) -> None:
    done = copied()
    damage_every_pack(coffre)
    with pytest.raises(IntegrityError) as raised:
        coffre.restore(done["id"], new_database, strict=True)
    assert "The copy offsite cannot give it either" in " ".join(raised.value.__notes__)
    with pytest.raises(IntegrityError):
        coffre.restore(done["id"], new_database, strict=True, **read_in("vault"))


def test_of_two_copies_the_whole_one_is_asked_first(
    coffre: Coffre, shop: str, new_database: str, copied: Callable[..., dict[str, Any]]
) -> None:
    done = copied("offsite", "disk")
    copy = coffre.catalog.copies.find("offsite", done["id"])
    assert copy is not None
    coffre.catalog.copies.keep(copy.model_copy(update={"damaged": "A pack is missing."}))
    damage_every_pack(coffre)

    said = coffre.restore(done["id"], new_database)

    assert fingerprint(new_database) == fingerprint(shop)
    assert [taken.place for taken in report_of(coffre, said)[1].read_from] == ["disk"]


def test_a_vault_that_is_gone_is_replaced_by_the_copy_its_reports_included(
    coffre: Coffre, shop: str, new_database: str, copied: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """Given a bucket that was deleted: a replacement of what is in use is planned too."""
    done = copied("offsite")
    before = fingerprint(shop)
    empty_vault()

    said = coffre.restore(done["id"], new_database)
    planned = coffre.restore(done["id"], None, replace=True, dry_run=True)

    assert fingerprint(new_database) == before
    assert planned["token"]
    record = coffre.catalog.get_restore(said["id"])
    assert record.exceptions == ()
    assert "[BUCKET_MISSING]" in record.notes[0]
    report = RestoreReport.model_validate_json((tmp_path / "offsite" / (record.report_key or "")).read_bytes())
    assert report.read_from[0].place == "offsite"


def empty_vault() -> None:
    s3 = client("s3")
    for item in s3.list_objects_v2(Bucket=BUCKET)["Contents"]:
        s3.delete_object(Bucket=BUCKET, Key=item["Key"])
    s3.delete_bucket(Bucket=BUCKET)


def test_a_restore_from_a_copy_reads_nothing_of_the_vault_but_keeps_its_report_there(
    coffre: Coffre, shop: str, new_database: str, copied: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """Given a vault that has lost all of the backup."""
    done = copied("offsite")
    for key in coffre.objects("v1/"):
        client("s3").delete_object(Bucket=BUCKET, Key=key)

    said = coffre.restore(done["id"], new_database, **read_in("offsite"))

    assert fingerprint(new_database) == fingerprint(shop)
    record, report = report_of(coffre, said)
    assert (report.read_from, record.notes, record.exceptions, record.source) == ((), (), (), "offsite")
    assert not any("restores" in str(path) for path in (tmp_path / "offsite").rglob("*"))


def test_a_backup_that_rotation_deleted_is_restored_from_a_copy_that_keeps_it_longer(
    coffre: Coffre, shop: str, new_database: str, copied: Callable[..., dict[str, Any]]
) -> None:
    done = copied("offsite")
    before = fingerprint(shop)
    coffre.delete(done["id"], force=True)

    with pytest.raises(BackupStateError) as raised:
        coffre.restore(done["id"], new_database)
    assert raised.value.code == "BACKUP_NOT_COMPLETED"
    coffre.restore(done["id"], new_database, **read_in("offsite"))

    assert fingerprint(new_database) == before


def test_latest_in_a_copy_is_the_latest_that_the_copy_has(
    coffre: Coffre, new_database: str, copied: Callable[..., dict[str, Any]]
) -> None:
    done = copied("offsite")
    later = coffre.backup()
    keep(coffre, later, "offsite", CopyStatus.IN_PROGRESS)

    said = coffre.restore("latest", new_database, target="shop", **read_in("offsite"))

    assert said["backup_id"] == done["id"]
    with pytest.raises(BackupStateError) as raised:
        coffre.restore("latest", new_database, target="shop", **read_in("disk"))
    assert raised.value.code == "BACKUP_UNKNOWN"


def test_a_copy_that_does_not_exist_is_refused_and_known_ones_are_named(
    coffre: Coffre, new_database: str, copied: Callable[..., dict[str, Any]]
) -> None:
    done = copied("offsite")
    with pytest.raises(CopyUnknownError) as raised:
        coffre.restore(done["id"], new_database, **read_in("offside"))
    assert "offsite, disk" in str(raised.value)
    assert list(coffre.catalog.restores()) == []


def test_a_manifest_that_a_copy_has_swapped_is_refused(
    coffre: Coffre, new_database: str, copied: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    done = copied("offsite")
    [manifest] = (tmp_path / "offsite").rglob("manifest.json")
    manifest.write_bytes(manifest.read_bytes().replace(b'"rows"', b' "rows"'))

    with pytest.raises(IntegrityError) as raised:
        coffre.restore(done["id"], new_database, **read_in("offsite"))

    assert raised.value.code == "MANIFEST_SWAPPED"
    assert "copy offsite" in " ".join(raised.value.__notes__)


def test_a_copy_in_a_bucket_of_aws_is_read_with_the_functions_role(
    coffre: Coffre, shop: str, new_database: str
) -> None:
    client("s3").create_bucket(Bucket="acme-copy", CreateBucketConfiguration={"LocationConstraint": REGION})
    store = {"type": "s3", "bucket": "acme-copy", "prefix": "coffre", "region": REGION}
    coffre.configure(shop, copies=[{"name": "offsite", "store": store}])
    done = coffre.backup()
    for key, body in coffre.objects().items():
        client("s3").put_object(Bucket="acme-copy", Key=f"coffre/{key}", Body=body)
    keep(coffre, done, "offsite")
    damage_every_pack(coffre)

    said = coffre.restore(done["id"], new_database)

    assert fingerprint(new_database) == fingerprint(shop)
    assert report_of(coffre, said)[1].read_from[0].place == "offsite"
