"""The journal follows into a copy, in an order that any stop leaves whole."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.faulty_store import Fault, FaultyStore, KilledError
from tests.unit.operations.conftest import Scene
from tests.unit.operations.copy.test_copy_target import Place
from tests.unit.operations.stored_journal import WHOLE, backup_of, journal_of, left, numbers

from coffre.model.backup import Backup
from coffre.operations.copy.copy_journal import JournalCopy, SentJournal, copy_journal
from coffre.operations.copy.copy_target import copy_target
from coffre.operations.restore_database.moments import stretches_of
from coffre.operations.stored_backup.kept_journal import journal_bases
from coffre.policy.moments import Point
from coffre.vault import journal
from coffre.vault.layout import journal_prefix
from coffre.vault.vault import Vault


@pytest.fixture
def place(scene: Scene) -> Place:
    return Place(scene)


def there(scene: Scene, store: FaultyStore, days: float = 35) -> JournalCopy:
    return JournalCopy(Vault(store), scene.now - timedelta(days=days))


def bring(scene: Scene, store: FaultyStore, *bases: Backup, days: float = 35) -> int:
    """Bring the journal into a copy that has these backups, and keeps moments of this number of days."""
    sent, lacking = brought(scene, store, *bases, days=days)
    assert lacking == ()
    return sent


def brought(scene: Scene, store: FaultyStore, *bases: Backup, days: float = 35) -> SentJournal:
    return copy_journal(scene.vault, there(scene, store, days), "shop", lambda: journal_bases(scene.vault, bases))


def require_whole(store: FaultyStore, interval: str) -> int:
    """Everything that a record in the copy names is there; return how many segments can be read, in a row."""
    there = Vault(store)
    if f"{journal_prefix('shop', interval)}interval.json" not in store.objects:
        assert not [key for key in store.objects if key.endswith(".json")]
        return 0
    begun = journal.read_interval(there, "shop", interval)
    assert {frame.pack for frame in begun.definitions} <= store.objects.keys()
    keys, previous = journal.segment_keys(there, "shop", interval), journal.interval_sha256(there, "shop", interval)
    for key in keys:
        segment, previous = journal.read_segment(there, key, previous)
        assert {pack.key for pack in segment.packs} <= store.objects.keys()
    return len(keys)


def test_a_copier_that_is_killed_anywhere_leaves_a_journal_that_ends_earlier_and_the_next_continues(
    scene: Scene,
) -> None:
    interval = journal_of(scene, (9, 8, 7, 6), ended=5)
    of_others = journal_of(scene, (9, 8), target="blog")
    store = FaultyStore()
    seen, puts = list[int](), [0]

    def killed(call: str, _key: str) -> Fault:
        puts[0] += call == "put"
        return Fault.KILLED_AFTER if call == "put" and puts[0] % 2 else Fault.NONE

    store.decide = killed
    for _ in range(20):
        puts[0] = 0
        try:
            bring(scene, store)
            break
        except KilledError:
            seen.append(require_whole(store, interval))
    store.decide = lambda _call, _key: Fault.NONE

    assert seen == sorted(seen)
    assert set(seen) >= {0, 1, 2, 3}
    assert left(store, interval) == left(scene.store, interval) == WHOLE | numbers(1, 2, 3) | {"end": 1}
    assert left(store, of_others) == {}
    assert bring(scene, store) == 0
    assert store.requests["put"] == sum(left(store, interval).values())


def test_what_the_window_of_the_copy_needs_is_brought_again_and_what_its_rotation_removed_is_not(scene: Scene) -> None:
    # Given a window of 7 days, whose moments are made from the base of 9 days ago: it reads from the segment 3 on
    base = backup_of(scene, 9)
    interval = journal_of(scene, (13, 11.5, 10.5, 9.5, 8.5, 7.5))
    store = FaultyStore()
    assert bring(scene, store, days=7) == 12
    assert left(store, interval) == WHOLE | numbers(1, 2, 3, 4, 5)

    # When its rotation has removed what comes before, nothing is sent
    for removed, sent in (((1, 2), ()), ((3, 4), (3, 4)), ((3,), (3,)), ((4,), (4,)), ((3, 4, 5), (3, 4, 5))):
        for key in [key for key in store.objects for number in removed if f"/{number:08d}" in key]:
            store.delete(key)
        assert bring(scene, store, base, days=7) == 2 * len(sent), removed
        assert left(store, interval) == WHOLE | numbers(3, 4, 5)
    # Without a base nothing is known not to be needed
    assert bring(scene, store, days=7) == 4
    assert left(store, interval) == WHOLE | numbers(1, 2, 3, 4, 5)


def test_an_interval_that_is_over_is_not_begun_again_and_one_that_was_begun_gets_its_end(scene: Scene) -> None:
    over = journal_of(scene, (20, 15, 10), ended=9)
    begun = journal_of(scene, (19, 16), ended=8.5)
    store = FaultyStore()
    assert bring(scene, store, days=30) == 12
    for key in [key for key in store.objects if over in key or key.endswith("end.json")]:
        store.delete(key)

    assert bring(scene, store, days=7) == 1
    assert (left(store, over), left(store, begun)) == ({}, WHOLE | numbers(1) | {"end": 1})
    # Its own rotation removes segments first, and the end last
    store.delete(f"{journal_prefix('shop', begun)}interval.json")
    assert bring(scene, store, days=7) == 0


def test_damage_of_one_interval_of_the_vault_keeps_no_other_from_the_copy(scene: Scene) -> None:
    first, second = journal_of(scene, (9, 8), ended=7), journal_of(scene, (6.9, 6), print_="e" * 64)
    key = f"{journal_prefix('shop', first)}end.json"
    scene.store.delete(key)
    scene.put(key, b"{}")
    store = FaultyStore()

    sent, lacking = brought(scene, store)

    assert (sent, [key in one and "cannot be read" in one for one in lacking]) == (8, [True])
    assert left(store, first) == WHOLE | numbers(1)
    assert left(store, second) == WHOLE | numbers(1)


def test_a_damaged_pack_of_the_vault_is_not_sent_and_all_else_is(place: Place) -> None:
    scene = place.scene
    backup = scene.backup(1)
    interval = journal_of(scene, (9, 8, 7, 6))
    key = journal.segment_keys(scene.vault, "shop", interval)[1]
    pack = journal.read_segment(scene.vault, key, None)[0].packs[0].key
    body = scene.store.get(pack)
    scene.store.delete(pack)
    scene.put(pack, body[:-1] + bytes([body[-1] ^ 1]))

    copied = copy_target(replace(place.job(), journal=there(scene, place.store)))

    assert copied.journal_lacks == (f"{pack} of a journal in the vault is not what was written.",)
    assert list(place.copies()) == [backup.id]
    assert left(place.store, interval) == WHOLE | numbers(1, 3)
    # Nor is the record of one that is missing: it would never be sent again when it is back
    scene.store.delete(pack)
    assert brought(scene, place.store) == (0, (f"{pack} of a journal is missing in the vault.",))
    assert left(place.store, interval) == WHOLE | numbers(1, 3)
    scene.put(pack, body)
    copy_target(replace(place.job(is_time_over=lambda: True), journal=there(scene, place.store)))
    assert left(place.store, interval) == WHOLE | numbers(1, 3)
    assert copy_target(replace(place.job(), journal=there(scene, place.store))).journal_lacks == ()
    assert left(place.store, interval) == WHOLE | numbers(1, 2, 3)


def moments(scene: Scene, vault: Vault, *bases: Backup) -> list[tuple[list[int], list[str]]]:
    """The stretches that a restore makes moments of: their segments, and the bases that have a moment."""
    known = list(journal_bases(scene.vault, bases))
    found = []
    for part in stretches_of(vault, "shop", known, None, lambda _: None):
        names = [name for name, base in part.usable if part.base_for(Point(base.at)) is not None]
        found += [([one.number for one in part.segments], names)] if names else []
    return found


@pytest.mark.parametrize(
    ("how", "lost", "ended"),
    [
        ("missing", (1,), None),
        ("missing", (3, 4), 3),
        ("missing", (6,), 3),
        ("missing", (6,), None),
        ("damaged", (1,), 3),
        ("damaged", (3, 4), None),
        ("damaged", (6,), None),
    ],
)
def test_what_the_vault_has_lost_is_named_and_the_copy_makes_the_same_moments(
    scene: Scene, how: str, lost: tuple[int, ...], ended: float | None
) -> None:
    bases = [backup_of(scene, age) for age in (9.5, 7.5, 4.5)]
    interval = journal_of(scene, (10, 9, 8, 7, 6, 5, 4), ended=ended)
    keys = {key.number: key.key for key in journal.segment_keys(scene.vault, "shop", interval)}
    bodies = {number: scene.store.get(keys[number]) for number in lost}
    for number in lost:
        scene.store.delete(keys[number])
        if how == "damaged":
            scene.put(keys[number], bodies[number][:-1])
    store = FaultyStore()
    stopped = [0]

    def killed(call: str, _key: str) -> Fault:
        stopped[0] += call == "put"
        return Fault.KILLED_AFTER if call == "put" and stopped[0] == 5 else Fault.NONE

    store.decide = killed
    with pytest.raises(KilledError):
        brought(scene, store, *bases)
    store.decide = lambda _call, _key: Fault.NONE
    _, lacking = brought(scene, store, *bases)

    whole = set(range(1, 7)).difference(lost)
    end = {"end": 1} if ended else {}
    assert left(store, interval) == WHOLE | numbers(*whole) | end
    assert moments(scene, Vault(store), *bases) == moments(scene, scene.vault, *bases) != []
    # The first ones may have been deleted, and of an open interval the last one is not known
    is_seen = how == "damaged" or not (lost == (1,) or (lost == (6,) and not ended))
    assert len(lacking) == (len(lost) if how == "damaged" else int(is_seen))
    assert all(str(number) in "".join(lacking) for number in lost) or not is_seen
    assert brought(scene, store, *bases) == (0, lacking)  # it is the same each time, and nothing fails

    # When it is put back, the copy gets it
    for number in lost:
        if how == "damaged":
            scene.store.delete(keys[number])
        scene.put(keys[number], bodies[number])
    assert bring(scene, store, *bases) == 2 * len(lost)
    assert left(store, interval) == left(scene.store, interval)


def test_what_the_vault_has_lost_stays_in_the_copy_and_is_put_back_from_it(scene: Scene) -> None:
    base = backup_of(scene, 9.5)
    interval = journal_of(scene, (10, 9, 8, 7))
    store = FaultyStore()
    bring(scene, store, base)
    key = journal.segment_keys(scene.vault, "shop", interval)[1].key
    scene.store.delete(key)

    assert brought(scene, store, base) == (0, ())
    assert left(store, interval) == WHOLE | numbers(1, 2, 3)
    assert moments(scene, Vault(store), base) == [([1, 2, 3], [base.id])] != moments(scene, scene.vault, base)
    # It has the same key and the same bytes there (docs/runbooks/JOURNAL_DAMAGED.md)
    scene.put(key, store.objects[key])
    assert moments(scene, scene.vault, base) == moments(scene, Vault(store), base)


def test_a_tail_comes_with_the_end_that_names_it_and_one_that_is_lost_does_not_keep_the_end_away(scene: Scene) -> None:
    interval, store = journal_of(scene, (9, 8, 7), ended=7, tail=6.9), FaultyStore()
    assert bring(scene, store) == 8
    assert left(store, interval) == left(scene.store, interval) == WHOLE | numbers(1, 2) | {"00000003": 1, "end": 1}
    assert bring(scene, store) == 0
    [pack] = [key for key in store.objects if "/00000003-" in key]
    body = store.objects[pack]
    # An end is never there before its tail, unless the vault has lost that
    for key in (pack, f"{journal_prefix('shop', interval)}end.json"):
        store.delete(key)
    scene.store.delete(pack)
    sent, lacking = brought(scene, store)
    assert (sent, left(store, interval)) == (1, WHOLE | numbers(1, 2) | {"end": 1})
    assert [pack in one for one in lacking] == [True]
    assert brought(scene, store) == SentJournal(0, lacking)
    scene.put(pack, body if isinstance(body, bytes) else bytes(body))
    assert (bring(scene, store), pack in store.objects) == (1, True)
