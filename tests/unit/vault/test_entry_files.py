"""Entries of a backup in several files, each small enough to be held in memory."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from coffre.model.errors import IntegrityError
from coffre.model.manifest import EntriesFile, Entry, EntryKind
from coffre.stores.directory import DirectoryStore
from coffre.vault.entries import parse_lines
from coffre.vault.entry_files import EntryFiles
from coffre.vault.vault import Vault


def lines(start: int, count: int) -> tuple[list[bytes], str, str]:
    entries = [
        Entry(name=f"b/{number:06}", kind=EntryKind.OBJECT, size=1, sha256=hashlib.sha256(b"%d" % number).hexdigest())
        for number in range(start, start + count)
    ]
    return [one.model_dump_json().encode() + b"\n" for one in entries], entries[0].name, entries[-1].name


def names(vault: Vault, file: EntriesFile) -> list[str]:
    body = vault.store.get(file.key)
    assert (len(body), hashlib.sha256(body).hexdigest()) == (file.length, file.sha256)
    return [entry.name for entry in parse_lines(body, where=file.key)]


def test_files_are_cut_by_their_size_and_follow_each_other(tmp_path: Path) -> None:
    vault = Vault(DirectoryStore(tmp_path))
    files = EntryFiles(vault, "files", "01K9X000000000000000000000", file_bytes=100_000)
    for start in range(0, 10_000, 1000):
        files.add(*lines(start, 1000))

    written = files.close()

    assert len(written) > 2
    assert [file.key.rpartition("/")[2] for file in written] == [
        f"entries-{number:06}.jsonl.zst" for number in range(len(written))
    ]
    read = [names(vault, file) for file in written]
    assert [name for file in read for name in file] == [f"b/{number:06}" for number in range(10_000)]
    assert [(file.first, file.count) for file in written] == [(file[0], len(file)) for file in read]


def test_the_next_invocation_goes_on_with_the_numbers(tmp_path: Path) -> None:
    vault = Vault(DirectoryStore(tmp_path))
    first = EntryFiles(vault, "files", "01K9X000000000000000000000")
    first.add(*lines(0, 3))
    written = first.close()

    second = EntryFiles(vault, "files", "01K9X000000000000000000000", written=written, last="b/000002")
    second.add(*lines(3, 2))

    assert [(file.first, file.count) for file in second.close()] == [("b/000000", 3), ("b/000003", 2)]
    assert len(list(tmp_path.rglob("*.zst"))) == 2


def test_files_of_an_invocation_that_died_stay_and_their_numbers_are_not_used_again(tmp_path: Path) -> None:
    vault = Vault(DirectoryStore(tmp_path))
    begun = EntryFiles(vault, "files", "01K9X000000000000000000000")
    begun.add(*lines(0, 3))
    written = begun.close()
    # Given one that stores another file, and dies before its progress is stored
    died = EntryFiles(vault, "files", "01K9X000000000000000000000", written=written, last="b/000002")
    died.add(*lines(3, 2))
    [_, stray] = died.close()

    again = EntryFiles(vault, "files", "01K9X000000000000000000000", written=written, last="b/000002")
    again.add(*lines(3, 4))
    later = EntryFiles(vault, "files", "01K9X000000000000000000000", written=again.close(), last="b/000006")
    later.add(*lines(7, 1))

    files = later.close()
    assert [file.key[-len("000000.jsonl.zst") :][:6] for file in files] == ["000000", "000002", "000003"]
    assert [name for file in files for name in names(vault, file)] == [f"b/{number:06}" for number in range(8)]
    assert names(vault, stray) == ["b/000003", "b/000004"]


def test_a_part_that_comes_again_or_too_early_is_refused(tmp_path: Path) -> None:
    files = EntryFiles(Vault(DirectoryStore(tmp_path)), "files", "01K9X000000000000000000000")
    files.add(*lines(3, 3))

    for start in (3, 0):
        with pytest.raises(IntegrityError) as unsorted:
            files.add(*lines(start, 3))
        assert unsorted.value.code == "ENTRIES_UNSORTED"


def test_without_an_entry_there_is_one_empty_file(tmp_path: Path) -> None:
    vault = Vault(DirectoryStore(tmp_path))
    (file,) = EntryFiles(vault, "files", "01K9X000000000000000000000").close()

    assert (file.count, file.first, names(vault, file)) == (0, "", [])
