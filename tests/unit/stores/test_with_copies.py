"""A vault with copies: whatever one place lacks, refuses or has damaged comes from the next one, checked."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coffre.model.errors import (
    CoffreError,
    IntegrityError,
    ObjectMissingError,
    SecretError,
    StoreError,
    StoreTransientError,
)
from coffre.stores.directory import DirectoryStore
from coffre.stores.store import MAX_OBJECT_BYTES, Store, put_small
from coffre.stores.with_copies import VAULT, Place, StoreWithCopies

GOOD = b"the bytes of a pack"
KEY = "v1/packs/01K9/000001-0000"


class Broken(DirectoryStore):
    """A directory that fails every read, as a store does that is down or closed; it counts them."""

    def __init__(self, path: Path, error: Callable[[], CoffreError]) -> None:
        super().__init__(path)
        self.error = error
        self.asked = 0

    def get(self, key: str, *, limit_bytes: int = MAX_OBJECT_BYTES) -> bytes:
        self.asked += 1
        raise self.error()


def checked(store: Store) -> bytes:
    """Read the object, and check it as a vault does."""
    try:
        body = store.get(KEY)
    except ObjectMissingError as error:
        raise IntegrityError("It is not there.", code="PACK_MISSING") from error
    if hashlib.sha256(body).digest() != hashlib.sha256(GOOD).digest():
        raise IntegrityError("It is not as it was.", code="FRAME_DAMAGED")
    return body


@pytest.fixture
def directory(tmp_path: Path) -> Callable[[], Path]:
    numbers = itertools.count(1)

    def make() -> Path:
        path = tmp_path / f"place-{next(numbers)}"
        path.mkdir()
        return path

    return make


@pytest.fixture
def place(directory: Callable[[], Path]) -> Callable[..., Place]:
    def make(name: str, body: bytes | None = GOOD) -> Place:
        store = DirectoryStore(directory())
        if body is not None:
            put_small(store, KEY, body)
        return Place(name, lambda: store)

    return make


def down() -> StoreTransientError:
    return StoreTransientError("The store does not answer.", code="STORE_UNAVAILABLE")


def test_a_whole_vault_is_read_alone_and_no_copy_is_opened(place: Callable[..., Place]) -> None:
    def unneeded() -> Store:
        raise AssertionError("a copy was opened that nothing needs")

    store = StoreWithCopies([place(VAULT), Place("offsite", unneeded)])
    assert store.checked(KEY, checked) == GOOD
    assert store.read_from == ()


@pytest.mark.parametrize(("body", "code"), [(None, "PACK_MISSING"), (b"the bytes of a pacK", "FRAME_DAMAGED")])
def test_what_is_missing_or_damaged_comes_from_a_copy_and_is_named(
    place: Callable[..., Place], body: bytes | None, code: str
) -> None:
    told: list[tuple[str, str]] = []
    vault, copy = place(VAULT, body), place("offsite")
    store = StoreWithCopies([vault, copy], report=lambda name, error: told.append((name, error.code)))
    assert [store.checked(KEY, checked) for _ in range(3)] == [GOOD] * 3
    [taken] = store.read_from
    assert (taken.place, taken.objects, taken.keys) == ("offsite", 1, (KEY,))
    assert str(taken).startswith(f'Read from the copy "offsite": 1 stored object ({KEY}), because: ')
    assert code in str(taken)
    assert told == [(VAULT, code)]


def test_a_damaged_copy_does_not_hide_a_whole_one_after_it(place: Callable[..., Place]) -> None:
    store = StoreWithCopies([place(VAULT, None), place("near", b"wrong"), place("far")])
    assert store.checked(KEY, checked) == GOOD
    assert [taken.place for taken in store.read_from] == ["far"]


@pytest.mark.parametrize("error", [down, lambda: StoreError("Access denied.", code="STORE_DENIED")])
def test_a_vault_that_does_not_answer_or_refuses_is_asked_once(
    place: Callable[..., Place], directory: Callable[[], Path], error: Callable[[], CoffreError]
) -> None:
    told: list[str] = []
    vault = Broken(directory(), error)
    places = [Place(VAULT, lambda: vault), place("offsite")]
    store = StoreWithCopies(places, report=lambda name, _: told.append(name))
    for _ in range(5):
        assert store.checked(KEY, checked) == GOOD
    assert vault.asked == 1, "every further attempt would take as long as the first"
    assert told == [VAULT]
    assert store.read_from[0].because.endswith(f"[{error().code}]")


def test_when_no_place_has_it_the_error_is_the_vaults_and_names_the_others(place: Callable[..., Place]) -> None:
    store = StoreWithCopies([place(VAULT, b"wrong"), place("near", None), place("far", b"wrong too")])
    with pytest.raises(IntegrityError) as raised:
        store.checked(KEY, checked)
    assert raised.value.code == "FRAME_DAMAGED"
    notes = " ".join(raised.value.__notes__)
    assert "The copy near cannot give it either" in notes
    assert "The copy far" in notes


def test_a_copy_whose_secret_is_gone_is_passed_over(place: Callable[..., Place]) -> None:
    def closed() -> Store:
        raise SecretError("There is no secret coffre/copies/r2.", code="SECRET_MISSING")

    store = StoreWithCopies([place(VAULT, None), Place("r2", closed), place("far")])
    assert store.checked(KEY, checked) == GOOD
    assert [taken.place for taken in store.read_from] == ["far"]
    alone = StoreWithCopies([Place("r2", closed)])
    with pytest.raises(StoreError, match="no secret") as raised:
        alone.checked(KEY, checked)
    assert raised.value.code == "COPY_CLOSED"


def test_the_choice_of_one_copy_reads_backups_there_and_keeps_records_in_the_vault(
    place: Callable[..., Place],
) -> None:
    vault, copy = place(VAULT, b"wrong"), place("offsite")
    store = StoreWithCopies([copy], [vault, copy])
    assert store.checked(KEY, checked) == GOOD
    assert store.read_from == (), "it was asked for: nothing was replaced"
    put_small(store, "v1/restores/report.json", b"{}")
    assert vault.store().get("v1/restores/report.json") == b"{}"
    with pytest.raises(ObjectMissingError):
        copy.store().get("v1/restores/report.json")


def test_records_go_to_a_copy_when_the_vault_takes_nothing_and_are_found_there(
    place: Callable[..., Place], directory: Callable[[], Path]
) -> None:
    gone = DirectoryStore(directory() / "not-mounted")
    store = StoreWithCopies([Place(VAULT, lambda: gone), place("offsite")])
    put_small(store, "v1/restores/report.json", b"{}")
    assert store.get("v1/restores/report.json") == b"{}"
    assert store.get_range("v1/restores/report.json", 1, 1) == b"}"
    assert store.head("v1/restores/report.json").size == 2
    assert [info.key for info in store.list("v1/restores/")] == ["v1/restores/report.json"]
    store.delete("v1/restores/report.json")
    with pytest.raises(StoreError) as raised:
        store.get("v1/restores/report.json")
    assert raised.value.code == "BUCKET_MISSING", "the vault may have it"


def test_an_object_that_must_be_new_is_not_put_elsewhere_when_it_exists(place: Callable[..., Place]) -> None:
    vault, copy = place(VAULT), place("offsite", None)
    store = StoreWithCopies([vault, copy])
    with pytest.raises(StoreError) as raised:
        store.put(KEY, b"other", sha256=hashlib.sha256(b"other").hexdigest(), if_absent=True)
    assert raised.value.code == "OBJECT_EXISTS"
    with pytest.raises(ObjectMissingError):
        copy.store().get(KEY)


def test_a_listing_comes_from_the_first_place_that_answers(place: Callable[..., Place]) -> None:
    class Silent(DirectoryStore):
        def list(self, prefix: str = "") -> Iterator[object]:  # type: ignore[override]
            raise down()

    silent = Silent("/")
    store = StoreWithCopies([Place(VAULT, lambda: silent), place("offsite")])
    assert [info.key for info in store.list("v1/packs/")] == [KEY]
    assert list(store.list("v1/nothing/")) == []
