"""`coffre copy`: to the copies of the configuration by the function as it is, and to any place by the command."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import boto3
import pytest
from tests.unit.cli.conftest import BUCKET, TABLE, Account, Coffre

from coffre.model.backup import Status
from coffre.model.copies import CopyStatus
from coffre.model.errors import BackupStateError, CoffreError, EventError
from coffre.runtime.copy_function import CopyFunction
from coffre.runtime.function import LambdaContext
from coffre.stores.body import sha256_of
from coffre_cli.commands.backups import copy_to_copies


class Context:
    """An invocation with this much time left."""

    aws_request_id = "8f3a7c1e-5d2b-4e6f-9a0b-1c2d3e4f5a6b"
    function_name = "safe-copy"

    def __init__(self, milliseconds: int = 900_000) -> None:
        self.left = milliseconds

    def get_remaining_time_in_millis(self) -> int:
        return self.left


@pytest.fixture
def nas(account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that is a copy of the configuration, and the function `copy` as it is."""
    monkeypatch.setenv("POWERTOOLS_LOG_LEVEL", "CRITICAL")
    place = tmp_path / "nas"
    place.mkdir()
    configure(account, {"name": "nas", "store": {"type": "directory", "path": str(place)}})
    account.play = played()
    return place


def configure(account: Account, *copies: Mapping[str, Any]) -> None:
    ssm = boto3.client("ssm")
    document = json.loads(ssm.get_parameter(Name="configuration")["Parameter"]["Value"])
    ssm.put_parameter(
        Name="configuration", Value=json.dumps({**document, "copies": copies}), Type="String", Overwrite=True
    )


def played() -> Any:
    function = made()
    return lambda name, event: function.handle(event, cast(LambdaContext, Context())) if name == "copy" else None


def made() -> CopyFunction:
    topic = boto3.client("sns").create_topic(Name="alerts")["TopicArn"]
    environment = {
        "COFFRE_CONFIGURATION": "configuration",
        "COFFRE_VAULT_BUCKET": BUCKET,
        "COFFRE_CATALOG_TABLE": TABLE,
        "COFFRE_ALERT_TOPIC_ARN": topic,
    }
    return CopyFunction.make(environment)


def test_what_is_due_is_copied_by_the_function(coffre: Coffre, account: Account, nas: Path) -> None:
    account.backup()
    backup = account.backup()

    said = coffre("copy")

    assert (said.status, said.err) == (0, "")
    assert said.out == (f"{backup.id} of shop is complete in nas.\nCopied 1 backup: 0 packs sent, 0 B.\n")
    assert (nas / (backup.manifest_key or "")).is_file()
    assert [one.backup_id for one in account.catalog.copies.of("nas")] == [backup.id]
    [event] = [one for one in account.catalog.audit.events() if one.action == "backup.copied"]
    assert (event.subject, event.detail) == (backup.id, "to nas")
    assert coffre("copy").out == "Nothing is missing: every copy has what it should have.\n"


def test_older_backups_are_copied_when_asked_for(coffre: Coffre, account: Account, nas: Path) -> None:
    first, second = account.backup(), account.backup()

    assert coffre("copy", first.id, "--to", "nas").status == 0
    assert [one.backup_id for one in account.catalog.copies.of("nas")] == [first.id]
    said = coffre("copy", "--all", "--json")
    assert said.json() == [
        {
            "destination": "nas",
            "target": "shop",
            "backups": [second.id, first.id],
            "packs": 0,
            "bytes": 0,
            "unfinished": None,
            "busy": False,
            "left_out": None,
            "journal_lacks": [],
        }
    ]


def test_what_the_vault_has_lost_of_a_journal_is_named_and_no_error(
    coffre: Coffre, account: Account, nas: Path
) -> None:
    account.backup()
    function, why = played(), "The journal of shop is damaged (interval 1): the segment 7 is missing."
    account.play = lambda name, event: function(name, event) | {"journal_lacks": [why]}

    for out in ("Copied 1 backup", ""):
        said = coffre("copy")
        assert (said.status, out in said.out, "Nothing is missing" in said.out) == (0, True, False)
        assert f"nas lacks a part of a journal, as the vault does: {why}" in said.err.replace("\n", " ")


def test_a_dry_run_copies_nothing(coffre: Coffre, account: Account, nas: Path) -> None:
    backup = account.backup()

    said = coffre("copy", "--dry-run")

    assert said.status == 0
    assert backup.id in said.out
    assert said.out.endswith("Nothing was copied.\n")
    assert list(nas.iterdir()) == []
    assert account.invoked == []


