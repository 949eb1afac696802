"""What of a copy's records is read for `coffre status`: enough to know whether it has what it should have."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from moto import mock_aws
from tests.catalog_table import create_table
from tests.unit.policy.safety_scene import NOW, run

from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup, Failure, Status
from coffre.model.configuration import Configuration
from coffre.model.copies import Copy, CopyStatus
from coffre.model.kinds import TargetKind
from coffre.model.status_facts import Schedule
from coffre.operations.status.gather import StatusJob, gather
from coffre.policy.safety import of_copies

CONFIGURATION = Configuration.model_validate(
    {
        "encryption": "none",
        "targets": [
            {"name": "shop", "secret": "coffre/database/shop"},
            {"name": "files", "kind": "bucket", "buckets": [{"name": "acme-files"}]},
        ],
        "copies": [{"name": "offsite", "store": {"type": "s3", "bucket": "acme-offsite"}}],
    }
)


@pytest.fixture
def catalog(monkeypatch: pytest.MonkeyPatch) -> Iterator[Catalog]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with mock_aws():
        create_table("catalog", region="eu-west-1")
        yield Catalog("catalog", region="eu-west-1", now=lambda: NOW)


def keep(catalog: Catalog, backup: Backup, **copied: Any) -> None:
    catalog.create_backup(backup.model_copy(update={"status": Status.IN_PROGRESS}))
    if backup.status is Status.FAILED:
        catalog.fail_backup(backup.id, Failure(code="C", message="m"), NOW)
        return
    catalog.complete_backup(backup.model_copy(update={"manifest_key": "m", "manifest_sha256": "a" * 64}))
    fields = {"backup_id": backup.id, "target": backup.target, "started_at": NOW, "status": CopyStatus.COMPLETED}
    catalog.copies.keep(Copy.model_validate({"destination": "offsite", **fields, **copied}))


def said(catalog: Catalog) -> list[tuple[str, tuple[str, ...]]]:
    """Return why the copy is not in order: codes and targets."""
    unread = {"state": "enabled", "rule": "r"}
    job = StatusJob(catalog, CONFIGURATION, lambda job, *_: Schedule(job=job, **unread), {}, NOW)
    return [(one.code, one.targets) for one in of_copies(gather(job))]


def test_a_target_that_is_backed_up_seldom_is_found_among_many_of_another(catalog: Catalog) -> None:
    keep(catalog, run(60, target="files", kind=TargetKind.BUCKET))
    for hour in range(50):
        keep(catalog, run(hour + 2))

    assert said(catalog) == []


def test_a_copy_that_failed_for_ten_runs_is_late_and_not_empty(catalog: Catalog) -> None:
    keep(catalog, run(60, target="files", kind=TargetKind.BUCKET))
    keep(catalog, run(30))
    for hour in range(15):
        keep(catalog, run(hour + 2), status=CopyStatus.FAILED, error="It is full.")

    assert said(catalog) == [("COPY_LATE", ("shop",))]


def test_runs_that_fail_hide_no_backup_that_the_copy_has(catalog: Catalog) -> None:
    keep(catalog, run(60, target="files", kind=TargetKind.BUCKET))
    keep(catalog, run(30), started_at=NOW - timedelta(hours=29))
    for hour in range(15):
        keep(catalog, run(hour + 2, Status.FAILED))

    assert said(catalog) == []
