"""What runs that did not finish have stored: merged with the previous backup, and never trusted further than known."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.vault.test_history import LENGTH, _entry, _put, _stored

from coffre.model.manifest import Entry, PackReference
from coffre.stores.directory import DirectoryStore
from coffre.stores.store import put_small
from coffre.vault import unfinished
from coffre.vault.entry_lines import read_lines, write_lines
from coffre.vault.history import Unfinished, open_history
from coffre.vault.layout import part_key
from coffre.vault.part_records import StoredPart, write_part
from coffre.vault.unfinished import count_bytes, read_unfinished
from coffre.vault.vault import Vault

RUNS = ("01K9X0000000000000000000AB", "01K9X0000000000000000000AC")
RECIPIENTS = ("age1one",)


def pack_of(run: str, number: int) -> PackReference:
    key = f"v1/packs/{run}/{number:06d}-00000000-0000"
    return PackReference(key=key, length=LENGTH, sha256="0" * 64, live_bytes=LENGTH)


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    (tmp_path / "vault").mkdir()
    return Vault(DirectoryStore(tmp_path / "vault"))


def record(
    vault: Vault, scratch: Path, number: int, entries: Sequence[Entry], recipients: tuple[str, ...] = RECIPIENTS
) -> str:
    """Record entries whose packs are those of the first run."""
    file = scratch / f"lines-{number}"
    write_lines(entries, file)
    packs = {frame.pack for entry in entries for frame in entry.frames}
    references = tuple(PackReference(key=key, length=LENGTH, sha256="0" * 64, live_bytes=LENGTH) for key in packs)
    sha256 = write_part(vault, "shop", RUNS[0], StoredPart(number, file, references), recipients)
    assert sha256 is not None
    return sha256


def names_in(file: Path) -> list[str]:
    return [entry.name for entry in read_lines(file)]


def test_records_of_one_run_are_merged_whatever_their_number(
    vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unfinished, "_MERGED_TOGETHER", 3)
    names = [f"tables/{number:04d}" for number in range(100)]
    known = {
        number: record(vault, tmp_path, number, [_entry(name, pack_of(RUNS[0], 1)) for name in names[number::10]])
        for number in range(10)
    }

    read = read_unfinished(vault, "shop", RUNS[0], known, RECIPIENTS, tmp_path)

    assert names_in(read.run.entries) == names
    assert set(read.run.packs) == {pack_of(RUNS[0], 1).key}
    assert read.ignored == ()


def test_no_record_is_no_error(vault: Vault, tmp_path: Path) -> None:
    read = read_unfinished(vault, "shop", RUNS[0], {}, RECIPIENTS, tmp_path)

    assert (names_in(read.run.entries), read.run.packs, read.ignored) == ([], {}, ())


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        ("gone", "is not in the vault"),
        ("cut", "is not the one that the catalog recorded"),
        ("forged", "is not the one that the catalog recorded"),
        ("of other recipients", "other recipients"),
        ("unsorted", "not in order"),
        ("no entry", "no entry"),
        ("no pack", "no pack"),
    ],
)
def test_what_is_not_certain_of_a_record_is_left_out_and_named(
    vault: Vault, tmp_path: Path, damage: str, why: str
) -> None:
    one, two = _entry("tables/a", pack_of(RUNS[0], 1)), _entry("tables/b", pack_of(RUNS[0], 1))
    good = record(vault, tmp_path, 1, [one])
    key = part_key("shop", RUNS[0], 2)
    if damage == "of other recipients":
        other = record(vault, tmp_path, 2, [two], ("age1two",))
    elif damage == "unsorted":
        other = record(vault, tmp_path, 2, [two, one])
    elif damage == "no entry":
        file = tmp_path / "lines"
        file.write_bytes(b'{"name": 1}\n')
        other = write_part(vault, "shop", RUNS[0], StoredPart(2, file, ()), RECIPIENTS) or ""
    elif damage == "no pack":
        alien = two.frames[0].model_copy(update={"pack": "v1/backups/shop/manifest.json"})
        other = record(vault, tmp_path, 2, [two.model_copy(update={"frames": (alien,)})])
    else:
        other = record(vault, tmp_path, 2, [two])
    if damage == "gone":
        vault.store.delete(key)
    elif damage == "cut":
        put_small(vault.store, key, vault.store.get(key)[:-1])
    elif damage == "forged":
        vault.store.delete(key)
        record(vault, tmp_path, 2, [_entry("tables/b", pack_of(RUNS[0], 7))])

    read = read_unfinished(vault, "shop", RUNS[0], {1: good, 2: other}, RECIPIENTS, tmp_path)

    assert names_in(read.run.entries) == ["tables/a"]
    (ignored,) = read.ignored
    assert why in ignored


_NAMES = st.text("abcd", min_size=1, max_size=3)
# Which entries a run has, and in which of three packs each is.
_RUN = st.dictionaries(_NAMES, st.integers(0, 2), max_size=12)


@settings(max_examples=50)
@given(
    previous=st.none() | st.dictionaries(_NAMES, st.integers(0, 2), min_size=1, max_size=12),
    runs=st.lists(_RUN, max_size=2),
    missing=st.sets(st.integers(0, 8)),
    firsts=st.sets(_NAMES, min_size=1, max_size=6),
)
def test_of_each_name_the_newest_usable_entry_is_known_to_its_part(
    tmp_path_factory: pytest.TempPathFactory,
    previous: dict[str, int] | None,
    runs: list[dict[str, int]],
    missing: set[int],
    firsts: set[str],
) -> None:
    # Given a previous backup and runs after it, the newest first, some of whose packs are gone
    scratch = tmp_path_factory.mktemp("histories")
    (scratch / "vault").mkdir()
    vault = Vault(DirectoryStore(scratch / "vault"))
    histories: list[Mapping[str, int]] = [*runs, *([previous] if previous is not None else [])]
    writers = [*RUNS[: len(runs)], "01K9X0000000000000000000AA"]
    for index, run in enumerate(histories):
        for number in set(run.values()):
            if 3 * index + number not in missing:
                _put(vault, pack_of(writers[index], number))

    def entries_of(index: int) -> list[Entry]:
        return [_entry(name, pack_of(writers[index], number)) for name, number in sorted(histories[index].items())]

    found = []
    for index in range(len(runs)):
        file = scratch / f"run-{index}"
        write_lines(entries_of(index), file)
        packs = {pack.key: pack for number in range(3) for pack in [pack_of(writers[index], number)]}
        found.append(Unfinished(writers[index], file, packs))
    manifest = None
    if previous is not None:
        packs_of_it = [pack_of(writers[-1], number) for number in range(3)]
        manifest = _stored(vault, scratch, entries_of(len(runs)), packs_of_it)

    # When they are divided among the parts of a new backup
    borders = ["", *sorted(firsts)[1:]]
    parts = list(enumerate(borders))
    history = open_history(vault, manifest, parts, scratch, unfinished=found)

    # Then each part knows exactly the newest entries whose pack is there
    expected: dict[str, str] = {}
    for index in reversed(range(len(histories))):
        for name, number in histories[index].items():
            if 3 * index + number not in missing:
                expected[name] = pack_of(writers[index], number).key
    known = [
        {name: entry.frames[0].pack for name, entry in history.known(number).items()} for number in range(len(parts))
    ]
    assert {name: key for part in known for name, key in part.items()} == expected
    for (_, first), end, part in zip(parts, [*borders[1:], None], known, strict=True):
        assert all(first <= name and (end is None or name < end) for name in part)
    # And what a backup uses of packs that no backup has is counted for the run that named them
    live = dict.fromkeys(set(expected.values()), 10)
    counts = count_bytes(live, history.unfinished)
    assert counts == {
        run: 10 * len({key for key in expected.values() if run in key})
        for run in RUNS
        if any(run in key for key in expected.values())
    }


def test_a_frame_that_reaches_over_the_end_of_its_pack_is_not_pointed_at(vault: Vault, tmp_path: Path) -> None:
    pack = pack_of(RUNS[0], 1)
    _put(vault, pack)
    entry = _entry("tables/a", pack)
    beyond = entry.model_copy(update={"frames": (entry.frames[0].model_copy(update={"offset": 1}),)})
    file = tmp_path / "run"
    write_lines([beyond], file)

    history = open_history(vault, None, [(0, "")], tmp_path, unfinished=[Unfinished(RUNS[0], file, {pack.key: pack})])

    assert history.known(0) == {}


def test_a_pack_of_the_previous_backup_is_as_its_manifest_says(vault: Vault, tmp_path: Path) -> None:
    pack = pack_of("01K9X0000000000000000000AA", 1)
    body = bytes(LENGTH)
    vault.store.put(pack.key, body, sha256=hashlib.sha256(body).hexdigest())
    manifest = _stored(vault, tmp_path, [_entry("tables/a", pack)], [pack])
    other = pack.model_copy(update={"length": 10 * LENGTH})
    file = tmp_path / "run"
    write_lines([], file)

    history = open_history(
        vault, manifest, [(0, "")], tmp_path, unfinished=[Unfinished(RUNS[0], file, {other.key: other})]
    )

    assert list(history.known(0)) == ["tables/a"]
    assert (history.packs, history.unfinished) == ({pack.key: pack}, {})