def test_a_backup_goes_to_a_disk_without_a_record(coffre: Coffre, account: Account, tmp_path: Path) -> None:
    backup = account.backup()
    disk = tmp_path / "disk"
    disk.mkdir()

    said = coffre("copy", "latest", "--to", f"directory:{disk}")

    assert (said.status, account.invoked) == (0, [])
    assert (disk / (backup.manifest_key or "")).is_file()
    listed = coffre("--vault", disk, "list", "--json").json()
    assert [one["id"] for one in listed] == [backup.id]


def test_a_copy_is_copied_on_without_the_stack(coffre: Coffre, account: Account, tmp_path: Path) -> None:
    backup = account.backup()
    for name in ("disk", "other"):
        (tmp_path / name).mkdir()
    coffre("copy", "--all", "--to", tmp_path / "disk")

    said = coffre("--vault", tmp_path / "disk", "copy", "--all", "--to", tmp_path / "other")

    assert said.status == 0
    assert (tmp_path / "other" / (backup.manifest_key or "")).is_file()
    assert coffre("--vault", tmp_path / "disk", "copy").status == 2


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("copy", "latest", "--all"), 2, "exclude each other"),
        (("copy", "--to", "elsewhere"), 1, "[COPY_UNKNOWN]"),
        (("copy", "--to", "ftp://x/y"), 1, "[VAULT_UNUSABLE]"),
        (("copy", "--target", "nope"), 1, "[TARGET_UNKNOWN]"),
        (("copy", "--to", "./missing"), 1, "missing"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    coffre: Coffre, account: Account, nas: Path, arguments: tuple[str, ...], status: int, words: str
) -> None:
    account.backup()

    said = coffre(*arguments)

    assert said.status == status
    assert words in " ".join(said.err.split())
    assert list(nas.iterdir()) == []


def test_without_copies_it_says_how_to_have_one(coffre: Coffre, account: Account) -> None:
    account.backup()

    said = coffre("copy")

    assert said.status == 1
    assert "The configuration has no copies. [NOTHING_TO_COPY]" in said.err
    assert "coffre copy latest --to directory:DIR" in " ".join(said.err.split())


def test_a_directory_that_exists_nowhere_is_named_or_left_out(coffre: Coffre, account: Account, nas: Path) -> None:
    account.backup()
    usb = {"name": "usb", "store": {"type": "directory", "path": "/nowhere/usb"}}
    configure(account, usb, {"name": "nas", "store": {"type": "directory", "path": str(nas)}})

    said = coffre("copy", "--to", "usb")
    both = coffre("copy")

    assert said.status == 1
    assert "the function does not have the directory /nowhere/usb, and this machine neither." in said.err
    assert "[COPY_NOT_POSSIBLE]" in said.err
    assert both.status == 0
    assert (
        "usb was left out: the function does not have the directory /nowhere/usb, and this machine neither." in both.err
    )
    assert list(account.catalog.incidents.open("shop")) == []
    assert len(list(account.catalog.copies.of("nas"))) == 1


def test_a_directory_that_only_this_machine_has_is_copied_to_by_the_command(
    coffre: Coffre, account: Account, nas: Path, tmp_path: Path
) -> None:
    older, newest = account.backup(), account.backup()
    disk = tmp_path / "disk"
    disk.mkdir()
    configure(account, {"name": "usb", "store": {"type": "directory", "path": str(disk)}})

    left_out = {
        "destination": "usb",
        "target": "shop",
        "backups": [],
        "packs": 0,
        "bytes": 0,
        "unfinished": None,
        "busy": False,
        "left_out": "the function does not have it",
    }
    function = played()
    account.play = lambda name, event: function(name, event) if "copied" in event else left_out

    assert coffre("copy", "--to", "usb").status == 0
    # The stack knows it: it is in the list of copies, and is not due again
    assert [one.backup_id for one in account.catalog.copies.of("usb")] == [newest.id]
    [event] = [one for one in account.catalog.audit.events() if one.action == "backup.copied"]
    assert (event.subject, event.detail) == (newest.id, "to usb")
    assert "Nothing is missing" in coffre("copy", "--to", "usb").out
    assert [one["id"] for one in coffre("--vault", disk, "list", "--json").json()] == [newest.id]
    assert coffre("copy", "--all", "--to", "usb").status == 0
    assert len(coffre("--vault", disk, "list", "--json").json()) == 2
    assert (disk / (older.manifest_key or "")).is_file()


