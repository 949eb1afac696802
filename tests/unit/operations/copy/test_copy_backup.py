"""A copy is whole or does not exist, whatever fails, whoever copies at the same time, wherever it is killed."""

from __future__ import annotations

import contextlib
import os
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest
from tests.faulty_store import Fault, FaultyStore, KilledError
from tests.unit.operations.copy.copies import Source, lies

from coffre.model.backup import Tier
from coffre.model.errors import CopyError, IntegrityError, RunStoppedError, StoreError, StoreTransientError
from coffre.operations.copy.copy_backup import CopyJob, Sent, copy_backup
from coffre.vault.layout import manifest_key
from coffre.vault.vault import Vault

# `COFFRE_FAULT_RUNS=10000 pytest tests/unit/operations/copy` for the number of docs/copies.md.
RUNS = int(os.environ.get("COFFRE_FAULT_RUNS", "300"))


def job(source: Source, destination: FaultyStore, number: int = -1, **options: object) -> CopyJob:
    return CopyJob(source.vault, Vault(destination), source.backups[number], "offsite", **options)  # type: ignore[arg-type]


def test_a_copy_has_all_that_the_backup_has_and_nothing_else() -> None:
    source, destination = Source(), FaultyStore()
    source.backup()
    backup = source.backup()
    source.vault.mark_tier("shop", backup.id, Tier.WEEKLY)
    source.vault.mark_pin("shop", backup.id, backup.created_at)

    sent = copy_backup(job(source, destination))

    assert sent == Sent(6, 600)
    assert destination.objects == source.everything_of(backup)


def test_the_second_copy_sends_what_is_new_and_asks_three_requests_a_pack_at_most() -> None:
    source, destination = Source(), FaultyStore()
    source.backup(packs=50)
    copy_backup(job(source, destination))
    backup = source.backup(packs=2)
    destination.requests.clear()

    assert copy_backup(job(source, destination)) == Sent(2, 200)

    assert destination.requests["put"] == 2 + 2  # packs, entries, manifest
    assert destination.requests["get"] + destination.requests["head"] <= 3
    assert destination.requests["list"] <= 6  # a folder for each writer, before and after, and the marks
    assert lies(source, destination) == []
    assert manifest_key("shop", backup.id) in destination.objects


def test_a_copy_that_exists_is_looked_at_and_left_as_it_is() -> None:
    source, destination = Source(), FaultyStore()
    backup = source.backup()
    copy_backup(job(source, destination))
    source.vault.mark_pin("shop", backup.id, backup.created_at)
    destination.requests.clear()

    assert copy_backup(job(source, destination)) == Sent()

    assert destination.requests["put"] == 1  # the pin
    assert destination.objects == source.everything_of(backup)


def test_a_pack_that_vanished_from_a_copy_is_sent_again() -> None:
    source, destination = Source(), FaultyStore()
    backup = source.backup()
    copy_backup(job(source, destination))
    del destination.objects[source.manifest(backup).packs[1].key]

    assert copy_backup(job(source, destination)) == Sent(1, 100)
    assert lies(source, destination) == []


@pytest.mark.parametrize("change", [lambda body: body[:-1], lambda body: b"?" + body[1:], lambda _: b""])
def test_a_damaged_pack_of_the_vault_is_never_copied(change: object) -> None:
    source, destination = Source(), FaultyStore()
    backup = source.backup()
    key = source.manifest(backup).packs[1].key
    source.store.objects[key] = change(source.store.objects[key])  # type: ignore[operator]

    with pytest.raises(IntegrityError, match="PACK_DAMAGED"):
        copy_backup(job(source, destination))
    assert key not in destination.objects
    assert manifest_key("shop", backup.id) not in destination.objects


def test_another_list_of_entries_or_manifest_than_was_recorded_is_not_copied() -> None:
    source, destination = Source(), FaultyStore()
    backup = source.backup()
    key = source.manifest(backup).entries[0].key
    source.store.objects[key] = b"forged"
    with pytest.raises(IntegrityError, match="ENTRIES_SWAPPED"):
        copy_backup(job(source, destination))

    source.store.objects[backup.manifest_key or ""] += b" "
    with pytest.raises(IntegrityError, match="MANIFEST_SWAPPED"):
        copy_backup(job(source, destination))
    assert manifest_key("shop", backup.id) not in destination.objects


@pytest.mark.parametrize("what", ["manifest", "pack", "entries"])
def test_a_backup_that_was_deleted_meanwhile_is_named_as_gone(what: str) -> None:
    source, destination = Source(), FaultyStore()
    backup = source.backup()
    manifest = source.manifest(backup)
    key = {"manifest": backup.manifest_key, "pack": manifest.packs[2].key, "entries": manifest.entries[0].key}[what]
    del source.store.objects[key or ""]

    with pytest.raises(CopyError, match="COPY_SOURCE_GONE"):
        copy_backup(job(source, destination))
    assert manifest_key("shop", backup.id) not in destination.objects


