"""What overwrites or deletes objects needs the plan's token, and changes no more than the plan said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.confirming import with_confirmation
from tests.integration.bucket_backups import Object
from tests.integration.conftest import Coffre, Context, client, new_id
from tests.integration.restore_buckets.test_function import FILES, Lambda, bodies, keep, uploads

from coffre.model.backup import Status
from coffre.model.errors import CoffreError
from coffre.model.storage import Objects, StorageOutcome, StorageResult, StorageScope
from coffre.operations.restore_buckets.consent import ChangeAllowance

__all__ = ["uploads"]  # the fixture

EVENT: dict[str, Any] = {"backup_id": "latest", "target": "uploads", "streams": 1}
MIRROR: dict[str, Any] = {**EVENT, "storage": {"mode": "mirror", "no_safety": True}}


def handle(coffre: Coffre, event: dict[str, Any], context: Context | None = None) -> dict[str, Any]:
    return coffre.restore_function().handle(event, context or Context(function_name="restore"))


def refused(coffre: Coffre, event: dict[str, Any]) -> CoffreError:
    with pytest.raises(CoffreError) as caught:
        handle(coffre, event)
    return caught.value


def planned(coffre: Coffre, event: dict[str, Any]) -> dict[str, Any]:
    return with_confirmation(lambda trial: handle(coffre, trial), event)


def put(**objects: bytes) -> None:
    for key, body in objects.items():
        client("s3").put_object(Bucket="photos", Key=key, Body=body)


@pytest.mark.parametrize("mode", ["overwrite", "mirror"])
def test_a_bare_event_changes_no_object(uploads: Coffre, tmp_path: Path, mode: str) -> None:
    keep(uploads, FILES, tmp_path)
    put(extra=b"extra")

    error = refused(uploads, {**EVENT, "storage": {"mode": mode}})

    assert error.code == "CONFIRMATION_NEEDED"
    assert '"storage": {"mode": "%s", "dry_run": true}' % mode in (error.hint or "")  # noqa: UP031 - braces
    assert bodies() == {"extra": b"extra"}


def test_the_plan_counts_what_goes_and_its_name_is_the_bucket(uploads: Coffre, tmp_path: Path) -> None:
    keep(uploads, FILES, tmp_path)
    put(extra=b"extra")
    client("s3").put_object(Bucket="photos", Key="00.txt", Body=b"newer")

    plan = handle(uploads, {**EVENT, "storage": {"mode": "mirror", "dry_run": True}})["plan"]

    assert (plan["name"], plan["destination"]) == ("photos", "photos at AWS")
    assert plan["overwrites"] == {"objects_overwritten": 1, "objects_deleted": 1, "object_bytes": 6}
    assert set(bodies()) == {"extra", "00.txt"}


def test_a_bucket_that_lost_its_versions_after_the_plan_is_not_touched(uploads: Coffre, tmp_path: Path) -> None:
    keep(uploads, FILES, tmp_path)
    put(extra=b"extra")
    versions = client("s3").put_bucket_versioning
    versions(Bucket="photos", VersioningConfiguration={"Status": "Enabled"})
    event = planned(uploads, MIRROR)
    versions(Bucket="photos", VersioningConfiguration={"Status": "Suspended"})

    error = refused(uploads, event)

    assert error.code == "DESTINATION_CHANGED"
    assert "the versioning of photos changed" in error.message
    assert bodies() == {"extra": b"extra"}


def test_no_more_is_deleted_than_was_confirmed_and_a_little(uploads: Coffre, tmp_path: Path) -> None:
    keep(uploads, FILES, tmp_path)
    event = planned(uploads, MIRROR)
    put(**{f"x{number:02d}": b"new" for number in range(40)})

    error = refused(uploads, event)

    assert error.code == "DESTINATION_CHANGED"
    assert len([key for key in bodies() if key.startswith("x")]) == 30


def test_an_object_that_came_after_the_plan_is_one_of_the_few_more(uploads: Coffre, tmp_path: Path) -> None:
    keep(uploads, {"photos/a": Object(b"old")}, tmp_path)
    event = planned(uploads, {**EVENT, "storage": {"mode": "overwrite", "no_safety": True}})
    put(a=b"came meanwhile")

    handle(uploads, event)

    assert bodies() == {"a": b"old"}


def test_a_forged_continuation_is_refused(uploads: Coffre, tmp_path: Path) -> None:
    backup = keep(uploads, FILES, tmp_path)
    put(extra=b"extra")
    restore_id = new_id()
    function = uploads.restore_function()
    vars(function.services)["functions"] = functions = Lambda()
    counts = iter(range(6))
    context = Context(lambda: 900 if next(counts, None) is not None else 50, "r", "restore")
    # Given a restore that only adds what is missing, and continues
    assert handle(uploads, {**EVENT, "storage": {}, "restore_id": restore_id}, context)["status"] == "IN_PROGRESS"
    [event] = functions.events
    assert "confirmation" not in event

    forged = {**event, "storage": {"mode": "mirror", "no_safety": True}}

    assert refused(uploads, forged).code == "CONFIRMATION_MISMATCH"
    assert b"extra" in bodies().values()
    assert handle(uploads, event)["status"] == "COMPLETED"
    assert uploads.catalog.get_restore(restore_id).backup_id == backup.id


def paused(uploads: Coffre, tmp_path: Path) -> dict[str, Any]:
    """Begin a confirmed restore that has time for a part of it, and return the event of its next invocation."""
    keep(uploads, FILES, tmp_path)
    put(extra=b"extra")
    event = planned(uploads, {**MIRROR, "restore_id": new_id()})
    function = uploads.restore_function()
    vars(function.services)["functions"] = functions = Lambda()
    counts = iter(range(6))
    context = Context(lambda: 900 if next(counts, None) is not None else 50, "r", "restore")
    assert handle(uploads, event, context)["status"] == "IN_PROGRESS"
    [following] = functions.events
    return following


def test_a_confirmed_restore_continues_without_another_token_and_only_as_it_was(
    uploads: Coffre, tmp_path: Path
) -> None:
    following = paused(uploads, tmp_path)
    assert "confirmation" not in following

    for changed in ({"prefix": "0"}, {"to": "elsewhere"}, {"mode": "overwrite"}):
        other = {**following, "storage": {**following["storage"], **changed}}
        assert refused(uploads, other).code == "CONFIRMATION_MISMATCH"
    assert handle(uploads, following)["status"] == "COMPLETED"
    assert set(bodies()) == {name.partition("/")[2] for name in FILES}


def test_a_confirmed_restore_is_not_continued_in_another_store(uploads: Coffre, tmp_path: Path) -> None:
    following = paused(uploads, tmp_path)
    before = bodies()

    # A store that does not exist: it is refused before its secret is read
    error = refused(uploads, {**following, "store": "coffre/store/elsewhere"})

    assert error.code == "CONFIRMATION_MISMATCH"
    assert bodies() == before
    assert uploads.catalog.get_restore(following["restore_id"]).status is Status.FAILED


def test_an_allowance_counts_what_earlier_invocations_did() -> None:
    done = StorageResult(scope=StorageScope(), deleted=Objects(count=100))
    allowance = ChangeAllowance({StorageOutcome.DELETED: 95, StorageOutcome.OVERWRITTEN: 200}, done)

    for _ in range(5):
        allowance.take(StorageOutcome.DELETED)
    with pytest.raises(CoffreError, match="than were confirmed"):
        allowance.take(StorageOutcome.DELETED)
    for _ in range(220):
        allowance.take(StorageOutcome.OVERWRITTEN)
    with pytest.raises(CoffreError):
        allowance.take(StorageOutcome.OVERWRITTEN)
    with pytest.raises(CoffreError):
        ChangeAllowance().take(StorageOutcome.DELETED)