def test_a_backup_is_shown_with_its_copies(coffre: Coffre, account: Account, nas: Path) -> None:
    backup = account.backup()
    assert "  copy " not in coffre("show", backup.id).out
    assert coffre("copy").status == 0

    assert "  copy      nas: complete since " in coffre("show", backup.id).out
    [copy] = coffre("show", backup.id, "--json").json()["copies"]
    assert (copy["destination"], copy["status"]) == ("nas", "COMPLETED")
    found = account.catalog.copies.find("nas", backup.id)
    assert found is not None
    account.catalog.copies.keep(found.model_copy(update={"damaged": "A pack is gone."}))
    assert "  copy      nas: DAMAGED: A pack is gone.\n" in coffre("show", backup.id).out
    account.catalog.copies.keep(found.model_copy(update={"status": CopyStatus.FAILED, "error": "Access denied."}))
    assert "  copy      nas: FAILED: Access denied.\n" in coffre("show", backup.id).out


def test_a_copier_that_is_busy_or_continues_is_waited_for(
    coffre: Coffre, account: Account, nas: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copy_to_copies, "_POLL_SECONDS", 0.0)
    backup = account.backup()
    answers: list[dict[str, Any]] = [
        {"busy": True},
        {"unfinished": backup.id, "packs": 3},
        {"backups": [backup.id], "packs": 2},
    ]
    whole: dict[str, Any] = {"destination": "nas", "target": "shop", "backups": [], "packs": 0, "bytes": 0}

    def play(_name: str, _event: Mapping[str, Any]) -> object:
        return {**whole, "unfinished": None, "busy": False, **answers.pop(0)}

    account.play = play
    said = coffre("copy", "--to", "nas")

    assert (said.status, answers) == (0, [])
    assert said.out.endswith("Copied 1 backup: 5 packs sent, 0 B.\n")


def test_a_failed_copy_is_an_alert_and_its_end_another(coffre: Coffre, account: Account, nas: Path) -> None:
    backup = account.backup()
    (nas / "v1").write_text("in the way")

    said = coffre("copy")
    assert said.status == 1
    assert [one.fingerprint for one in account.catalog.incidents.open("shop")] != []
    assert next(iter(account.catalog.copies.of("nas"))).status is CopyStatus.FAILED

    (nas / "v1").unlink()
    assert coffre("copy").status == 0
    assert list(account.catalog.incidents.open("shop")) == []
    assert next(iter(account.catalog.copies.of("nas"))).backup_id == backup.id


# --- the function ---