@pytest.mark.parametrize("what", ["manifest", "pack", "entries"])
def test_what_the_destination_has_under_a_key_is_never_replaced(what: str) -> None:
    source, destination = Source(), FaultyStore()
    backup = source.backup()
    manifest = source.manifest(backup)
    key = {"manifest": backup.manifest_key, "pack": manifest.packs[2].key, "entries": manifest.entries[0].key}[what]
    destination.objects[key or ""] = b"something else"

    with pytest.raises(CopyError, match="COPY_DIFFERS"):
        copy_backup(job(source, destination))
    assert destination.objects[key or ""] == b"something else"
    assert what == "manifest" or manifest_key("shop", backup.id) not in destination.objects


def test_a_copy_whose_time_is_over_continues_where_it_was() -> None:
    source, destination = Source(), FaultyStore()
    backup = source.backup(packs=40)
    left = [5]

    def is_time_over() -> bool:
        left[0] -= 1
        return left[0] < 0

    sent = copy_backup(job(source, destination, is_time_over=is_time_over))
    assert sent == Sent(5, 500, is_whole=False)
    assert manifest_key("shop", backup.id) not in destination.objects

    assert copy_backup(job(source, destination)) == Sent(35, 3500)
    assert destination.objects == source.everything_of(backup)


def test_a_copy_that_is_stopped_leaves_none() -> None:
    source, destination = Source(), FaultyStore()
    source.backup(packs=10)

    def check() -> None:
        if len(destination.objects) >= 4:
            raise RunStoppedError("stopped")

    with pytest.raises(RunStoppedError):
        copy_backup(job(source, destination, check=check))
    assert lies(source, destination) == []
    assert not any("manifest" in key for key in destination.objects)


def test_progress_names_what_is_sent_of_what() -> None:
    source, destination = Source(), FaultyStore()
    source.backup(packs=3)
    seen: list[tuple[Sent, int, int]] = []

    copy_backup(job(source, destination, on_progress=lambda *one: seen.append(one)))

    assert seen == [(Sent(1, 100), 3, 300), (Sent(2, 200), 3, 300), (Sent(3, 300), 3, 300)]


# --- faults ---


@pytest.mark.parametrize("seed", range(RUNS))
def test_wherever_it_is_stopped_nothing_looks_complete_that_is_not(seed: int) -> None:
    """Random faults on both sides; what the destination claims is checked after each write, then copied to the end."""
    random = Random(seed)
    source = Source(random)
    destination = FaultyStore(after=lambda: claims.extend(lies(source, destination)))
    claims: list[str] = []
    for _ in range(random.randint(1, 3)):
        source.backup(packs=random.randint(0, 4))
    rate = random.choice((0.02, 0.1, 0.3))
    kinds = [fault for fault in Fault if fault is not Fault.NONE]

    def decide(_call: str, _key: str) -> Fault:
        return random.choice(kinds) if random.random() < rate else Fault.NONE

    for number in range(len(source.backups)):
        source.store.decide = destination.decide = decide
        for _ in range(random.randint(1, 4)):
            with contextlib.suppress(KilledError, StoreError, StoreTransientError):
                copy_backup(job(source, destination, number))
        source.store.decide = destination.decide = lambda _call, _key: Fault.NONE
        copy_backup(job(source, destination, number))
        assert source.everything_of(source.backups[number]).items() <= destination.objects.items()
    assert claims == []


def test_two_copiers_at_a_time_make_one_copy() -> None:
    source, destination = Source(), FaultyStore()
    backup = source.backup(packs=30)

    with ThreadPoolExecutor(3) as pool:
        sent = [one.result() for one in [pool.submit(copy_backup, job(source, destination)) for _ in range(3)]]

    assert sum(one.packs for one in sent) >= 30
    assert destination.objects == source.everything_of(backup)


def test_what_a_sweep_removes_before_the_manifest_is_there_is_sent_again() -> None:
    source, destination = Source(), FaultyStore()
    source.backup(packs=5)
    key = source.manifest(source.backups[0]).packs[0].key
    swept: list[str] = []

    def after() -> None:
        if not swept and any("manifest" in one for one in destination.objects):
            swept.append(key)
            destination.objects.pop(key, None)

    destination.after = after
    assert copy_backup(job(source, destination)) == Sent(6, 600)
    assert lies(source, destination) == []


def test_packs_that_vanish_again_and_again_are_an_error() -> None:
    source, destination = Source(), FaultyStore()
    source.backup(packs=2)

    def sweep() -> None:
        for key in [key for key in destination.objects if "packs" in key]:
            destination.objects.pop(key, None)

    destination.after = sweep

    with pytest.raises(CopyError, match="COPY_UNSTABLE"):
        copy_backup(job(source, destination))


def test_where_nothing_may_be_replaced_a_changed_pin_stops_no_copy() -> None:
    source, destination = Source(), FaultyStore()
    backup = source.backup()
    source.vault.mark_pin("shop", backup.id, backup.created_at)
    copy_backup(job(source, destination))
    source.vault.mark_pin("shop", backup.id, None)

    def refuse(key: str, *_: object, **options: object) -> None:
        raise StoreError(f"No permission to replace {key}.", code="STORE_DENIED")

    destination.put = refuse  # type: ignore[method-assign]

    assert copy_backup(job(source, destination)) == Sent()
