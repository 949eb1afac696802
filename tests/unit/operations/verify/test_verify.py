"""Verification over a vault and a catalog: what is found, what follows from it, and what is left alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from tests import synthetic
from tests.synthetic import Writer, made_up_rows
from tests.unit.operations.conftest import NOW, Scene

from coffre.model.backup import Backup, Restore, Status, Tier
from coffre.model.configuration import Configuration
from coffre.model.errors import BackupStateError, StoreTransientError, TargetUnknownError
from coffre.model.freshness import Check, Checked, FreshReport
from coffre.model.manifest import Manifest
from coffre.model.verification import Damage, DamageReport, Level, Share, VerificationReport
from coffre.operations.admin.catalog_rebuild import rebuild
from coffre.operations.stored_backup.vault_backups import VaultBackups
from coffre.operations.verify.freshness import FreshJob, fresh
from coffre.operations.verify.inventory import inventory
from coffre.operations.verify.job import VerifyJob, record_finding
from coffre.operations.verify.read_back import read_backup, read_target
from coffre.operations.verify.vault import VaultCheck
from coffre.policy.configured_since import Changed
from coffre.stores.store import ObjectInfo
from coffre.vault import entries, readback
from coffre.vault.codec import FrameDecoder, new_identity, public_key
from coffre.vault.damage import read_damage
from coffre.vault.layout import damage_prefix, writer_of
from coffre.vault.vault import Vault

EVERYTHING = Share(parts=1, day=0)
# A share that no pack of these tests is in.
NOTHING = Share(parts=10**9, day=0)
SMALL = {"customers": made_up_rows(1, 40), "orders": made_up_rows(2, 60)}


@dataclass
class Safe:
    """A deployment with real backups."""

    scene: Scene
    identity: str = field(default_factory=new_identity)
    remaining_seconds: Callable[[], float] = lambda: 900.0

    def writer(self, target: str = "shop") -> Writer:
        scene = self.scene
        return Writer(scene.catalog, scene.vault, scene.scratch, (public_key(self.identity),), target)

    def backup(
        self, age_days: float, previous: Backup | None = None, *tiers: Tier, target: str = "shop", **tables: bytes
    ) -> Backup:
        taken = NOW - timedelta(days=age_days)
        return self.writer(target).backup({**SMALL, **tables}, taken, previous, *tiers)

    def job(self, vault: Vault | None = None) -> VerifyJob:
        scene = self.scene
        decoder = FrameDecoder([self.identity])
        return VerifyJob(
            "J", scene.catalog, vault or scene.vault, decoder, scene.scratch, lambda: NOW, self.remaining_seconds
        )

    def inventory(self, share: Share = EVERYTHING, **what: Any) -> VerificationReport:
        return inventory(self.job(), share, **what)

    def read(self, share: Share = NOTHING, target: str = "shop") -> VerificationReport:
        return read_target(self.job(), target, share)

    def record(self, backup: Backup) -> Backup:
        return self.scene.catalog.get_backup(backup.id)

    def manifest(self, backup: Backup) -> Manifest:
        found = self.scene.vault.find_manifest(backup.target, backup.id)
        assert found is not None
        return found[0]

    def packs(self, backup: Backup) -> set[str]:
        return {pack.key for pack in self.manifest(backup).packs}

    def lose(self, key: str) -> None:
        self.scene.store.delete(key)

    def overwrite(self, key: str, body: bytes) -> None:
        self.scene.store.put(key, body, sha256=hashlib.sha256(body).hexdigest())

    def spoil_all(self, key: str) -> bytes:
        """Change every byte of a pack; return what was there."""
        before = self.scene.store.get(key)
        self.overwrite(key, bytes(byte ^ 1 for byte in before))
        return before


@pytest.fixture
def safe(scene: Scene) -> Safe:
    return Safe(scene)


def ids(*backups: Backup) -> set[str]:
    return {backup.id for backup in backups}


def damaged(report: VerificationReport) -> set[str]:
    return {one.backup_id for one in report.damaged}


def outcomes(report: VerificationReport) -> dict[str, str]:
    return {one.backup_id: one.outcome for one in report.examined}


# --- inventory ---


def test_an_inventory_of_a_whole_vault_is_in_order(safe: Safe) -> None:
    first = safe.backup(2)
    safe.backup(1, first, orders=made_up_rows(5, 80))
    blog = safe.backup(1, target="blog")

    report = safe.inventory()

    assert (report.status, report.backups, report.packs.objects) == (200, 3, 5)
    assert {name: amount.objects for name, amount in report.living.items()} == {"shop": 3, "blog": 2}
    assert report.living["blog"].size_bytes == sum(pack.length for pack in safe.manifest(blog).packs)


def test_a_lost_pack_damages_every_backup_that_points_at_it_and_no_other(safe: Safe) -> None:
    first = safe.backup(3)
    second = safe.backup(2, first, orders=made_up_rows(5, 80))
    third = safe.backup(1, second, orders=made_up_rows(6, 80), customers=made_up_rows(7, 50))
    other = safe.backup(1, target="blog")
    (shared,) = safe.packs(first) & safe.packs(second)
    safe.lose(shared)

    report = safe.inventory()

    assert (report.status, damaged(report)) == (500, ids(first, second))
    found = safe.record(second)
    assert (found.damaged_at, found.damage) == (NOW, f"The pack {shared} is not in the vault. [PACK_MISSING]")
    for whole in (third, other):
        assert safe.record(whole).damaged_at is None
    facts = read_damage(safe.scene.vault, "shop", second.id)
    assert facts is not None
    assert facts.packs == (shared,)


def test_a_pack_of_another_length_and_lists_and_manifests_that_are_not_the_recorded_ones_are_told(safe: Safe) -> None:
    cut, swapped, listless, headless = (safe.backup(age) for age in (4, 3, 2, 1))
    pack = min(safe.packs(cut))
    safe.overwrite(pack, safe.scene.store.get(pack)[:-1])
    safe.overwrite(safe.manifest(swapped).entries[0].key, b"something else")
    safe.lose(safe.manifest(listless).entries[0].key)
    safe.lose(str(headless.manifest_key))

    report = safe.inventory()

    codes = {one.backup_id: one.damages[0].code for one in report.damaged}
    assert codes == {
        cut.id: "PACK_TRUNCATED",
        swapped.id: "ENTRIES_SWAPPED",
        listless.id: "ENTRIES_MISSING",
        headless.id: "MANIFEST_MISSING",
    }
    assert [one.backup_id for one in report.damaged] == [headless.id, listless.id, swapped.id, cut.id]


class _WithChecksums:
    """A store that keeps checksums, as S3 does, and has another object where a pack should be."""

    def __init__(self, safe: Safe, swapped: str) -> None:
        self._store = safe.scene.store
        self._swapped = swapped
        self.asked: list[str] = []

    def head(self, key: str) -> ObjectInfo:
        self.asked.append(key)
        sha256 = hashlib.sha256(self._store.get(key)).hexdigest()
        return replace(self._store.head(key), sha256="0" * 64 if key == self._swapped else sha256)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def test_checksums_that_the_store_keeps_are_compared_for_a_share_each_day(safe: Safe) -> None:
    backup = safe.backup(1)
    swapped, other = sorted(safe.packs(backup))
    store: Any = _WithChecksums(safe, swapped)
    # The names of packs are random: in so many parts the two are not in the same one.
    shares = (Share(parts=parts, day=day) for parts in range(2, 40) for day in range(parts))
    share = next(one for one in shares if one.holds(swapped) and not one.holds(other))

    missed = inventory(safe.job(Vault(store)), share.model_copy(update={"day": share.day + 1}))
    store.asked.clear()
    found = inventory(safe.job(Vault(store)), share)

    assert (missed.status, missed.share) == (200, f"1/{share.parts}")
    assert [one.damages[0].code for one in found.damaged] == ["PACK_SWAPPED"]
    assert (found.checksums, found.checksums_not_kept) == (1, 0)
    assert store.asked.count(other) == 0
    # A directory keeps none, and it is said
    assert safe.inventory(backup_id=backup.id).checksums_not_kept == 2


class _Rewritten:
    """A store that keeps checksums, but none of objects that somebody has written without them."""

    def __init__(self, safe: Safe) -> None:
        self._store = safe.scene.store
        self.rewritten: set[str] = set()

    def head(self, key: str) -> ObjectInfo:
        sha256 = hashlib.sha256(self._store.get(key)).hexdigest()
        return replace(self._store.head(key), sha256=None if key in self.rewritten else sha256)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def test_what_has_lost_its_checksum_is_read_and_damaged_unless_it_is_what_was_recorded(safe: Safe) -> None:
    same, packed, listed = safe.backup(3), safe.backup(2), safe.backup(1)
    store: Any = _Rewritten(safe)
    pack, entries = min(safe.packs(packed)), safe.manifest(listed).entries[0].key
    for key in (pack, entries):
        safe.spoil_all(key)
    store.rewritten = {pack, entries, min(safe.packs(same)), safe.manifest(same).entries[0].key}

    report = inventory(safe.job(Vault(store)), EVERYTHING)

    assert {one.backup_id: one.damages[0].code for one in report.damaged} == {
        packed.id: "PACK_SWAPPED",
        listed.id: "ENTRIES_SWAPPED",
    }
    assert (report.checksums, report.checksums_not_kept) == (6, 0)


def test_a_manifest_without_a_checksum_is_read_before_it_counts_as_a_copy(safe: Safe) -> None:
    backup = safe.backup(0.5)
    assert checked(safe)[1][Checked.COPY].is_ok
    safe.spoil_all(str(backup.manifest_key))

    found = checked(safe)[1][Checked.COPY]

    assert (found.status, "not the one that the catalog recorded" in (found.text or "")) == ("failed", True)


def test_a_backup_that_is_deleted_meanwhile_is_not_called_damaged(safe: Safe) -> None:
    backup, kept = safe.backup(2), safe.backup(1)
    store: Any = safe.scene.store
    listing, gone = store.list, (*safe.packs(backup), str(backup.manifest_key))

    class Meanwhile:
        def list(self, prefix: str = "") -> Any:
            if safe.record(backup).status is not Status.DELETED:
                safe.scene.catalog.keeping.delete(backup, "too old", NOW)
                for key in gone:
                    safe.lose(key)
            return listing(prefix)

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

    meanwhile: Any = Meanwhile()

    report = inventory(safe.job(Vault(meanwhile)), EVERYTHING)

    assert (report.status, report.damaged) == (200, ())
    assert safe.record(backup).damaged_at is None
    assert safe.record(kept).damaged_at is None


def test_an_inventory_that_runs_out_of_time_says_so_and_damages_nothing(safe: Safe) -> None:
    backup = safe.backup(1)
    safe.remaining_seconds = lambda: 10.0

    report = safe.inventory()

    assert (report.status, report.unfinished) == (500, "The time was over after 0 packs.")
    assert safe.record(backup).damaged_at is None


def test_a_store_that_does_not_answer_fails_the_inventory_and_damages_nothing(
    safe: Safe, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = safe.backup(1)

    def silent(key: str) -> ObjectInfo:
        raise StoreTransientError("The store is silent.")

    monkeypatch.setattr(safe.scene.store, "head", silent)

    with pytest.raises(StoreTransientError):
        safe.inventory()
    assert safe.record(backup).damaged_at is None


# --- read ---


def test_new_backups_are_read_and_count_as_verified(safe: Safe) -> None:
    first = safe.backup(2)
    second = safe.backup(1, first, orders=made_up_rows(5, 80))

    report = safe.read()

    assert (report.status, outcomes(report)) == (200, {first.id: "verified", second.id: "verified"})
    assert {safe.record(backup).verified_at for backup in (first, second)} == {NOW}


def test_what_was_read_with_the_backup_that_wrote_it_is_not_read_again(safe: Safe) -> None:
    first = safe.backup(2)
    safe.read()
    second = safe.backup(1, first, orders=made_up_rows(5, 80))
    own = {pack for pack in safe.packs(second) if writer_of(pack) == second.id}

    report = safe.read()

    assert outcomes(report) == {second.id: "verified"}
    assert report.packs.objects == len(own) == 1
    # But the packs of a backup that could not be verified are.
    safe.scene.catalog.keeping.mark_verified(first.id, None)
    safe.scene.catalog.keeping.mark_verified(second.id, None)
    assert safe.read().packs.objects == 3


def test_a_damaged_frame_damages_the_backups_that_need_it(safe: Safe) -> None:
    first = safe.backup(3)
    second = safe.backup(2, first, orders=made_up_rows(5, 80))
    third = safe.backup(1, second, orders=made_up_rows(6, 80), customers=made_up_rows(7, 50))
    (shared,) = safe.packs(first) & safe.packs(second)
    safe.spoil_all(shared)

    report = safe.read()

    assert (report.status, damaged(report)) == (500, ids(first, second))
    assert outcomes(report)[third.id] == "verified"
    assert {one.code for one in report.damaged[0].damages} == {"FRAME_DAMAGED"}
    assert safe.record(second).verified_at is None


def test_rot_is_found_by_the_share_of_its_day_in_backups_that_were_verified(safe: Safe) -> None:
    first = safe.backup(40, None, Tier.MONTHLY)
    second = safe.backup(1, first, orders=made_up_rows(5, 80))
    safe.read()
    (shared,) = safe.packs(first) & safe.packs(second)
    safe.spoil_all(shared)
    days = [Share(parts=30, day=day) for day in range(30)]

    found = [share for share in days if safe.read(share).damaged]

    assert found == [share for share in days if share.holds(shared)]
    assert len(found) == 1
    assert safe.record(second).damaged_at == safe.record(first).damaged_at == NOW
    assert safe.record(second).verified_at is None


def test_a_month_of_shares_reads_every_frame_of_all_backups_once(safe: Safe) -> None:
    first = safe.backup(2)
    second = safe.backup(1, first, orders=made_up_rows(5, 80))
    safe.read()

    reports = [safe.read(Share(parts=30, day=day)) for day in range(100, 130)]

    frames = {
        (frame.pack, frame.offset)
        for backup in (first, second)
        for entry in safe.scene.vault.entries(safe.manifest(backup))
        for frame in entry.frames
    }
    assert sum(report.frames.objects for report in reports) == len(frames)


@pytest.mark.parametrize("share", [1 / 30, 1 / 4, 0.1])
def test_who_looks_every_few_days_gets_to_all_shares_too(share: float) -> None:
    packs = {f"v1/packs/{number}" for number in range(200)}
    for every in (1, 2, 3, 4, 6, 7, 14, 28):
        days = (Share.of_day(share, NOW.date() + timedelta(days=every * run)) for run in range(31))
        assert {pack for day in days for pack in packs if day.holds(pack)} == packs, every


def test_reading_goes_on_where_time_ended(safe: Safe) -> None:
    backup = safe.backup(1, products=made_up_rows(9, 4000))
    names = [entry.name for entry in safe.scene.vault.entries(safe.manifest(backup))]
    seconds = iter([900.0, 900.0, 900.0, 900.0, *[10.0] * 50])
    safe.remaining_seconds = lambda: next(seconds)

    first = read_backup(safe.job(), backup.id)

    assert outcomes(first) == {backup.id: "unfinished"}
    reached = safe.record(backup).read_until
    assert reached in names[:-1]
    safe.remaining_seconds = lambda: 900.0
    rest = read_backup(safe.job(), backup.id)
    assert outcomes(rest) == {backup.id: "verified"}
    assert first.entries + rest.entries == len(names)
    assert safe.record(backup).read_until is None


def test_reading_goes_on_within_an_entry_of_many_frames(safe: Safe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic, "_PIECE_BYTES", 4096)
    monkeypatch.setattr(entries, "SOLID_ENTRY_BYTES", 1024)
    monkeypatch.setattr(readback, "_LOOK_FRAMES", 2)
    backup = safe.backup(1, products=made_up_rows(9, 4000))
    stored = [entry for entry in safe.scene.vault.entries(safe.manifest(backup)) if len(entry.frames) > 8]
    assert stored
    outcomes_seen, read = [], 0
    for _ in range(400):
        calls = iter([900.0] * 5)
        safe.remaining_seconds = partial(next, calls, 10.0)
        report = read_backup(safe.job(), backup.id)
        read += report.frames.objects
        outcomes_seen.append(outcomes(report)[backup.id])
        if outcomes_seen[-1] != "unfinished":
            break

    assert outcomes_seen[-1] == "verified"
    assert safe.record(backup).read_frames is None
    assert len(outcomes_seen) > len(list(safe.scene.vault.entries(safe.manifest(backup))))
    everything = {
        (frame.pack, frame.offset)
        for entry in safe.scene.vault.entries(safe.manifest(backup))
        for frame in entry.frames
    }
    assert len(everything) <= read <= len(everything) + 2 * len(outcomes_seen)


def test_a_backup_that_nobody_here_can_open_is_told_and_not_called_damaged(safe: Safe) -> None:
    backup = safe.backup(1)
    safe.identity = new_identity()

    report = safe.read(EVERYTHING)

    assert (report.status, outcomes(report)) == (500, {backup.id: "unreadable"})
    assert [problem.code for problem in report.problems] == ["WRONG_IDENTITY"]
    assert safe.record(backup).damaged_at is None


@pytest.mark.parametrize("look", [read_backup, lambda job, one: inventory(job, EVERYTHING, backup_id=one)])
def test_of_what_is_no_complete_backup_nothing_is_said_to_be_in_order(safe: Safe, look: Callable[..., Any]) -> None:
    failed, running, deleted = safe.scene.failed(1), safe.scene.begin(0.1), safe.backup(2)
    safe.backup(3)
    safe.scene.catalog.keeping.delete(deleted, "too old", NOW)

    for backup in (failed, running, deleted):
        with pytest.raises(BackupStateError, match=safe.scene.status(backup).value):
            look(safe.job(), backup.id)
    with pytest.raises(BackupStateError, match="BACKUP_UNKNOWN"):
        look(safe.job(), "01K9X000000000000000000000")


def test_of_a_target_without_backups_and_of_an_empty_vault_nothing_is_said_to_be_in_order(safe: Safe) -> None:
    with pytest.raises(BackupStateError, match="NOTHING_TO_VERIFY"):
        safe.inventory()
    safe.backup(1)

    with pytest.raises(BackupStateError, match='"nosuch"'):
        safe.inventory(target="nosuch")
    with pytest.raises(BackupStateError, match='"nosuch"'):
        safe.read(target="nosuch")


def test_a_backup_that_is_deleted_while_it_is_looked_for_is_not_in_order(
    safe: Safe, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = safe.backup(1)
    listing = safe.scene.store.list

    def meanwhile(prefix: str = "") -> Any:
        safe.scene.catalog.keeping.delete(backup, "too old", NOW)
        return listing(prefix)

    monkeypatch.setattr(safe.scene.store, "list", meanwhile)

    with pytest.raises(BackupStateError, match="DELETED"):
        safe.inventory(backup_id=backup.id)
    with pytest.raises(TargetUnknownError):
        checked(safe, only="nosuch")
    with pytest.raises(TargetUnknownError):
        safe.scene.rotate(only="nosuch")


# --- what follows ---


def test_the_next_backup_stores_anew_what_was_in_a_damaged_pack_and_only_that(safe: Safe) -> None:
    first = safe.backup(2)
    spoiled, intact = sorted(safe.packs(first))
    safe.spoil_all(spoiled)
    safe.read()
    previous = safe.scene.catalog.latest_completed("shop", damaged_too=True)
    assert previous is not None
    assert previous.damaged_at is not None

    second = safe.backup(1, previous)

    assert spoiled not in safe.packs(second)
    assert intact in safe.packs(second)
    assert outcomes(safe.read()) == {second.id: "verified"}


def test_a_damaged_backup_is_nobodys_latest_and_is_still_there_by_its_id(safe: Safe) -> None:
    older, newest = safe.backup(2), safe.backup(1)
    safe.lose(min(safe.packs(newest)))
    safe.inventory()
    catalog = safe.scene.catalog

    latest = catalog.latest_completed("shop")

    assert latest is not None
    assert latest.id == older.id
    assert catalog.get_backup(newest.id).status is Status.COMPLETED


def test_a_mended_backup_is_healthy_again_when_all_of_it_was_read(safe: Safe) -> None:
    backup = safe.backup(1)
    pack = min(safe.packs(backup))
    body = safe.spoil_all(pack)
    safe.read()
    safe.overwrite(pack, body)

    # It takes a whole reading: neither an inventory nor the daily reading say so
    assert safe.inventory().status == safe.read().status == 200
    assert safe.record(backup).damaged_at is not None
    with pytest.raises(BackupStateError, match="BACKUP_DAMAGED"):
        safe.scene.catalog.keeping.mark_verified(backup.id, NOW)
    read_backup(safe.job(), backup.id)

    found = safe.record(backup)
    assert (found.damaged_at, found.damage, found.verified_at) == (None, None, NOW)
    facts = read_damage(safe.scene.vault, "shop", backup.id)
    assert facts is not None
    assert facts.packs == ()


def test_a_catalog_that_is_made_anew_knows_what_is_damaged(safe: Safe) -> None:
    damaged_one, mended = safe.backup(2), safe.backup(1)
    bodies = {backup.id: safe.spoil_all(min(safe.packs(backup))) for backup in (damaged_one, mended)}
    safe.read()
    safe.overwrite(min(safe.packs(mended)), bodies[mended.id])
    read_backup(safe.job(), mended.id)
    table = safe.scene.catalog._table._connection
    for backup in (damaged_one, mended):
        table.delete_item("BACKUP", range_key=backup.id)

    assert [one.outcome for one in rebuild(safe.scene.catalog, safe.scene.vault)] == ["added", "added"]

    found = safe.record(damaged_one)
    assert (found.damaged_at, "FRAME_DAMAGED" in (found.damage or "")) == (NOW, True)
    assert safe.record(mended).damaged_at is None


def test_reading_does_not_mend_what_a_drill_found(safe: Safe) -> None:
    backup = safe.backup(1)
    safe.scene.catalog.keeping.mark_damaged(backup.id, "public.orders has 999 rows, not 1,000.", NOW)

    report = read_backup(safe.job(), backup.id)

    assert (report.status, outcomes(report)) == (500, {backup.id: "damaged"})
    assert safe.record(backup).damage == "public.orders has 999 rows, not 1,000."


def drilled(backup: Backup, code: str, text: str) -> DamageReport:
    """What a drill keeps beside a backup."""
    return DamageReport.on(backup.id, "shop", Level.DRILL, NOW, [Damage(code=code, text=text)])


def test_a_catalog_that_is_made_anew_knows_what_a_drill_found(safe: Safe) -> None:
    backup = safe.backup(1)
    record_finding(safe.scene.catalog, safe.scene.vault, drilled(backup, "ROWS_DIFFER", "public.orders lacks a row."))
    safe.scene.catalog._table._connection.delete_item("BACKUP", range_key=backup.id)

    list(rebuild(safe.scene.catalog, safe.scene.vault))

    found = safe.record(backup)
    assert (found.damaged_at, found.damage) == (NOW, "public.orders lacks a row.")
    # Reading all of it does not mend that, by the new record neither
    assert outcomes(read_backup(safe.job(), backup.id)) == {backup.id: "damaged"}


def test_a_vault_alone_knows_what_a_drill_found(safe: Safe) -> None:
    backup, vault = safe.backup(1), safe.scene.vault
    record_finding(safe.scene.catalog, vault, drilled(backup, "ROWS_DIFFER", "public.orders lacks a row."))
    check = VaultCheck("V", vault, safe.job().decoder, (VaultBackups(vault).get_backup(backup.id),), {}, NOW)

    assert (check.read().status, outcomes(check.read())) == (500, {backup.id: "damaged"})
    assert check.read().healthy == check.inventory().healthy == {"shop": None}

    # And reading shows that stored bytes are mended
    record_finding(safe.scene.catalog, vault, drilled(other := safe.backup(2), "FRAME_DAMAGED", "A frame is damaged."))
    check = VaultCheck("V", vault, safe.job().decoder, (VaultBackups(vault).get_backup(other.id),), {}, NOW)
    assert (check.read().healthy, check.inventory().healthy) == ({"shop": other.id}, {"shop": None})


def test_numbers_that_do_not_agree_are_not_mended_by_reading_bytes(safe: Safe) -> None:
    backup = safe.backup(1)
    rows = (safe.record(backup).rows or 0) + 1
    safe.scene.catalog._backups.change(backup.id, {"rows": rows}, allowed=(Status.COMPLETED,))
    record_finding(safe.scene.catalog, safe.scene.vault, drilled(backup, "TOTALS_DIFFER", "They do not agree."))

    assert outcomes(read_backup(safe.job(), backup.id)) == {backup.id: "damaged"}
    assert safe.record(backup).damaged_at == NOW

    safe.scene.catalog._backups.change(backup.id, {"rows": rows - 1}, allowed=(Status.COMPLETED,))
    assert outcomes(read_backup(safe.job(), backup.id)) == {backup.id: "verified"}


def test_stored_bytes_that_a_drill_found_damaged_are_mended_by_reading_them(safe: Safe) -> None:
    backup = safe.backup(1)
    record_finding(safe.scene.catalog, safe.scene.vault, drilled(backup, "FRAME_DAMAGED", "A frame is damaged."))

    report = read_backup(safe.job(), backup.id)

    assert outcomes(report) == {backup.id: "verified"}
    assert safe.record(backup).damaged_at is None


def test_what_was_found_on_one_day_is_still_known_when_something_else_is_found_on_another(safe: Safe) -> None:
    backup = safe.backup(1)
    one, other = sorted(safe.packs(backup))
    body = safe.spoil_all(one)
    safe.read()
    safe.lose(other)
    safe.overwrite(one, body)

    safe.inventory()

    facts = read_damage(safe.scene.vault, "shop", backup.id)
    assert facts is not None
    assert facts.packs == (one, other)
    assert {damage.code for damage in facts.damages} == {"FRAME_DAMAGED", "PACK_MISSING"}


def test_a_deleted_backups_mark_is_not_relied_upon_once_its_pack_is_damaged(safe: Safe) -> None:
    first = safe.backup(9)
    second = safe.backup(2, first, orders=made_up_rows(5, 80))
    safe.read()
    safe.scene.catalog.keeping.delete(safe.record(first), "too old", NOW)
    (shared,) = safe.packs(first) & safe.packs(second)
    safe.spoil_all(shared)
    assert damaged(safe.read(EVERYTHING)) == {second.id}
    # A run that had begun before could not know, and points there too
    for finding in safe.scene.objects(damage_prefix("shop", second.id)):
        safe.lose(finding)
    third = safe.backup(1, second)
    assert shared in safe.packs(third)

    report = safe.read()

    assert outcomes(report) == {third.id: "damaged"}
    assert safe.record(third).verified_at is None


def test_rotation_deletes_nothing_on_the_word_of_a_damaged_backup(safe: Safe) -> None:
    old, other = safe.backup(30), safe.backup(20)
    newest = safe.backup(1)
    safe.read()
    safe.lose(min(safe.packs(newest)))
    safe.inventory()

    safe.scene.rotate()

    assert {safe.record(one).status for one in (old, other, newest)} == {Status.COMPLETED}


# --- fresh ---


def checked(
    safe: Safe,
    only: str | None = None,
    *,
    configured_at: datetime | None = None,
    schedule: str | None = None,
    **freshness: Any,
) -> tuple[FreshReport, dict[Checked, Check], list[str]]:
    own = {"expression": schedule} if schedule else None
    target = {"name": "shop", "secret": "s", "freshness": freshness, "schedule": own}
    configuration = Configuration.model_validate({"encryption": "none", "targets": [target]})
    died: list[str] = []
    changed = Changed(configured_at) if configured_at is not None else None

    def told(run: Backup | Restore) -> None:
        died.append(run.id)

    scene = safe.scene
    job = FreshJob(scene.catalog, scene.vault, configuration, NOW, told, told, lambda _: scene.vault, lambda _: changed)
    report = fresh(job, only=only)
    return report, {check.check: check for check in report.checks}, died


def test_recent_backups_are_fresh(safe: Safe) -> None:
    backup = safe.backup(27 / 24)
    safe.read()

    report, checks, _ = checked(safe)

    assert (report.status, {check.status for check in report.checks}) == (200, {"ok"})
    found = checks[Checked.BACKUP]
    assert (found.last_backup, found.age_hours, found.limit_hours) == (backup.id, 27.0, 28.0)


def test_a_backup_that_is_late_is_not_fresh(safe: Safe) -> None:
    safe.backup(29 / 24)

    report, checks, _ = checked(safe)

    assert (report.status, checks[Checked.BACKUP].status) == (500, "failed")
    assert checks[Checked.BACKUP].text == "The newest good backup of shop is 29.0 hours old; it should be at most 28."
    assert checked(safe, every_hours=48)[0].status == 200
    assert checked(safe, late_hours=5)[0].status == 200


def test_damaged_failed_and_future_backups_are_not_fresh(safe: Safe) -> None:
    old, newest = safe.backup(3), safe.backup(0.1)
    safe.scene.failed(0.05)
    safe.backup(-1)
    safe.lose(min(safe.packs(newest)))
    safe.inventory()

    _, checks, _ = checked(safe)

    assert (checks[Checked.BACKUP].status, checks[Checked.BACKUP].last_backup) == ("failed", old.id)


def test_a_target_without_any_backup_is_not_fresh(safe: Safe) -> None:
    report, checks, _ = checked(safe)

    assert report.status == 500
    assert checks[Checked.BACKUP].text == "shop has no completed backup at all."
    assert checks[Checked.VERIFIED].is_ok


@pytest.mark.parametrize(("hours", "status"), [(0, 200), (28, 200), (28.1, 500)])
def test_a_new_target_is_not_overdue_before_its_first_backup_is(safe: Safe, hours: float, status: int) -> None:
    report, checks, _ = checked(safe, configured_at=NOW - timedelta(hours=hours))

    assert report.status == status
    assert "no" in (checks[Checked.BACKUP].text or "")
    # One that was backed up, and lost that again, is no new one
    safe.lose(min(safe.packs(safe.backup(1))))
    safe.inventory()
    assert checked(safe, configured_at=NOW)[0].status == 500


def test_a_backup_is_expected_at_each_time_of_the_targets_own_schedule(safe: Safe) -> None:
    # Given a schedule whose last run was 30 hours ago, and one of 6 hours ago
    last = NOW - timedelta(hours=30)
    weekly = f"cron({last.minute} {last.hour} ? * {last.isoweekday() % 7 + 1} *)"
    recent = NOW - timedelta(hours=6)
    nightly = f"cron({recent.minute} {recent.hour} * * ? *)"

    safe.backup(29.9 / 24)

    assert checked(safe, schedule=weekly)[0].status == 200
    report, checks, _ = checked(safe, schedule=nightly)
    assert (report.status, checks[Checked.BACKUP].status) == (500, "failed")
    assert checks[Checked.BACKUP].text == "The newest good backup of shop is 29.9 hours old; it should be at most 6.02."
    # Later than usual is allowed, what the document says goes first, and a new schedule has not had its turn
    assert checked(safe, schedule=nightly, late_hours=7)[0].status == 200
    assert checked(safe, schedule=nightly, every_hours=48)[0].status == 200
    assert checked(safe, schedule=nightly, configured_at=NOW - timedelta(hours=5))[0].status == 200


def test_a_new_target_with_a_schedule_is_not_overdue_before_its_first_time(safe: Safe) -> None:
    first = NOW - timedelta(hours=5)
    nightly = f"cron({first.minute} {first.hour} * * ? *)"

    assert checked(safe, schedule=nightly, configured_at=first - timedelta(hours=1))[0].status == 500
    report, checks, _ = checked(safe, schedule=nightly, configured_at=first + timedelta(hours=1))
    assert report.status == 200
    due = first + timedelta(days=1, hours=4)
    assert checks[Checked.BACKUP].text == f"shop has no backup yet; one is due by {due:%Y-%m-%d %H:%M} UTC."


def test_once_something_is_verified_it_must_not_be_too_old(safe: Safe) -> None:
    old = safe.backup(9)
    safe.backup(0.5)
    assert checked(safe)[0].status == 200

    safe.scene.catalog.keeping.mark_verified(old.id, NOW)

    report, checks, _ = checked(safe)
    assert (report.status, checks[Checked.VERIFIED].age_hours) == (500, 216.0)
    assert checked(safe, verified_hours=240)[0].status == 200


def test_a_backup_whose_manifest_is_gone_is_no_copy(safe: Safe) -> None:
    backup = safe.backup(0.5)
    safe.lose(str(backup.manifest_key))

    report, checks, _ = checked(safe)

    assert (report.status, checks[Checked.COPY].status) == (500, "failed")


def test_runs_that_died_are_given_their_end_and_the_living_are_left_alone(safe: Safe) -> None:
    scene = safe.scene
    safe.backup(0.5)
    dead, alive = scene.begin(21 / 1440), scene.begin(19 / 1440)
    committed = scene.begin(2)
    scene.commit(committed, ())
    restores = [
        Restore(
            id=f"01K9X00000000000000000000{number}",
            backup_id=dead.id,
            target="shop",
            destination="d",
            status=Status.IN_PROGRESS,
            created_at=NOW - timedelta(hours=hours),
        )
        for number, hours in enumerate((5, 0.1))
    ]
    for restore in restores:
        scene.catalog.create_restore(restore)

    report, _, died = checked(safe)

    assert {(one.id, one.status) for one in report.settled} == {
        (dead.id, "FAILED"),
        (committed.id, "COMPLETED"),
        (restores[0].id, "FAILED"),
    }
    assert died == [dead.id, restores[0].id]
    assert scene.status(alive) is Status.IN_PROGRESS
    assert scene.catalog.get_restore(restores[1].id).status is Status.IN_PROGRESS
