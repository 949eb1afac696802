"""What a destination lacks is found by few listings, whatever else it holds."""

from __future__ import annotations

import hashlib
from random import Random

import pytest
from tests.faulty_store import FaultyStore
from tests.unit.operations.copy.copies import Source

from coffre.operations.copy import missing
from coffre.stores.store import put_small
from coffre.vault.pack_list import PackList


def packs_of(source: Source) -> PackList:
    backup = source.backups[-1]
    return PackList.of(source.store.objects[backup.manifest_key or ""], "manifest.json")


def lacking(destination: FaultyStore, packs: PackList) -> set[str]:
    return {packs.at(place).key for place in missing.missing_packs(destination, packs)}


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("listed", [1, 3, 1000])
def test_what_is_not_there_in_its_length_is_missing(monkeypatch: pytest.MonkeyPatch, seed: int, listed: int) -> None:
    monkeypatch.setattr(missing, "_LISTED", listed)
    random = Random(seed)
    source, destination = Source(random), FaultyStore()
    for _ in range(random.randint(1, 5)):
        source.backup(packs=random.randint(0, 4))
    packs = packs_of(source)
    wanted = set()
    for _, pack in packs:
        fate = random.choice(("there", "gone", "short"))
        body = source.store.objects[pack.key][: 10 if fate == "short" else None]
        if fate == "gone":
            wanted.add(pack.key)
            continue
        put_small(destination, pack.key, body)
        wanted |= {pack.key} if fate == "short" else set()
    for number in range(random.randint(0, 30)):  # packs of other targets
        name = hashlib.sha256(str(number).encode()).hexdigest()[:26].upper()
        put_small(destination, f"v1/packs/{name}/000000-00000000-0000", b"?")

    assert lacking(destination, packs) == wanted


def test_a_year_of_daily_backups_is_one_listing() -> None:
    source, destination = Source(), FaultyStore()
    for _ in range(40):
        source.backup(packs=1)
    packs = packs_of(source)
    for key, body in source.store.objects.items():
        put_small(destination, key, body)
    destination.requests.clear()

    assert lacking(destination, packs) == set()
    assert destination.requests == {"list": 1}


def test_many_packs_of_others_between_them_cost_a_listing_each_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(missing, "_LISTED", 2)
    source, destination = Source(), FaultyStore()
    for _ in range(5):
        source.backup(packs=1)
    packs = packs_of(source)
    folder = sorted(pack.key for _, pack in packs)[0].rpartition("/")[0]
    for number in range(100):
        put_small(destination, f"{folder}-of-another/{number:06d}", b"?")

    assert len(lacking(destination, packs)) == 5
    assert destination.requests["list"] <= 1 + 5
