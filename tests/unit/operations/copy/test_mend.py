"""What is damaged or missing in the vault is put back from a copy, with its locks and holds."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from tests.faulty_store import Fault, FaultyStore, KilledError
from tests.locking_store import LockingDirectory
from tests.unit.operations.conftest import Scene
from tests.unit.operations.copy.copies import STARTED, Source
from tests.unit.operations.locked_scene import LockedScene

from coffre.model.backup import Backup, Tier
from coffre.model.errors import BackupStateError, StoreError, StoreTransientError
from coffre.model.kinds import Status
from coffre.model.locks import Lock, LockMode, LockProgress, LockState
from coffre.model.verification import Damage, DamageReport, Level
from coffre.operations.copy.copy_backup import CopyJob, copy_backup
from coffre.operations.copy.mend import Mended, MendJob, mend
from coffre.operations.rotate.hold import hold
from coffre.operations.stored_backup.read_copies import reading
from coffre.operations.verify.job import record_finding
from coffre.stores.directory import DirectoryStore
from coffre.stores.store import Store
from coffre.stores.with_copies import Place
from coffre.vault.damage import write_damage
from coffre.vault.vault import Vault


class Known:
    """The backups of a vault, some of them marked as damaged."""

    def __init__(self, backups: list[Backup], *damaged: Backup) -> None:
        marks = {one.id for one in damaged}
        self._backups = [one.model_copy(update={"damaged_at": STARTED}) if one.id in marks else one for one in backups]

    def backups(self, *, target: str) -> list[Backup]:
        return [one for one in self._backups if one.target == target]


def job_of(source: Source, backup: Backup, *copies: Store, dry_run: bool = False) -> MendJob:
    places = [Place(f"copy-{number}", partial(_itself, store)) for number, store in enumerate(copies)]
    whole = reading(source.vault, places, None, lambda _name, _error: None)
    known = Known(source.backups, *source.backups)
    return MendJob(known, source.vault, whole, backup, lambda: STARTED, dry_run=dry_run)


def _itself(store: Store) -> Store:
    return store


def copied(source: Source) -> FaultyStore:
    """Return a copy of all backups, as they were stored."""
    store = FaultyStore()
    for backup in source.backups:
        copy_backup(CopyJob(source.vault, Vault(store), backup, "copy"))
    return store


def found_damaged(source: Source, backup: Backup, *packs: str) -> None:
    """Leave what a verification leaves that finds these packs damaged."""
    damages = [Damage(code="PACK_SWAPPED", text="It is not the one that was stored.", pack=pack) for pack in packs]
    write_damage(source.vault, DamageReport.on(backup.id, backup.target, Level.READ, STARTED, damages))


def spoil(store: FaultyStore, key: str) -> None:
    """Change a byte, and no length."""
    body = store.objects[key]
    store.objects[key] = bytes([body[0] ^ 1]) + body[1:]


def test_whatever_is_damaged_or_missing_is_put_back_and_nothing_else_is_touched() -> None:
    source = Source()
    first, second = source.backup(), source.backup()
    whole, copy = dict(source.store.objects), copied(source)
    packs = [pack.key for pack in source.manifest(second).packs]
    lost, short, changed, unseen, huge = packs[:5]
    records = [source.manifest(second).entries[0].key, second.manifest_key or ""]
    del source.store.objects[lost]
    source.store.objects[short] = b"short"
    source.store.objects[huge] = bytes(2**26 + 1)  # more than any reader takes
    for key in (changed, unseen, *records):
        spoil(source.store, key)
    found_damaged(source, second, changed)
    before = dict(source.store.objects)

    planned = mend(job_of(source, second, copy, dry_run=True))
    assert source.store.objects == before
    done = mend(job_of(source, second, copy))

    assert planned == done
    assert set(done.keys) == {lost, short, changed, huge, *records}
    assert done.keys[-1] == second.manifest_key  # which commits the others
    assert done.size_bytes == sum(len(whole[key]) for key in done.keys)
    assert done.lost == {}
    assert done.marked == (second.id, first.id)  # they share packs
    assert {key for key, body in whole.items() if source.store.objects[key] != body} == {unseen}
    assert mend(job_of(source, second, copy)) == Mended()
    # What a later verification finds is mended too
    found_damaged(source, second, unseen)
    assert mend(job_of(source, second, copy)).keys == (unseen,)
    assert whole.items() <= source.store.objects.items()


def test_each_object_comes_from_a_copy_that_has_it_and_what_none_has_is_left_as_it_is() -> None:
    source = Source()
    backup = source.backup(packs=4)
    whole, one, other = dict(source.store.objects), copied(source), copied(source)
    first, second, nowhere, gone = (pack.key for pack in source.manifest(backup).packs)
    for key in (first, second, nowhere, gone):
        spoil(source.store, key)
    for key in (second, nowhere):
        spoil(one, key)
    for key in (first, nowhere):
        del other.objects[key]
    for store in (one, other):
        del store.objects[gone]
    found_damaged(source, backup, first, second, nowhere, gone)
    spoiled = dict(source.store.objects)

    done = mend(job_of(source, backup, one, other))

    assert set(done.keys) == {first, second}
    assert done.lost.keys() == {nowhere, gone}
    assert "The copy copy-0 cannot give it either" in done.lost[nowhere]
    for key in (first, second):
        assert source.store.objects[key] == whole[key]
    for key in (nowhere, gone):  # damaged bytes are better than none
        assert source.store.objects[key] == spoiled[key]
    with pytest.raises(BackupStateError):
        mend(job_of(source, backup.model_copy(update={"status": Status.DELETED}), one))


@pytest.mark.parametrize("at", range(6))
@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.KILLED_BEFORE, Fault.KILLED_AFTER, Fault.ANSWER_LOST])
def test_wherever_it_is_interrupted_the_same_call_continues(at: int, fault: Fault) -> None:
    source = Source()
    backup = source.backup(packs=2)
    whole, copy = dict(source.store.objects), copied(source)
    keys = [pack.key for pack in source.manifest(backup).packs]
    for key in keys:
        spoil(source.store, key)
    found_damaged(source, backup, *keys)
    writes = []

    def decide(call: str, key: str) -> Fault:
        if call in ("put", "delete"):
            writes.append(key)
            return fault if len(writes) == at + 1 else Fault.NONE
        return Fault.NONE

    source.store.decide = decide
    with contextlib.suppress(KilledError, StoreError, StoreTransientError):
        mend(job_of(source, backup, copy))
    if fault is Fault.REFUSED and at == 0:  # who may not write deletes nothing
        assert whole.keys() <= source.store.objects.keys()
    source.store.decide = lambda _call, _key: Fault.NONE
    mend(job_of(source, backup, copy))

    assert whole.items() <= source.store.objects.items()


class Versioned(LockingDirectory):
    """Deletes as a bucket with versions does, which only hides what is locked."""

    def delete(self, key: str) -> None:
        self.locks.pop(key, None)
        DirectoryStore.delete(self, key)


def test_what_is_put_back_is_locked_and_held_as_all_backups_that_name_it_need_it(scene: Scene, tmp_path: Path) -> None:
    vault = LockedScene.of(scene)
    vault.store = scene.store = Versioned(scene.root, now=lambda: scene.now)
    vault.turn_on(LockMode.COMPLIANCE)
    monthly = vault.take(Tier.MONTHLY, own=2)
    vault.later(days=1)
    daily = vault.take(Tier.DAILY, previous=monthly)
    vault.later(days=1)
    held = vault.take(Tier.DAILY, previous=daily)
    hold(vault.hold_job(), held.id, "evidence")
    copy = tmp_path / "copy"
    copy.mkdir()
    for backup in (monthly, daily, held):
        copy_backup(CopyJob(scene.vault, Vault(DirectoryStore(copy)), backup, "copy"))
    begun = monthly.created_at + timedelta(days=390)  # an extension that has locked some of it
    scene.catalog.protection.note_locking(monthly.id, LockProgress(until=begun, done=4))
    expected, whole = dict(vault.store.locks), {key: scene.store.get(key) for key in vault.needs(daily)}
    changed, lost = (pack.key for pack in scene.packs_of(monthly))
    (scene.root / changed).write_bytes(b"x" * len(whole[changed]))
    (scene.root / lost).unlink()
    vault.store.locks.pop(lost)  # its version is locked, and the object that there is now is none
    (scene.root / str(daily.manifest_key)).write_bytes(b"{}")
    damages = [Damage(code="PACK_SWAPPED", text="It differs.", pack=changed)]
    record_finding(scene.catalog, scene.vault, DamageReport.on(daily.id, "shop", Level.READ, scene.now, damages))

    def refuse(request: str, key: str) -> None:
        """Refuse what is asked for once an object exists again: a repeated call would not ask for it."""
        if request in ("hold", "extend_lock"):
            raise StoreError(f"{request} of {key} was refused.", code="STORE_DENIED")

    vault.store.refuse = refuse
    place = Place("copy", lambda: DirectoryStore(copy))
    whole_vault = reading(Vault(scene.store), [place], None, lambda _name, _error: None)
    done = mend(MendJob(scene.catalog, Vault(scene.store), whole_vault, vault.record(daily), lambda: scene.now))

    assert set(done.keys) == {changed, lost, daily.manifest_key}
    assert done.marked == (daily.id,)
    assert {key: scene.store.get(key) for key in whole} == whole
    for key in (changed, lost):
        assert vault.store.locks[key] == LockState(Lock(LockMode.COMPLIANCE, begun), held=True)
    own = str(daily.manifest_key)
    assert vault.store.locks[own] == expected[own]
    assert not expected[own].held


def test_the_strictest_mode_that_any_backup_records_of_an_object_is_its_lock_again(scene: Scene) -> None:
    """Object Lock was turned on after the first backup, and the second one has locked what it reuses of it."""
    scene.root.mkdir(exist_ok=True)
    vault = LockedScene(scene, Versioned(scene.root, now=lambda: scene.now))
    scene.store = vault.store
    first = vault.take(Tier.DAILY)
    vault.turn_on(LockMode.COMPLIANCE)
    vault.later(days=1)
    second = vault.take(Tier.DAILY, previous=first)
    [shared] = scene.packs_of(first)
    before, body = vault.store.locks[shared.key], scene.store.get(shared.key)
    assert before.lock is not None
    assert before.lock.mode is LockMode.COMPLIANCE
    vault.store.delete(shared.key)

    copy = FaultyStore()
    copy.objects.update({key: scene.store.get(key) for key in vault.needs(second) if key != shared.key})
    copy.objects[shared.key] = body
    whole = reading(Vault(scene.store), [Place("copy", lambda: copy)], None, lambda _name, _error: None)
    for backup in (first, second):
        mend(MendJob(scene.catalog, Vault(scene.store), whole, vault.record(backup), lambda: scene.now))

        assert scene.store.get(shared.key) == body
        assert vault.store.locks[shared.key] == before
        vault.store.delete(shared.key)


def test_a_vault_that_cannot_lock_is_mended_without_locks(scene: Scene, tmp_path: Path) -> None:
    """A copy has the manifests of a locked vault, and may be a bucket or a disk that locks nothing."""
    vault = LockedScene.of(scene)
    backup = vault.take(Tier.DAILY)
    copy = tmp_path / "copy"
    copy.mkdir()
    copy_backup(CopyJob(scene.vault, Vault(DirectoryStore(copy)), backup, "copy"))
    [pack] = scene.packs_of(backup)
    (copy / pack.key).unlink()
    place = Place("vault", lambda: scene.store)

    for store in (DirectoryStore(copy), Versioned(copy)):
        if isinstance(store, Versioned):
            store.has_locks = False
        whole = reading(Vault(store), [Place("other", place.store)], None, lambda _name, _error: None)
        done = mend(MendJob(scene.catalog, Vault(store), whole, backup, lambda: scene.now))
        assert done.keys == (pack.key,)
        (copy / pack.key).unlink()