class Started:
    """The function's own further invocations."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def invoke(self, FunctionName: str, InvocationType: str, Payload: bytes) -> None:  # noqa: N803 - as boto3 has them
        assert (FunctionName, InvocationType) == ("safe-copy", "Event")
        self.events.append(json.loads(Payload))


def answer(event: Mapping[str, Any], milliseconds: int = 900_000) -> tuple[Any, list[dict[str, Any]]]:
    function, started = made(), Started()
    vars(function.services)["functions"] = started
    return function.handle(event, cast(LambdaContext, Context(milliseconds))), started.events


def test_each_target_and_destination_is_copied_in_an_invocation_of_its_own(account: Account, nas: Path) -> None:
    account.configure("shop", "crm")
    store = {"type": "directory", "path": str(nas)}
    own = {"name": "own", "store": {"type": "directory", "path": "/nowhere/usb"}}
    theirs = {"name": "theirs", "store": store, "copied_by": "replication"}
    configure(
        account, {"name": "nas", "store": store}, {"name": "crms", "store": store, "targets": ["crm"]}, own, theirs
    )

    assert answer({}) == (
        {"started": ["shop to nas", "crm to nas", "crm to crms"]},
        [{"target": "shop", "to": "nas"}, {"target": "crm", "to": "nas"}, {"target": "crm", "to": "crms"}],
    )
    after = {"target": "crm", "after": "01K9X000000000000000000000"}
    assert answer(after)[1] == [{**after, "to": "nas"}, {**after, "to": "crms"}]
    assert answer({"to": "crms"})[1] == [{"target": "crm", "to": "crms"}]


def test_the_function_looks_at_every_destination_that_it_reaches_and_copies_nothing(
    account: Account, nas: Path
) -> None:
    """A directory is looked at by the machine that has it."""
    place: Any = {"LocationConstraint": "eu-west-1"}
    boto3.client("s3").create_bucket(Bucket="acme-copy", CreateBucketConfiguration=place)
    offsite = {"name": "offsite", "store": {"type": "s3", "bucket": "acme-copy"}}
    gone = {"name": "gone", "store": {"type": "s3", "bucket": "acme-nosuch"}}
    configure(account, {"name": "nas", "store": {"type": "directory", "path": str(nas)}}, offsite, gone)
    account.backup()

    places = {one["name"]: one for one in answer({"doctor": True, "probe": True})[0]["places"]}

    assert places.keys() == {"offsite", "gone"}
    assert (places["offsite"]["trouble"], places["offsite"]["written"]) == (None, None)
    assert places["gone"]["trouble"]["code"] == "BUCKET_MISSING"
    assert all(one["is_certain"] for one in places.values())
    with pytest.raises(EventError, match="it goes with probe alone"):
        answer({"doctor": True, "to": "offsite"})


def test_only_good_backups_in_a_directory_are_recorded_for_a_command(account: Account, nas: Path) -> None:
    good, failed = account.backup(), account.backup(Status.FAILED)
    other = {"name": "offsite", "store": {"type": "s3", "bucket": "acme-copy"}}
    configure(account, {"name": "nas", "store": {"type": "directory", "path": str(nas)}}, other)

    with pytest.raises(BackupStateError, match="is not copied: it is FAILED"):
        answer({"copied": {"to": "nas", "backups": [good.id, failed.id]}})
    with pytest.raises(EventError, match="recorded by this function"):
        answer({"copied": {"to": "offsite", "backups": [good.id]}})
    with pytest.raises(EventError, match="goes with no other field"):
        answer({"copied": {"to": "nas", "backups": [good.id]}, "all": True})
    assert list(account.catalog.copies.of("nas")) == []
    assert answer({"copied": {"to": "nas", "backups": [good.id]}})[0] == {"recorded": [good.id]}


def test_a_copy_whose_time_is_over_continues_in_the_next_invocation(account: Account, nas: Path) -> None:
    backup = account.backup()
    source = boto3.client("s3")
    key = f"v1/packs/{backup.id}/000001-0a1b2c3d-0000"
    source.put_object(Bucket=BUCKET, Key=key, Body=b"pack")
    document = json.loads(source.get_object(Bucket=BUCKET, Key=backup.manifest_key or "")["Body"].read())
    document["packs"] = [{"key": key, "length": 4, "sha256": sha256_of(b"pack"), "live_bytes": 4}]
    body = json.dumps(document).encode()
    source.put_object(Bucket=BUCKET, Key=backup.manifest_key or "", Body=body)
    boto3.resource("dynamodb").Table(TABLE).update_item(
        Key={"pk": "BACKUP", "sk": backup.id},
        UpdateExpression="SET manifest_sha256 = :sha256",
        ExpressionAttributeValues={":sha256": sha256_of(body)},
    )
    event = {"target": "shop", "to": "nas"}

    stopped, started = answer(event, milliseconds=50_000)
    assert (stopped["unfinished"], stopped["backups"]) == (backup.id, ())
    assert started == [{**event, "continue": 1}]

    done, started = answer(started[0])
    assert (done["backups"], done["packs"], started) == ((backup.id,), 1, [])
    assert (nas / key).read_bytes() == b"pack"


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ({"to": "nope"}, "COPY_UNKNOWN"),
        ({"target": "nope"}, "TARGET_UNKNOWN"),
        ({"backup_id": "01K9X000000000000000000000"}, "EVENT_INVALID"),
        ({"target": "shop", "where": "nas"}, "EVENT_INVALID"),
        ({"target": "shop", "to": "nas", "backup_id": "01K9X000000000000000000000"}, "BACKUP_UNKNOWN"),
    ],
)
def test_an_event_that_cannot_be_meant_is_refused(
    account: Account, nas: Path, event: Mapping[str, Any], code: str
) -> None:
    with pytest.raises(CoffreError) as refused:
        answer(event)
    assert refused.value.code == code
    assert list(nas.iterdir()) == []


def test_one_damaged_backup_keeps_no_other_from_a_disk(coffre: Coffre, account: Account, tmp_path: Path) -> None:
    first, damaged, last = (account.backup() for _ in range(3))
    entries = f"v1/backups/shop/{damaged.id}/entries.jsonl.zst"
    boto3.client("s3").put_object(Bucket=BUCKET, Key=entries, Body=b"?")
    disk = tmp_path / "disk"
    disk.mkdir()

    said = coffre("copy", "--all", "--to", disk)

    assert said.status == 1
    assert "Copied 2 backups" in said.out
    assert "[ENTRIES_SWAPPED]" in said.err
    assert damaged.id in said.err
    found = {one["id"] for one in coffre("--vault", disk, "list", "--json").json()}
    assert found == {first.id, last.id}


def test_a_destination_that_fails_keeps_no_other_from_its_copy(
    coffre: Coffre, account: Account, nas: Path, tmp_path: Path
) -> None:
    backup = account.backup()
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "v1").write_text("in the way")
    stores = {"broken": broken, "nas": nas}
    configure(
        account,
        *({"name": name, "store": {"type": "directory", "path": str(path)}} for name, path in stores.items()),
    )

    said = coffre("copy")

    assert said.status == 1
    assert f"{backup.id} of shop is complete in nas." in said.out
    assert "broken" in said.err
