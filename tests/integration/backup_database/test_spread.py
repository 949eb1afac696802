"""A backup that several functions take together, in real PostgreSQL: it is what one function would have stored."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from tests.integration.conftest import BUCKET, REGION, Coffre, Context, client, run_sql
from tests.integration.contents import no_session_stays
from tests.integration.spread_machine import SpreadMachine, spread_machine

from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup, Status
from coffre.model.errors import CatalogError, CoffreError, ConfigurationError, SecretError, StoreTransientError
from coffre.model.manifest import Entry, EntryKind, Manifest
from coffre.operations.backup_database.spread import begin, hold
from coffre.runtime.bootstrap import Services
from coffre.runtime.spread_planning import SpreadPlanning
from coffre.runtime.state_machine import TRANSITIONS, Machine, MachineError
from coffre.stores.s3 import S3Store
from coffre.vault.layout import part_key, plan_key

ALWAYS = {"limits": {"spread": "always", "streams": 4}}


@pytest.fixture
def machine(coffre: Coffre, monkeypatch: pytest.MonkeyPatch) -> Iterator[SpreadMachine]:
    with spread_machine(coffre, monkeypatch) as machine:
        yield machine


def entries_of(coffre: Coffre, backup_id: str) -> tuple[Manifest, list[Entry]]:
    vault = coffre.backup_function().services.vault
    found = vault.find_manifest("shop", backup_id)
    assert found is not None
    return found[0], list(vault.entries(found[0]))


def hashes(entry: Entry) -> tuple[Any, ...]:
    # An archive has the time in it at which it was made.
    is_archive = entry.kind in (EntryKind.SCHEMA, EntryKind.LARGE_OBJECTS)
    return entry.name, entry.kind, entry.size, None if is_archive else entry.sha256, entry.rows, entry.relation


def test_a_spread_backup_has_what_one_function_stores(coffre: Coffre, shop: str, machine: SpreadMachine) -> None:
    # Given a backup that one function took, and large objects
    run_sql(shop, "SELECT lo_from_bytea(0, 'a large object')")
    coffre.configure(shop, target={"limits": {"spread": "never"}})
    alone, alone_entries = entries_of(coffre, coffre.backup()["id"])

    # When several take one, and share nothing with it
    coffre.configure(shop, target=ALWAYS)
    answer = coffre.backup(full=True)
    assert machine.wait() == "SUCCEEDED"

    # Then it is the same, and it was spread
    backup = coffre.catalog.get_backup(answer["id"])
    assert backup.status is Status.COMPLETED
    manifest, entries = entries_of(coffre, backup.id)
    assert [hashes(entry) for entry in entries] == [hashes(entry) for entry in alone_entries]
    assert manifest.database.tables == alone.database.tables
    assert manifest.rows == alone.rows
    assert manifest.plaintext_bytes == alone.plaintext_bytes
    assert backup.spread == "limits.spread is always."
    assert backup.workers == machine.given["width"]
    assert machine.invoked["work-1"] == 1
    # And what all of its invocations used is one sum
    used = coffre.catalog.usages.find(backup.id)
    assert used is not None
    assert used.invocations == 1 + machine.invoked.total()
    by_step = Counter(step.partition("-")[0] for step in machine.invoked.elements())
    assert used.transitions == TRANSITIONS["begin"] + sum(TRANSITIONS[step] * times for step, times in by_step.items())


def take(coffre: Coffre, machine: SpreadMachine, **event: Any) -> Backup:
    """Take a backup, wait for the machine's end, and return the record."""
    answer = coffre.backup(**event)
    machine.wait()
    return coffre.catalog.get_backup(answer["id"])


def require_ended(coffre: Coffre, backup: Backup, url: str, code: str) -> None:
    """The run has failed with this code, people know it, and nothing of it is left."""
    assert backup.failure is not None
    assert backup.failure.code == code
    [alert] = [alert for alert in coffre.alerts() if alert["MessageAttributes"]["kind"]["Value"] == "BACKUP_FAILED"]
    assert code in alert["Message"]
    assert coffre.catalog.locks._find("shop") is None
    no_session_stays(url)
    assert coffre.backup_function().services.vault.find_manifest("shop", backup.id) is None


OTHERS = "datname = current_database() AND pid <> pg_backend_pid()"


def test_a_second_spread_backup_stores_little_and_is_restored(
    coffre: Coffre, shop: str, machine: SpreadMachine, new_database: str
) -> None:
    coffre.configure(shop, target=ALWAYS)
    first = take(coffre, machine)
    run_sql(shop, "INSERT INTO customers VALUES (51, 'Grace Hopper')")

    second = take(coffre, machine)

    manifest, _ = entries_of(coffre, second.id)
    assert {pack.key.split("/")[2] for pack in manifest.packs} == {first.id, second.id}
    coffre.restore(second.id, new_database)
    assert run_sql(new_database, "SELECT count(*) FROM customers") == [(51,)]
    assert run_sql(new_database, "SELECT count(*), min(length(note)) FROM orders") == [(1000, 96)]
    # What the earlier run read in a second decides about the next
    earlier = SpreadPlanning(coffre.backup_function().services, None).earlier("shop")
    assert [(one.size_bytes, one.workers) for one in earlier.read] == [
        (second.plaintext_bytes, 1),
        (first.plaintext_bytes, 1),
    ]


