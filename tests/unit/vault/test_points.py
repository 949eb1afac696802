"""Restore points in the vault: lists of references in any number of files, and seals that are written once."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path

import pytest

from coffre.model.errors import IntegrityError, StoreError
from coffre.model.kinds import TargetKind
from coffre.model.points import PointPart, PointRecord
from coffre.operations.points.begin import references_of
from coffre.stores.directory import DirectoryStore
from coffre.vault.layout import point_of
from coffre.vault.points import Reference, SealedPoints, read_references, read_seal, write_references, write_seal

ID = "01K9X000000000000000000001"
NAMES = sorted(["a/\n", "a/..", "a/x", "b/\ud800\"'", "b/\u202e", "b/é/日本語", "b/🗄️"])


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    (tmp_path / "vault").mkdir()
    return DirectoryStore(tmp_path / "vault")


def point(name: str = "shop", point_id: str = ID) -> PointRecord:
    then = datetime(2026, 11, 17, 3, 0, tzinfo=UTC)
    part = PointPart(target="shop", kind=TargetKind.DATABASE, backup_id=ID)
    return PointRecord(id=point_id, name=name, taken_at=then, parts=(part,), sealed_at=then)


def test_references_are_read_as_they_were_written(store: DirectoryStore) -> None:
    known = [Reference(name, "v", number, "e" * 32, others=number % 2) for number, name in enumerate(NAMES)]
    known.append(Reference("z"))

    lists = write_references(store, "shop", ID, known)

    assert (len(lists), lists[0].count, lists[0].first) == (1, len(known), known[0].name)
    assert list(read_references(store, lists)) == known
    for number, reference in enumerate(known):
        assert list(read_references(store, lists, after=reference.name)) == known[number + 1 :]
    assert write_references(store, "shop", "01K9X000000000000000000002", []) == ()


def test_many_references_are_in_several_files_of_which_only_those_needed_are_read(
    store: DirectoryStore, tmp_path: Path
) -> None:
    etags = random.Random(1)
    known = [Reference(f"a/{number:06}", None, number, etags.randbytes(16).hex()) for number in range(20_000)]

    lists = write_references(store, "shop", ID, known, file_bytes=100_000)

    assert len(lists) > 2
    assert sum(one.count for one in lists) == len(known)
    assert all(point_of(one.key) is not None for one in lists)
    assert list(read_references(store, lists)) == known
    (tmp_path / "vault" / lists[0].key).unlink()
    assert next(read_references(store, lists, after=lists[1].first)).name > lists[1].first


def test_references_that_are_not_sorted_are_refused(store: DirectoryStore) -> None:
    with pytest.raises(IntegrityError, match="not in order"):
        write_references(store, "shop", ID, [Reference("b/x"), Reference("a/x")])


def test_a_list_that_was_changed_or_lost_is_noticed(store: DirectoryStore, tmp_path: Path) -> None:
    lists = write_references(store, "shop", ID, [Reference("a/x")])
    file = tmp_path / "vault" / lists[0].key
    file.write_bytes(file.read_bytes() + b"?")

    with pytest.raises(IntegrityError, match="not the one that was recorded"):
        list(read_references(store, lists))
    file.unlink()
    with pytest.raises(IntegrityError, match="not in the vault"):
        list(read_references(store, lists))


def test_rows_of_one_object_become_one_reference() -> None:
    rows = [("a/x", None, 1, "e"), ("a/x", None, 1, "e"), ("a/y", "1", None, None), ("a/y", "2", None, None)]

    assert list(references_of(rows)) == [Reference("a/x", None, 1, "e"), Reference("a/y", "1", others=1)]


def test_a_seal_is_written_once_and_read_back(store: DirectoryStore) -> None:
    assert read_seal(store, "shop", ID) is None
    write_seal(store, point())
    write_seal(store, point())

    assert read_seal(store, "shop", ID) == point()
    with pytest.raises(StoreError):
        write_seal(store, point().model_copy(update={"references": 1}))
    other = point("blog", "01K9X000000000000000000002")
    write_seal(store, other)
    assert list(SealedPoints(store).all()) == [other, point()]
    assert list(SealedPoints(store).all("shop")) == [point()]
    assert SealedPoints(store).find(other.id) == other


def test_a_seal_of_another_point_is_refused(store: DirectoryStore, tmp_path: Path) -> None:
    write_seal(store, point())
    copied = tmp_path / "vault/v1/points/blog" / f"{ID}.json"
    copied.parent.mkdir()
    copied.write_bytes((tmp_path / "vault/v1/points/shop" / f"{ID}.json").read_bytes())

    with pytest.raises(IntegrityError, match="another point's"):
        read_seal(store, "blog", ID)


def test_a_seal_that_cannot_be_read_hides_no_other_point(store: DirectoryStore, tmp_path: Path) -> None:
    damaged = point(point_id="01K9X000000000000000000002")
    for one in (point(), damaged):
        write_seal(store, one)
    file = tmp_path / "vault/v1/points/shop" / f"{damaged.id}.json"
    file.write_bytes(file.read_bytes()[:-5])

    points = SealedPoints(store)
    assert list(points.all()) == [point()]
    assert list(points.problems) == [damaged.id]
    assert "POINT_DAMAGED" in points.problems[damaged.id]
    assert points.find(ID) == point()
    with pytest.raises(IntegrityError, match="cannot be read"):
        points.find(damaged.id)
