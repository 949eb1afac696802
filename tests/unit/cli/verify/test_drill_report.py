"""`coffre report`: what a drill found out, for a person, for a script and for paper."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
from tests.unit.cli.conftest import BUCKET, Account, Coffre

from coffre.model.backup import Backup, Failure
from coffre.model.drill import Outcome
from coffre.model.drill_report import CheckProof, DrillReport, ObjectProof, Sample, Structure, TableProof, Verdict

NOW = datetime(2026, 11, 22, 6, 0, tzinfo=UTC)


def drilled(backup: Backup, number: int = 1, **changes: Any) -> DrillReport:
    """Put a report beside a backup."""
    tables = (
        TableProof(
            table='public."Odd Name"', verdict=Verdict.EQUAL, rows=3, rows_found=3, size_bytes=12, slices=1,
            slices_equal=1, sha256="a" * 64, sha256_found="a" * 64,
        ),
    )  # fmt: skip
    report = DrillReport(
        **{
            "id": f"01K9X00000000000000000000{number}",
            "backup_id": backup.id,
            "target": backup.target,
            "outcome": Outcome.PASSED,
            "backup_created_at": backup.created_at,
            "started_at": NOW,
            "completed_at": NOW + timedelta(seconds=12),
            "source_version": "14.23",
            "server_version": "18.6",
            "coffre_version": "0.1.0",
            "rows": 3,
            "tables": tables,
            "structure": Structure(indexes=2, constraints=1, sequences=1, amcheck="pg_amcheck --heapallindexed"),
            "checks": (CheckProof(name="paid", query="SELECT 1", expected=1, found=1, passed=True),),
            "limits": ("Owners and rights: a drill's role has no rights over others.",),
            "phases_ms": {"tables": 900},
            "restore_seconds": 61.0,
            "restore_limit_seconds": 60,
            **changes,
        }
    )
    key = f"v1/backups/{backup.target}/{backup.id}/reports/drill-{report.id}.json"
    boto3.client("s3").put_object(Bucket=BUCKET, Key=key, Body=report.model_dump_json().encode())
    return report


def test_a_report_says_what_was_proven_and_what_was_not(account: Account, coffre: Coffre) -> None:
    backup = account.backup()
    drilled(backup)

    said = coffre("report", backup.id)

    assert said.status == 0
    for words in (
        "Drill of shop: Restored and proven.",
        backup.id,
        "PostgreSQL 14.23 at the source, 18.6 here",
        "1 min 01 s, MORE than the 1 min 00 s that are allowed",
        "check     paid: passed",
        "Owners and rights",
        "2 indexes, 1 constraint, 1 sequence; pg_amcheck",
        'public."Odd Name"',
        "equal",
    ):
        assert words in " ".join(said.out.split("\n")) or words in said.out, words


def test_a_report_of_buckets_has_objects_and_says_of_how_many(account: Account, coffre: Coffre) -> None:
    backup = account.backup()
    objects = (
        ObjectProof(name="photos/good.jpg", verdict=Verdict.EQUAL, size_bytes=12, sha256="a" * 64),
        ObjectProof(name="photos/bad.jpg", verdict=Verdict.DIFFERENT, size_bytes=1, sha256="b" * 64),
    )
    sample = Sample(objects=12_345, size_bytes=5_000_000, chosen=2, chosen_bytes=13)
    drilled(backup, tables=(), checks=(), objects=objects, sample=sample, restore_seconds=None)

    said = coffre("report", backup.id)

    assert "A sample was restored and proven, 2 of 12,345 objects" in said.out
    assert "1 of 2 equal, 13 B of them; 12,345 objects and 5.0 MB of the backup" in " ".join(said.out.split())
    assert said.out.index("photos/bad.jpg") < said.out.index("photos/good.jpg")
    for words in ("PostgreSQL", "indexes", "scratch ", "tables    "):
        assert words not in said.out, words


def test_the_newest_drill_counts_and_a_failed_one_is_an_error_for_scripts(account: Account, coffre: Coffre) -> None:
    backup = account.backup()
    drilled(backup, 1)
    failure = Failure(code="ROWS_DIFFER", message="public.orders is not as it was.", hint="Take a new one.")
    drilled(backup, 2, outcome=Outcome.FAILED, problems=("public.orders is not as it was.",), failure=failure)

    said = coffre("report", "latest", "--json")

    assert said.status == 1
    assert (said.json()["id"], said.json()["outcome"]) == ("01K9X000000000000000000002", "failed")
    shown = coffre("report", "latest")
    assert "did not come back as it was taken" in shown.out
    assert "ROWS_DIFFER" in shown.out


def test_a_page_is_written_for_people_without_the_command(account: Account, coffre: Coffre, tmp_path: Path) -> None:
    backup = account.backup()
    drilled(backup)
    page = tmp_path / "drill.html"

    said = coffre("report", backup.id, "--html", page)

    assert (said.status, said.out) == (0, "")
    assert str(page.name) in said.err.replace("\n", "")
    assert page.read_text().startswith("<!doctype html>")


def test_a_backup_that_was_never_drilled_says_how(account: Account, coffre: Coffre) -> None:
    backup = account.backup()

    said = coffre("report", backup.id)

    assert said.status == 1
    assert "NEVER_DRILLED" in said.err
    assert f"coffre verify --level drill {backup.id}" in said.err.replace("\n", "")


def test_a_report_that_somebody_damaged_is_named(account: Account, coffre: Coffre) -> None:
    backup = account.backup()
    report = drilled(backup)
    key = f"v1/backups/shop/{backup.id}/reports/drill-{report.id}.json"
    boto3.client("s3").put_object(Bucket=BUCKET, Key=key, Body=b"{")

    assert "REPORT_DAMAGED" in coffre("report", backup.id).err
