"""The journal follows into a copy, in an order that any stop leaves whole."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.faulty_store import Fault, FaultyStore, KilledError
from tests.unit.operations.conftest import Scene
from tests.unit.operations.copy.test_copy_target import Place
from tests.unit.operations.stored_journal import WHOLE, journal_of, left, numbers

from coffre.model.errors import IntegrityError
from coffre.operations.copy.copy_journal import copy_journal
from coffre.operations.copy.copy_target import copy_target
from coffre.vault import journal
from coffre.vault.layout import journal_prefix
from coffre.vault.vault import Vault


@pytest.fixture
def place(scene: Scene) -> Place:
    return Place(scene)


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
            copy_journal(scene.vault, Vault(store), "shop")
            break
        except KilledError:
            seen.append(require_whole(store, interval))
    store.decide = lambda _call, _key: Fault.NONE

    assert seen == sorted(seen)
    assert set(seen) >= {0, 1, 2, 3}
    assert left(store, interval) == left(scene.store, interval) == WHOLE | numbers(1, 2, 3) | {"end": 1}
    assert left(store, of_others) == {}
    assert copy_journal(scene.vault, Vault(store), "shop") == 0
    assert store.requests["put"] == sum(left(store, interval).values())
    # What the copy's own rotation removed from the front is not sent again
    for key in [key for key in store.objects if "/00000001-" in key]:
        store.delete(key)
    assert copy_journal(scene.vault, Vault(store), "shop") == 0


def test_a_damaged_pack_of_the_vault_is_not_sent_and_what_comes_before_it_is(place: Place) -> None:
    scene = place.scene
    backup = scene.backup(1)
    interval = journal_of(scene, (9, 8, 7))
    key = journal.segment_keys(scene.vault, "shop", interval)[1]
    pack = journal.read_segment(scene.vault, key, None)[0].packs[0].key
    body = scene.store.get(pack)
    scene.store.delete(pack)
    scene.put(pack, body[:-1] + bytes([body[-1] ^ 1]))

    with pytest.raises(IntegrityError) as caught:
        copy_target(replace(place.job(), journal_at=Vault(place.store)))

    assert (caught.value.code, pack in caught.value.message) == ("PACK_DAMAGED", True)
    assert list(place.copies()) == [backup.id]
    assert left(place.store, interval) == WHOLE | numbers(1)
    # Nor is the record of one that is missing: it would never be sent again when it is back
    scene.store.delete(pack)
    with pytest.raises(IntegrityError) as caught:
        copy_journal(scene.vault, Vault(place.store), "shop")
    assert (caught.value.code, pack in caught.value.message) == ("PACK_MISSING", True)
    assert left(place.store, interval) == WHOLE | numbers(1)
    scene.put(pack, body)
    copy_target(replace(place.job(is_time_over=lambda: True), journal_at=Vault(place.store)))
    assert left(place.store, interval) == WHOLE | numbers(1)
    copy_target(replace(place.job(), journal_at=Vault(place.store)))
    assert left(place.store, interval) == WHOLE | numbers(1, 2)
