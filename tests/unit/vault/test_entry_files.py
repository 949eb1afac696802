"""Entries of a backup in several lists, each small enough to be held in memory, and shared with other backups."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.faulty_store import Fault, FaultyStore
from tests.locking_store import LockingDirectory

from coffre.model.errors import IntegrityError
from coffre.model.locks import LockMode
from coffre.model.manifest import EntriesFile, Entry, EntryKind, Manifest, PackReference
from coffre.stores.directory import DirectoryStore
from coffre.vault.entry_files import Cut, EntryFiles, lists_apart, lists_as_packs
from coffre.vault.entry_lines import parse_lines
from coffre.vault.layout import entries_key, writer_of
from coffre.vault.locks import VaultLocks
from coffre.vault.manifests import MANIFEST_LIMIT_BYTES
from coffre.vault.vault import Vault

ID = "01K9X000000000000000000000"
NEXT = "01K9X000000000000000000001"


def line(name: str, content: int = 0) -> bytes:
    entry = Entry(name=name, kind=EntryKind.OBJECT, size=1, sha256=hashlib.sha256(b"%d" % content).hexdigest())
    return entry.model_dump_json(exclude_defaults=True).encode() + b"\n"


def lines(start: int, count: int) -> tuple[list[bytes], str, str]:
    numbers = range(start, start + count)
    return [line(f"b/{number:06}", number) for number in numbers], f"b/{start:06}", f"b/{numbers[-1]:06}"


def names(vault: Vault, file: EntriesFile) -> list[str]:
    body = vault.store.get(file.key)
    assert (len(body), hashlib.sha256(body).hexdigest()) == (file.length, file.sha256)
    return [entry.name for entry in parse_lines(body, where=file.key)]


def written(
    vault: Vault, state: Mapping[str, int], earlier: Mapping[str, EntriesFile], cut: Cut, backup_id: str = ID
) -> tuple[tuple[EntriesFile, ...], dict[str, PackReference]]:
    """Return the lists of a backup with these names, and the packs that are new."""
    packs: dict[str, PackReference] = {}
    files = EntryFiles(vault, backup_id, packs, earlier=earlier, cut=cut)
    for part in itertools.batched(sorted(state), 7, strict=False):
        files.add([line(name, state[name]) for name in part], part[0], part[-1])
    return files.close(), packs


def by_sha256(files: tuple[EntriesFile, ...]) -> dict[str, EntriesFile]:
    return {file.sha256: file for file in files}


def test_lists_are_cut_by_their_size_and_follow_each_other(tmp_path: Path) -> None:
    vault = Vault(DirectoryStore(tmp_path))
    packs: dict[str, PackReference] = {}
    files = EntryFiles(vault, ID, packs, cut=Cut(least=10**6, most_bytes=100_000))
    for start in range(0, 10_000, 1000):
        files.add(*lines(start, 1000))

    made = files.close()

    assert len(made) > 2
    assert all(file.length < 150_000 for file in made)
    read = [names(vault, file) for file in made]
    assert [name for file in read for name in file] == [f"b/{number:06}" for number in range(10_000)]
    assert [(file.first, file.count) for file in made] == [(file[0], len(file)) for file in read]
    # Each is a pack, all of whose bytes are in use.
    assert {key: (pack.length, pack.live_bytes, pack.sha256) for key, pack in packs.items()} == {
        file.key: (file.length, file.length, file.sha256) for file in made
    }
    assert {writer_of(file.key) for file in made} == {ID}
    own = EntriesFile(key=entries_key("files", ID), sha256="0" * 64, length=1, count=1)
    assert lists_apart((*made, own)) == (own,)
    assert lists_as_packs((own, *made)) == {key: pack.length for key, pack in packs.items()}


def test_names_that_are_all_borders_make_no_tiny_lists() -> None:
    files, _ = written(Vault(FaultyStore()), dict.fromkeys(map("{:04}".format, range(100)), 0), {}, Cut(20, one_in=1))

    assert [file.count for file in files] == [20] * 5


def most_lists(cut: Cut, entries: int) -> int:
    """Return how many lists names that are all borders make."""
    count = before = 0
    while before < entries:
        count, before = count + 1, before + cut.least_after(before)
    return count


def test_the_lists_of_any_100_million_names_have_room_in_a_manifest() -> None:
    key = f"v1/packs/{ID}/entries-01234567-00000.jsonl.zst"
    named = EntriesFile(key=key, sha256="a" * 64, length=10**7, count=10**5, first="b" * 63 + "/" + "\x01" * 1024)
    until = datetime(2026, 12, 1, 1, 2, 3, 456789, tzinfo=UTC)
    pack = PackReference(
        key=key, length=10**7, sha256="a" * 64, live_bytes=10**7, locked_until=until, lock_mode=LockMode.GOVERNANCE
    )
    each = sum(len(one.model_dump_json(indent=3)) for one in (named, pack))

    assert most_lists(Cut(), 10**8) == 5134
    assert 5134 * each < MANIFEST_LIMIT_BYTES * 0.52
    # Entries of more than 512 bytes make lists that end by their size: of 1,100 bytes, no zstd makes names smaller.
    assert most_lists(Cut(most=Cut().most_bytes // 1100), 10**8) * each < MANIFEST_LIMIT_BYTES * 0.83


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 400), st.lists(st.integers(1, 399), max_size=4))
def test_names_that_are_all_borders_make_no_more_lists_than_that_in_ranges_too(count: int, ends: list[int]) -> None:
    cut, vault = Cut(least=2, one_in=1, growth=3, most=40), Vault(FaultyStore())
    names_of = list(map("{:04}".format, range(count)))
    made, before = list[EntriesFile](), 0
    for end in [*sorted({end for end in ends if end < count}), count]:
        files = EntryFiles(vault, ID, {}, before=before, cut=cut)
        if part := names_of[before:end]:
            files.add(map(line, part), part[0], part[-1])
        files.flush()
        made, before = [*made, *files.files], end

    assert [name for file in made for name in names(vault, file)] == names_of
    assert len(made) <= most_lists(cut, count) + len(set(ends))


def test_the_next_invocation_continues_and_what_a_dead_one_stored_is_in_no_ones_way(tmp_path: Path) -> None:
    vault, packs = Vault(DirectoryStore(tmp_path)), dict[str, PackReference]()
    begun = EntryFiles(vault, ID, packs)
    begun.add(*lines(0, 3))
    stored = begun.close()
    # Given one that stores another list, and dies before its progress is stored
    died = EntryFiles(vault, ID, {}, written=stored, last="b/000002")
    died.add(*lines(3, 2))
    [_, stray] = died.close()

    again = EntryFiles(vault, ID, packs, written=stored, last="b/000002")
    again.add(*lines(3, 4))

    files = again.close()
    assert [(file.first, file.count) for file in files] == [("b/000000", 3), ("b/000003", 4)]
    assert [name for file in files for name in names(vault, file)] == [f"b/{number:06}" for number in range(7)]
    assert names(vault, stray) == ["b/000003", "b/000004"]
    assert set(packs) == {file.key for file in files}


def test_a_part_that_comes_again_or_too_early_is_refused(tmp_path: Path) -> None:
    files = EntryFiles(Vault(DirectoryStore(tmp_path)), ID, {})
    files.add(*lines(3, 3))

    for start in (3, 0):
        with pytest.raises(IntegrityError) as unsorted:
            files.add(*lines(start, 3))
        assert unsorted.value.code == "ENTRIES_UNSORTED"


def test_without_an_entry_there_is_one_empty_list_and_the_next_backup_points_at_it() -> None:
    vault = Vault(FaultyStore())
    files, _ = written(vault, {}, {}, Cut())
    (file,) = files

    assert (file.count, file.first, names(vault, file)) == (0, "", [])
    assert written(vault, {}, by_sha256(files), Cut(), NEXT) == (files, {})


def test_a_list_has_the_lock_of_new_packs(tmp_path: Path) -> None:
    store, until = LockingDirectory(tmp_path), datetime(2026, 12, 1, tzinfo=UTC)
    vault = Vault(store, VaultLocks(store, LockMode.GOVERNANCE, 400)).locking_new_until(until)

    (file,), packs = written(vault, {"a": 1}, {}, Cut())

    assert (packs[file.key].locked_until, packs[file.key].lock_mode) == (until, LockMode.GOVERNANCE)
    assert store.lock_of(file.key).lock == vault.locks.lock(until) if vault.locks else False


@pytest.mark.parametrize("wrong", [lambda body: body[::-1], lambda body: body[:-1], lambda _: None])
def test_one_bad_answer_of_the_store_is_no_damage_of_a_list(wrong: Callable[[bytes], bytes | None]) -> None:
    store = FaultyStore()
    files, _ = written(Vault(store), {"a": 1, "b": 2}, {}, Cut())
    manifest = cast("Manifest", SimpleNamespace(entries=files))
    good = dict(store.objects)

    def decide(_: str, key: str) -> Fault:
        """Answer wrongly the first time, or each time."""
        body = wrong(good[key]) if store.requests["get"] <= bad_answers else good[key]
        store.objects = {} if body is None else {key: body}
        return Fault.NONE

    store.decide = decide
    read = list[Entry]()
    for bad_answers in (1, 2):
        store.requests.clear()
        with pytest.raises(IntegrityError) if bad_answers == 2 else nullcontext():
            read += Vault(store).entries(manifest)
        assert store.requests["get"] == 2
    assert [entry.name for entry in read] == ["a", "b"]


_NAMES = st.text(st.sampled_from('ab","kind":\\é\n'), min_size=1, max_size=4)
_DAYS = st.lists(st.dictionaries(_NAMES, st.none() | st.integers(0, 3), max_size=12), max_size=6)


@settings(max_examples=60, deadline=None)
@given(first=st.dictionaries(_NAMES, st.integers(0, 3), max_size=60), days=_DAYS, least=st.sampled_from([1, 5]))
def test_any_history_reads_the_same_and_writes_only_what_changed(
    first: dict[str, int], days: list[dict[str, int | None]], least: int
) -> None:
    """Changes of a day: a number is new content, None removes the name. No lists are named but those that exist."""
    vault, cut = Vault(FaultyStore()), Cut(least, one_in=4)
    state = dict(first)
    files, _ = written(vault, state, {}, cut)
    for day in days:
        before = dict(state)
        state |= {name: content for name, content in day.items() if content is not None}
        for name in (name for name, content in day.items() if content is None):
            state.pop(name, None)
        changes = sum(before.get(name) != state.get(name) for name in {*before, *state})

        files, new = written(vault, state, by_sha256(files), cut, NEXT)

        # What an unshared list would have
        read = [one for file in files for one in parse_lines(vault.store.get(file.key), where="")]
        assert [(one.name, one.sha256) for one in read] == [
            (name, hashlib.sha256(b"%d" % state[name]).hexdigest()) for name in sorted(state)
        ]
        assert [file.first for file in files] == [file.first for file in written(vault, state, {}, cut)[0]]
        if least == 1:  # a border moves with its own name alone: it divides a list, or joins two
            assert len(new) <= 2 * changes
        if not changes:
            assert not new


@pytest.mark.parametrize("growth", [500, 40])
def test_a_change_moves_few_borders_also_with_a_least_size(growth: int) -> None:
    vault, cut = Vault(FaultyStore()), Cut(least=16, one_in=64, growth=growth)
    state = {hashlib.sha256(b"%d" % number).hexdigest()[:12]: 0 for number in range(4000)}
    files, _ = written(vault, state, {}, cut)
    among = sorted(state)

    for change in ({among[2000]: 1}, {among[2000] + "x": 0}, dict.fromkeys(among[1000:1010], 2)):
        again, new = written(vault, state | change, by_sha256(files), cut, NEXT)

        assert len(files) > (40 if growth == 500 else 20)
        assert 1 <= len(new) <= 3
        assert sum(file.count for file in again) == len(state | change)
