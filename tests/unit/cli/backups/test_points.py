"""`coffre backup point`, `coffre list --points`, `coffre show` of a point, `coffre restore point`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from tests.unit.cli.conftest import RECIPIENT, Account, Coffre

from coffre.model.backup import Status
from coffre.model.copies import Copy, CopyStatus
from coffre.model.kinds import TargetKind
from coffre.model.points import PointCounts, PointPart, PointRecord
from coffre.model.storage import Objects, StorageResult
from coffre.runtime.events.restore import StorageRestoreEvent, parse_restore

ID = "01K9X00000000000000000000" + "P"
TAKEN = datetime(2026, 11, 17, 3, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def configured(account: Account) -> None:
    document = {
        "encryption": "age",
        "recipients": [RECIPIENT],
        "targets": [
            {"name": "shop", "secret": "coffre/database/shop"},
            {"name": "files", "kind": "bucket", "buckets": [{"name": "photos"}]},
        ],
        "points": [{"name": "all", "database": "shop", "buckets": ["files"], "objects": {"type": "supabase"}}],
    }
    boto3.client("ssm").put_parameter(Name="configuration", Value=json.dumps(document), Type="String", Overwrite=True)


def keep_point(account: Account, point_id: str = ID, *, files: str, database: str, **fields: Any) -> PointRecord:
    counts = PointCounts(references=1200, orphans=34)
    point = PointRecord(
        **{
            "id": point_id,
            "name": "all",
            "taken_at": TAKEN,
            "parts": (
                PointPart(target="shop", kind=TargetKind.DATABASE, backup_id=database),
                PointPart(target="files", kind=TargetKind.BUCKET, backup_id=files, counts=counts),
            ),
            "references": 1200,
            "sealed_at": TAKEN,
            **fields,
        }
    )
    account.catalog.points.keep(point)
    return point


def whole(account: Account) -> PointRecord:
    files = account.backup(target="files", kind=TargetKind.BUCKET)
    return keep_point(account, files=files.id, database=account.backup().id)


def taking(account: Account, files: Status = Status.COMPLETED, **fields: Any) -> None:
    def play(function: str, event: Mapping[str, Any]) -> None:
        database = account.backup(id=event["backup_id"], exceptions=())
        bucket = account.backup(files, target="files", kind=TargetKind.BUCKET)
        keep_point(account, event["point_id"], files=bucket.id, database=database.id, **fields)

    account.play = play


def test_a_point_is_taken_by_the_run_of_its_database(coffre: Coffre, account: Account) -> None:
    taking(account)

    said = coffre("backup", "point", "all", "--keep", "7d")

    [(function, event)] = account.invoked
    assert function == "safe-backup-database"
    assert {name: event[name] for name in ("target", "tier", "point", "keep")} == {
        "target": "shop",
        "tier": "MANUAL",
        "point": "all",
        "keep": "7d",
    }
    assert (said.status, said.err) == (0, "")
    lines = said.out.splitlines()
    assert lines[0].startswith("Backed up shop: ")
    assert any(line.startswith("Backed up files: ") for line in lines)
    assert lines[-1] == (
        f"Restore point {event['point_id']} of all: 1,200 references, none dangling; 34 objects without a row."
    )


def test_a_part_that_fails_makes_no_point(coffre: Coffre, account: Account) -> None:
    taking(account, Status.FAILED, sealed_at=None)

    said = coffre("backup", "point", "all")

    assert said.status == 1
    assert "of all: not whole" in said.out
    assert "of files is FAILED" in said.out


def test_without_a_point_it_says_so(coffre: Coffre, account: Account) -> None:
    account.play = lambda function, event: account.backup(id=event["backup_id"]) and None

    said = coffre("backup", "point", "all")

    assert said.status == 1
    assert "There is no restore point: the backup of the database says why." in said.out


def test_a_point_that_is_not_configured_is_refused(coffre: Coffre, account: Account) -> None:
    said = coffre("backup", "point", "other")

    assert said.status == 1
    assert 'There is no restore point "other".' in said.err
    assert "Configured points: all" in said.err
    assert account.invoked == []


def test_points_are_listed_and_shown_with_their_parts(coffre: Coffre, account: Account) -> None:
    point = whole(account)
    broken = keep_point(account, "01K9X000000000000000000001", files=point.parts[1].backup_id, database=ID)

    listed = coffre("list", "--points").out
    assert [line.split()[:3] for line in listed.splitlines()[1:]] == [[ID, "all", "whole"], [broken.id, "all", "not"]]
    assert [one["state"] for one in coffre("list", "all", "--points", "--json").json()] == ["whole", "not whole"]
    assert coffre("list", "other", "--points").out.startswith("No restore points of other yet.")
    shown = coffre("show", ID)
    assert shown.status == 0
    assert f"Restore point {ID} of all: whole" in shown.out
    assert f"part      {point.database.backup_id} of shop" in shown.out
    assert "1,200 references, none dangling; 34 objects without a row" in shown.out
    assert coffre("show", broken.id, "--json").json()["missing"] == [f"the backup {ID} of shop is not begun"]
    assert coffre("list", "--points", "--stats").status == 2


def restoring(account: Account, database: Status = Status.COMPLETED, left: int = 0) -> None:
    def play(function: str, event: Mapping[str, Any]) -> None:
        wanted = parse_restore(event)
        fields: dict[str, Any] = {"id": wanted.restore_id, "backup_id": wanted.backup_id}  # type: ignore[union-attr]
        if isinstance(wanted, StorageRestoreEvent):
            written = Objects(count=1200, size_bytes=3_000_000)
            result = StorageResult(scope=wanted.storage, restored=written, left=Objects(count=left))
            report = {"storage": result, "destination": "photos", "tables": (), "rows": 0}
            account.restore(target="files", destination="photos", report=report, **fields)
        else:
            account.restore(database, **fields)

    account.play = play


@pytest.mark.parametrize("wanted", [ID, ID[-6:].lower(), "all", "latest"])
def test_a_point_is_restored_the_database_first(coffre: Coffre, account: Account, wanted: str) -> None:
    point = whole(account)
    restoring(account)

    said = coffre("restore", "point", wanted, "--to", "coffre/destination/copy", "--to-bucket", "copy-of-photos/x")

    assert [event["backup_id"] for _, event in account.invoked] == [part.backup_id for part in point.parts]
    assert account.invoked[1][1]["storage"] == {"to": "copy-of-photos/x"}
    assert (said.status, said.err) == (0, "")
    assert said.out.startswith(f"Restore point {ID} of all, taken 2026-11-17 03:00:00 UTC.\n")
    assert f"Restore point {ID}: 1,200 references, none dangling; 34 objects without a row." in said.out


def test_a_point_is_restored_from_a_copy_that_has_all_of_it(coffre: Coffre, account: Account) -> None:
    """A newer point that the copy lacks is not the latest one there; its backups may be deleted from the vault."""
    account.configure_copy("nas")
    kept = account.backup()
    database = account.backup(
        Status.DELETED, manifest_key=kept.manifest_key, manifest_sha256=kept.manifest_sha256, encryption="none"
    )
    files = account.backup(target="files", kind=TargetKind.BUCKET)
    point = keep_point(account, "01K9X000000000000000000001", files=files.id, database=database.id)
    whole(account)
    restoring(account)
    to = ("--from", "nas", "--to", "coffre/destination/copy")

    none = coffre("restore", "point", "latest", *to)
    lacking = coffre("restore", "point", ID, *to)
    for part in point.parts:
        account.catalog.copies.keep(
            Copy(
                destination="nas",
                backup_id=part.backup_id,
                target=part.target,
                status=CopyStatus.COMPLETED,
                started_at=TAKEN,
            )
        )
    said = coffre("restore", "point", "latest", *to)

    assert (none.status, "POINT_UNKNOWN" in none.err) == (1, True)
    assert lacking.status == 2
    assert "is not complete in the copy nas" in " ".join(lacking.err.replace("│", " ").split())
    assert (said.status, said.err) == (0, "")
    assert [(event["backup_id"], event["from"]) for _, event in account.invoked] == [
        (database.id, "nas"),
        (files.id, "nas"),
    ]


def test_if_the_database_fails_no_object_is_written(coffre: Coffre, account: Account) -> None:
    point = whole(account)
    restoring(account, Status.FAILED)

    said = coffre("restore", "point", "latest", "--to", "coffre/destination/copy")

    assert said.status == 1
    assert len(account.invoked) == 1
    assert "No object was restored, because the database was not." in said.err
    assert f"coffre restore objects {point.buckets[0].backup_id}\n" in said.out
    # The command that is shown leads to the same place
    apart = coffre(
        "restore", "point", "latest", "--to", "coffre/destination/copy", "--to-bucket", "apart/a b", "--mode", "mirror"
    )  # fmt: skip
    options = "--to 'apart/a b' --mode mirror"
    assert f"coffre restore objects {point.buckets[0].backup_id} {options}" in " ".join(apart.out.split())


def test_objects_that_differ_and_stay_are_said_in_the_end(coffre: Coffre, account: Account) -> None:
    whole(account)
    restoring(account, left=3)

    said = coffre("restore", "point", "latest", "--to", "coffre/destination/copy")
    as_json = coffre("restore", "point", "latest", "--to", "coffre/destination/copy", "--json")

    assert said.status == as_json.status == 4
    assert "3 objects at the destination differ from the point, and stayed" in " ".join(said.out.split())
    assert '"left": 3' in as_json.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("latest",), "say where to: --to for a new or empty database, or --replace"),
        (("latest", "--to", "coffre/destination/x", "--replace"), "--to and --replace exclude each other"),
    ],
)
def test_wrong_options_are_refused(coffre: Coffre, account: Account, arguments: tuple[str, ...], words: str) -> None:
    whole(account)

    said = coffre("restore", "point", *arguments)

    assert said.status == 2
    assert words in " ".join(said.err.replace("│", " ").split())
    assert account.invoked == []


def test_a_point_that_is_not_whole_or_unknown_is_not_restored(coffre: Coffre, account: Account) -> None:
    files = account.backup(target="files", kind=TargetKind.BUCKET)
    keep_point(account, files=files.id, database=ID)

    by_id = coffre("restore", "point", ID, "--to", "coffre/destination/x")
    by_name = coffre("restore", "point", "all", "--to", "coffre/destination/x")
    unknown = coffre("restore", "point", "nothing", "--to", "coffre/destination/x")

    assert by_id.status == 2
    assert "is not whole" in " ".join(by_id.err.replace("│", " ").split())
    assert (by_name.status, "No restore point all is whole yet." in by_name.err) == (1, True)
    assert (unknown.status, "POINT_UNKNOWN" in unknown.err) == (1, True)
    assert account.invoked == []
