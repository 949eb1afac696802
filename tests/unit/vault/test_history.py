"""What the previous backup stored, divided among the parts of the next one."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffre.model.backup import Tier
from coffre.model.kinds import TargetKind
from coffre.model.manifest import DatabaseContent, Entry, EntryKind, Frame, Manifest, PackReference
from coffre.stores.directory import DirectoryStore
from coffre.vault.entries import live_bytes
from coffre.vault.entry_lines import write_lines
from coffre.vault.history import open_history, usable_packs
from coffre.vault.vault import Vault

NOW = datetime(2026, 10, 2, 12, tzinfo=UTC)
ID = "01K9X0000000000000000000AA"
LENGTH = 100


def _pack(number: int, *, live_bytes: int = LENGTH) -> PackReference:
    return PackReference(key=f"v1/packs/{ID}/{number:06d}", length=LENGTH, sha256="0" * 64, live_bytes=live_bytes)


def _entry(name: str, pack: PackReference) -> Entry:
    frame = Frame(pack=pack.key, offset=0, length=LENGTH, size=1, sha256="1" * 64)
    return Entry(name=name, kind=EntryKind.TABLE, size=1, sha256="1" * 64, rows=1, frames=(frame,))


def _stored(vault: Vault, scratch: Path, entries: list[Entry], packs: list[PackReference]) -> Manifest:
    """Store an entries file, and the packs that are called live."""
    lines = scratch / "lines"
    write_lines(entries, lines)
    file, _ = vault.write_entries("shop", ID, [lines], scratch)
    return Manifest(
        backup_id=ID,
        target="shop",
        kind=TargetKind.DATABASE,
        tiers=(Tier.DAILY,),
        created_at=NOW,
        completed_at=NOW,
        encryption="none",
        entries=(file,),
        packs=tuple(packs),
        plaintext_bytes=0,
        stored_bytes=0,
        rows=0,
        content=DatabaseContent(
            database="shop",
            encoding="UTF8",
            server_version="18.6",
            server_version_number=180006,
            client_version="18.6",
            snapshot="-",
            tables=(),
        ),
    )


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    (tmp_path / "vault").mkdir()
    return Vault(DirectoryStore(tmp_path / "vault"))


def _put(vault: Vault, pack: PackReference, length: int = LENGTH) -> None:
    body = bytes(length)
    vault.store.put(pack.key, body, sha256=hashlib.sha256(body).hexdigest())


@given(
    names=st.sets(st.text("abcdefg", min_size=1, max_size=3), min_size=1, max_size=20),
    firsts=st.sets(st.text("abcdefg", min_size=1, max_size=3), min_size=1, max_size=6),
)
def test_each_entry_is_known_to_the_one_part_whose_names_it_belongs_to(
    tmp_path_factory: pytest.TempPathFactory, names: set[str], firsts: set[str]
) -> None:
    scratch = tmp_path_factory.mktemp("history")
    (scratch / "vault").mkdir()
    vault, pack = Vault(DirectoryStore(scratch / "vault")), _pack(1)
    _put(vault, pack)
    manifest = _stored(vault, scratch, [_entry(name, pack) for name in sorted(names)], [pack])
    parts = list(enumerate(["", *sorted(firsts)]))

    history = open_history(vault, manifest, parts, scratch)

    for number, first in parts:
        end = parts[number + 1][1] if number + 1 < len(parts) else None
        mine = {name for name in names if name >= first and (end is None or name < end)}
        assert set(history.known(number)) == mine


def test_only_packs_that_are_whole_and_mostly_alive_are_pointed_at(vault: Vault, tmp_path: Path) -> None:
    # Given packs that are there, missing, cut short, grown, just alive enough, and mostly dead
    there, missing, cut, grown = (_pack(number) for number in range(4))
    enough, dead = _pack(4, live_bytes=50), _pack(5, live_bytes=49)
    for pack in (there, enough, dead):
        _put(vault, pack)
    _put(vault, cut, LENGTH - 1)
    _put(vault, grown, LENGTH + 1)
    packs = [there, missing, cut, grown, enough, dead]
    entries = [_entry(f"e{number}", pack) for number, pack in enumerate(packs)]

    history = open_history(vault, _stored(vault, tmp_path, entries, packs), [(0, "")], tmp_path)

    assert set(history.known(0)) == {"e0", "e4"}
    assert set(history.packs) == {there.key, enough.key}


@pytest.mark.parametrize(
    ("live", "left_out"),
    [
        ((100, 100, 100, 20), ()),  # a quarter of what is needed is not dead yet
        ((100, 100, 100, 49, 48), (4,)),  # the one of which the least is in use goes first, and is enough
        ((100, 100, 100, 30, 30, 40), (3, 4)),
        ((50, 50, 50, 50), ()),  # half of each is in use
        ((0, 1, 99), (0, 1)),
        ((0,), (0,)),
        ((), ()),
    ],
)
def test_packs_that_are_mostly_dead_are_left_out_when_that_frees_something(
    vault: Vault, tmp_path: Path, live: tuple[int, ...], left_out: tuple[int, ...]
) -> None:
    packs = [_pack(number, live_bytes=used) for number, used in enumerate(live)]
    for pack in packs:
        _put(vault, pack)

    usable, _ = usable_packs(vault, _stored(vault, tmp_path, [], packs))

    assert set(usable) == {pack.key for number, pack in enumerate(packs) if number not in left_out}
    assert sum(pack.length for pack in usable.values()) <= 2 * sum(live)


def test_a_part_that_the_previous_backup_did_not_have_knows_nothing(vault: Vault, tmp_path: Path) -> None:
    pack = _pack(1)
    _put(vault, pack)
    history = open_history(vault, _stored(vault, tmp_path, [_entry("a", pack)], [pack]), [(0, ""), (1, "b")], tmp_path)

    assert history.known(1) == {}
    assert history.known(7) == {}


def test_an_entry_uses_its_share_of_a_solid_frame_and_all_of_its_own_frames() -> None:
    solid = Frame(pack="p", offset=0, length=100, size=1000, sha256="1" * 64)
    small = Entry(name="a", kind=EntryKind.TABLE, size=101, sha256="1" * 64, frames=(solid,), start=5)
    own = [Frame(pack=name, offset=0, length=70, size=500, sha256="1" * 64) for name in "pq"]
    large = Entry(name="b", kind=EntryKind.TABLE, size=1000, sha256="1" * 64, frames=tuple(own))

    assert list(live_bytes(small)) == [("p", 11)]
    assert list(live_bytes(large)) == [("p", 70), ("q", 70)]
    assert list(live_bytes(Entry(name="c", kind=EntryKind.TABLE, size=0, sha256="1" * 64))) == []