def test_a_group_that_comes_again_stores_nothing_again(coffre: Coffre, shop: str, machine: SpreadMachine) -> None:
    machine.faults.doubled = frozenset({"work-0", "work-1"})
    coffre.configure(shop, target=ALWAYS)

    backup = take(coffre, machine)

    stored = [answer["parts"] for answer in machine.answers if answer["step"] == "work-0"]
    assert backup.status is Status.COMPLETED
    assert len(stored) == 2
    again = machine._invoke("work-1", {"step": "work", "group": 1})
    assert again["outcome"] == "over"


def test_steps_that_meet_an_aws_that_is_busy_are_tried_again(
    coffre: Coffre, shop: str, machine: SpreadMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As often, and for the errors, as the state machine's definition has it."""
    busy: dict[int, list[Exception]] = {}

    def fails_first(kind: type, name: str, error: type[Exception]) -> None:
        inner = getattr(kind, name)

        def call(*arguments: Any, **named: Any) -> Any:
            to_come = busy.get(threading.get_ident(), [])
            if to_come and type(to_come[0]) is error:
                raise to_come.pop(0)
            return inner(*arguments, **named)

        monkeypatch.setattr(kind, name, call)

    fails_first(Services, "configuration", ConfigurationError)
    fails_first(Catalog, "get_backup", CatalogError)
    fails_first(S3Store, "get", StoreTransientError)
    fails_first(Services, "secret", SecretError)
    # A seal that has claimed its run keeps the claim for a while: it is disturbed before that.
    disturbed = {"hold-a": 4, "work-0": 4, "seal": 2}

    def disturb(times: int) -> None:
        errors: list[Exception] = [
            ConfigurationError("The parameter could not be read.", code="CONFIGURATION_MISSING"),
            CatalogError("The table did not answer."),
            StoreTransientError("The vault asked to slow down.", code="STORE_THROTTLED"),
            SecretError("The secret could not be read.", code="SECRET_UNREADABLE"),
        ]
        busy[threading.get_ident()] = errors[:times]

    for name, times in disturbed.items():
        machine.faults.before[name] = partial(disturb, times)
    coffre.configure(shop, target=ALWAYS)

    backup = take(coffre, machine)

    assert backup.status is Status.COMPLETED, machine.errors
    assert Counter(error.partition(":")[0] for error in machine.errors) == disturbed


def test_an_old_snapshot_ends_the_run(
    coffre: Coffre, shop: str, machine: SpreadMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hold, "parse_span", lambda text: timedelta(seconds=-1))
    coffre.configure(shop, target=ALWAYS)

    backup = take(coffre, machine)

    require_ended(coffre, backup, shop, "SNAPSHOT_TOO_OLD")


@pytest.mark.parametrize(("name", "code"), [("tables.json.zst", "PLAN_CHANGED"), ("plan.json", "PLAN_MISSING")])
def test_a_plan_that_was_changed_or_lost_ends_the_run(
    coffre: Coffre, shop: str, machine: SpreadMachine, name: str, code: str
) -> None:
    def damage() -> None:
        key = plan_key("shop", machine.given["backup_id"], name)
        if code == "PLAN_CHANGED":
            coffre.put_object(key, b"{}")
        else:
            client("s3").delete_object(Bucket=BUCKET, Key=key)

    machine.faults.before["seal"] = damage
    coffre.configure(shop, target=ALWAYS)

    backup = take(coffre, machine)

    require_ended(coffre, backup, shop, code)


def test_a_part_without_a_record_is_never_sealed_and_the_next_run_continues(
    coffre: Coffre, shop: str, machine: SpreadMachine
) -> None:
    """In a vault with Object Lock, where nothing that was stored can be changed."""
    client("s3").create_bucket(
        Bucket="locked", CreateBucketConfiguration={"LocationConstraint": REGION}, ObjectLockEnabledForBucket=True
    )
    coffre.environment |= {"COFFRE_VAULT_BUCKET": "locked", "COFFRE_VAULT_OBJECT_LOCK": "governance"}
    machine.faults.before["seal"] = lambda: client("s3").delete_object(
        Bucket="locked", Key=part_key("shop", machine.given["backup_id"], 2)
    )
    coffre.configure(shop, target=ALWAYS)

    failed = take(coffre, machine, tier="WEEKLY")

    require_ended(coffre, failed, shop, "PART_MISSING")
    assert machine.status == "FAILED"

    backup = take(coffre, machine, tier="WEEKLY")

    manifest, _ = entries_of(coffre, backup.id)
    assert backup.status is Status.COMPLETED
    assert failed.id in {pack.key.split("/")[2] for pack in manifest.packs}
    assert any("were stored already by the run" in note and failed.id in note for note in manifest.notes)
    named = [str(backup.manifest_key), *(pack.key for pack in manifest.packs)]
    heads = [client("s3").head_object(Bucket="locked", Key=key) for key in named]
    assert {head["ObjectLockRetainUntilDate"] for head in heads} == {backup.locked_until}


def test_a_run_that_nobody_takes_over_fails(
    coffre: Coffre, shop: str, machine: SpreadMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(begin, "_TAKE_OVER_SECONDS", 0.1)
    monkeypatch.setattr(Machine, "start", lambda self, run_id, given: None)
    coffre.configure(shop, target=ALWAYS)

    with pytest.raises(CoffreError) as caught:
        coffre.backup()

    assert caught.value.code == "SPREAD_NOT_TAKEN_OVER"
    [backup] = coffre.backups()
    require_ended(coffre, backup, shop, "SPREAD_NOT_TAKEN_OVER")


def test_a_machine_that_may_not_be_started_fails_the_run(
    coffre: Coffre, shop: str, machine: SpreadMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Machine, run_id: str, given: object) -> None:
        raise MachineError("The state machine could not be started.", code="MACHINE_DENIED")

    monkeypatch.setattr(Machine, "start", refuse)
    coffre.configure(shop, target=ALWAYS)

    with pytest.raises(MachineError):
        coffre.backup()

    [backup] = coffre.backups()
    require_ended(coffre, backup, shop, "MACHINE_DENIED")


def test_a_run_that_a_person_cancels_ends_in_all_functions(coffre: Coffre, shop: str, machine: SpreadMachine) -> None:
    def cancel() -> None:
        coffre.catalog.cancel_backup(machine.given["backup_id"], "ada")
        while not coffre.catalog.get_backup(machine.given["backup_id"]).status.is_final:
            time.sleep(0.05)

    machine.faults.before["work-1"] = cancel
    coffre.configure(shop, target=ALWAYS)

    backup = take(coffre, machine)

    assert backup.failure is not None
    assert backup.failure.code == "CANCELLED"
    assert machine.status == "FAILED"
    assert {"step": "work-1", "group": 1, "outcome": "over", "parts": 0} in machine.answers
    no_session_stays(shop)
    assert coffre.catalog.locks._find("shop") is None
    assert coffre.troubles() == []


def test_a_machine_that_was_stopped_settles_its_run(coffre: Coffre, shop: str, machine: SpreadMachine) -> None:
    machine.faults.delayed = {"seal": 60.0}
    coffre.configure(shop, target=ALWAYS)
    answer = coffre.backup()

    settled = coffre.backup_function().handle({"stopped": answer["id"], "status": "ABORTED"}, Context())
    machine.abandon()
    machine.wait()

    assert settled["status"] == "FAILED"
    require_ended(coffre, coffre.catalog.get_backup(answer["id"]), shop, "SPREAD_STOPPED")
    failure = coffre.catalog.get_backup(answer["id"]).failure
    assert failure is not None
    assert failure.message.endswith("could not be repeated: status ABORTED.")
    # An event that comes again changes nothing
    assert coffre.backup_function().handle({"stopped": answer["id"], "status": "ABORTED"}, Context()) == settled


def test_a_machine_that_is_stopped_while_the_manifest_is_written_leaves_a_complete_backup(
    coffre: Coffre, shop: str, machine: SpreadMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manifest is announced, and the run is settled before it is in the vault: then it is, and says otherwise."""
    announce = Catalog.announce_manifest

    def stopped(catalog: Catalog, backup_id: str, key: str, sha256: str) -> None:
        announce(catalog, backup_id, key, sha256)
        settled = coffre.backup_function().handle({"stopped": backup_id, "status": "ABORTED"}, Context())
        assert settled["status"] == "FAILED"

    monkeypatch.setattr(Catalog, "announce_manifest", stopped)
    coffre.configure(shop, target=ALWAYS)

    backup = take(coffre, machine)

    assert (backup.status, backup.failure) == (Status.COMPLETED, None)
    assert coffre.backup_function().services.vault.find_manifest("shop", backup.id) is not None
    assert coffre.catalog.locks._find("shop") is None
    subjects = [alert["Subject"] for alert in coffre.alerts()]
    failed = "Backup of shop FAILED: SPREAD_STOPPED"
    assert subjects == [failed, f"Over: {failed}"]


def test_a_database_of_any_size_stays_in_one_function_where_no_machine_is(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop, target=ALWAYS)

    answer = coffre.backup()

    assert answer["outcome"] == "completed"
    assert coffre.catalog.get_backup(answer["id"]).spread is None
