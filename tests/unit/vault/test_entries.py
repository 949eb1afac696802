"""Entries: small ones share frames, large ones have their own, and the list of them is sorted and whole."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from backports import zstd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coffre.model.errors import IntegrityError
from coffre.model.manifest import Entry, EntryKind, RelationName
from coffre.stores.directory import DirectoryStore
from coffre.vault import entries as module
from coffre.vault import pack
from coffre.vault.codec import FrameDecoder, FrameEncoder
from coffre.vault.entries import EntryWriter, live_bytes, referenced
from coffre.vault.entry_lines import merge_lines, parse_lines, read_lines, write_lines
from coffre.vault.pack import PackWriter
from coffre.vault.vault import Vault

# The same rules with small numbers: frames of 1,000 bytes, entries up to 100 share frames of 300.
FRAME, SOLID, SOLID_FRAME, PACK = 1000, 100, 300, 2500


@pytest.fixture(scope="module", autouse=True)
def small_sizes() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SOLID_ENTRY_BYTES", SOLID)
        patch.setattr(module, "_SOLID_FRAME_BYTES", SOLID_FRAME)
        patch.setattr(pack, "PACK_SIZE_BYTES", PACK)
        yield


def cut(plaintext: bytes) -> Iterator[memoryview]:
    """Pieces as the readers of tables yield them: one buffer, used again for each."""
    buffer = bytearray(FRAME)
    for start in range(0, len(plaintext), FRAME):
        piece = plaintext[start : start + FRAME]
        buffer[: len(piece)] = piece
        yield memoryview(buffer)[: len(piece)]


def store_all(
    vault: Vault, encoder: FrameEncoder, plaintexts: Iterable[bytes], known: dict[str, Entry] | None = None
) -> tuple[list[Entry], PackWriter]:
    with vault.pack_writer("b", 1, encoder) as packs:
        writer = EntryWriter(packs, known)
        for number, plaintext in enumerate(plaintexts):
            writer.add(f"tables/t{number:03d}", EntryKind.TABLE, cut(plaintext), rows=lambda: 7)
        return writer.close(), packs


around = st.sampled_from([0, 1, SOLID, SOLID_FRAME, FRAME, 2 * FRAME, 3 * FRAME]).flatmap(
    lambda size: st.integers(max(0, size - 2), size + 2)
)
# (size, seed) of each
plaintexts = st.lists(st.tuples(around, st.integers(0, 3)), max_size=25)


def all_noise(sizes: list[tuple[int, int]]) -> list[bytes]:
    return [noise(seed, size) for size, seed in sizes]


def noise(seed: int, size: int) -> bytes:
    blocks = (hashlib.sha256(f"{seed} {number}".encode()).digest() for number in range(size // 32 + 1))
    return b"".join(blocks)[:size]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plaintexts)
def test_entries_of_every_size_come_back(
    store: DirectoryStore, encoder: FrameEncoder, decoder: FrameDecoder, sizes: list[tuple[int, int]]
) -> None:
    vault, plaintexts = Vault(store), all_noise(sizes)

    entries, packs = store_all(vault, encoder, plaintexts)

    assert len(entries) == len(plaintexts)
    for entry, plaintext in zip(entries, plaintexts, strict=True):
        assert b"".join(vault.read_entry(entry, decoder)) == plaintext
        assert (entry.size, entry.sha256, entry.rows) == (len(plaintext), hashlib.sha256(plaintext).hexdigest(), 7)
        assert all(0 < frame.size <= FRAME for frame in entry.frames)
        # large entries have frames of their own, small ones share one
        assert len(entry.frames) == (-(-len(plaintext) // FRAME) if len(plaintext) > SOLID else bool(plaintext))
    solid = {entry.frames[0] for entry in entries if 0 < entry.size <= SOLID}
    assert all(frame.size <= SOLID_FRAME for frame in solid)
    assert {frame.pack for entry in entries for frame in entry.frames} == {reference.key for reference in packs.packs}


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plaintexts, plaintexts)
def test_what_did_not_change_is_not_stored_again_and_all_comes_back(
    store: DirectoryStore,
    encoder: FrameEncoder,
    decoder: FrameDecoder,
    sizes: list[tuple[int, int]],
    later: list[tuple[int, int]],
) -> None:
    vault, before, after = Vault(store), all_noise(sizes), all_noise(later)
    previous, _ = store_all(vault, encoder, before)

    entries, packs = store_all(vault, encoder, after, {entry.name: entry for entry in previous})

    for entry, plaintext in zip(entries, after, strict=True):
        assert b"".join(vault.read_entry(entry, decoder)) == plaintext
    old = {frame for entry in previous for frame in entry.frames}
    for entry, plaintext, was in zip(entries, after, before, strict=False):
        if plaintext == was:
            assert set(entry.frames) <= old
    if after == before:
        assert packs.packs == []


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plaintexts)
def test_the_live_bytes_of_a_backup_that_uses_all_of_its_packs_are_all_of_them(
    store: DirectoryStore, encoder: FrameEncoder, sizes: list[tuple[int, int]]
) -> None:
    entries, packs = store_all(Vault(store), encoder, all_noise(sizes))

    used = sum(length for entry in entries for _, length in live_bytes(entry))

    stored = sum(reference.length for reference in packs.packs)
    assert stored <= used <= stored + len(entries)


def test_a_small_first_piece_that_is_not_the_only_one_is_refused(store: DirectoryStore, encoder: FrameEncoder) -> None:
    with pytest.raises(ValueError, match="not the only one"), PackWriter(store, "p", encoder) as packs:
        EntryWriter(packs).add("schema", EntryKind.SCHEMA, [b"small", b"more"])

    assert list(store.list()) == []


def test_entries_know_their_table(store: DirectoryStore, encoder: FrameEncoder) -> None:
    relation = RelationName(schema_name="Odd", relation_name='"na"me')

    with PackWriter(store, "p", encoder) as packs:
        writer = EntryWriter(packs)
        added = writer.add("tables/x", EntryKind.TABLE, [b"row\n"], relation=relation, rows=lambda: 1)
        (entry,) = writer.close()

    assert added.frames == ()
    assert (entry.relation, entry.rows) == (relation, 1)
    assert len(entry.frames) == 1


def entry(name: str, **fields: object) -> Entry:
    return Entry.model_validate(
        {"name": name, "kind": "table", "size": 0, "sha256": hashlib.sha256(b"").hexdigest(), **fields}
    )


names = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1), unique=True, min_size=1, max_size=20
).map(sorted)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names, st.integers(1, 4))
def test_a_list_of_any_names_comes_back_in_order(tmp_path: Path, names: list[str], parts: int) -> None:
    size = -(-len(names) // parts) or 1
    files = []
    for number, start in enumerate(range(0, len(names), size)):
        files.append(tmp_path / f"{number}.jsonl")
        write_lines((entry(name) for name in names[start : start + size]), files[-1])
        assert [read.name for read in read_lines(files[-1])] == names[start : start + size]

    merged = merge_lines(files, tmp_path / "all.zst")

    assert merged.count == len(names)
    body = (tmp_path / "all.zst").read_bytes()
    assert [found.name for found in parse_lines(body, where="x")] == names
    assert zstd.decompress(body).count(b"\n") == len(names)


@pytest.mark.parametrize(
    "parts", [[["b", "a"]], [["a", "a"]], [["a", "c"], ["b"]], [["a"], ["a"]], [["a", "b"], ["a", "b"]]]
)
def test_names_that_are_there_twice_or_mixed_up_are_refused(tmp_path: Path, parts: list[list[str]]) -> None:
    files = [tmp_path / f"{number}.jsonl" for number in range(len(parts))]
    for file, names in zip(files, parts, strict=True):
        write_lines(map(entry, names), file)

    with pytest.raises(IntegrityError) as caught:
        merge_lines(files, tmp_path / "all.zst")

    assert caught.value.code == "ENTRIES_UNSORTED"


def test_a_list_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    write_lines((entry(f"tables/{number}") for number in range(9)), tmp_path / "1")
    merge_lines([tmp_path / "1"], tmp_path / "all.zst")
    body = (tmp_path / "all.zst").read_bytes()

    for length in range(len(body)):
        with pytest.raises(IntegrityError) as caught:
            list(parse_lines(body[:length], where="the list"))
        assert caught.value.code == "ENTRIES_DAMAGED"
        assert "the list" in caught.value.message


@pytest.mark.parametrize(
    "text",
    [b"{}\n", b"not json\n", b'{"name":"x"', b"\xff\n", b"\n", b'{"name":"a","kind":"table","size":-1,"sha256":"x"}\n'],
)
def test_a_list_of_something_else_is_refused(text: bytes) -> None:
    with pytest.raises(IntegrityError) as caught:
        list(parse_lines(zstd.compress(text), where="x"))

    assert caught.value.code == "ENTRIES_DAMAGED"
    with pytest.raises(IntegrityError):
        list(parse_lines(text, where="x"))


def test_a_long_list_is_read_in_pieces(tmp_path: Path) -> None:
    write_lines((entry(f"{number:06d}" + "n" * 300) for number in range(8000)), tmp_path / "1")
    merge_lines([tmp_path / "1"], tmp_path / "all.zst")

    read = parse_lines((tmp_path / "all.zst").read_bytes(), where="x")

    assert next(read).name.startswith("000000")
    assert sum(1 for _ in read) == 7999


def test_packs_that_are_gone_when_a_run_ends_are_named() -> None:
    with pytest.raises(IntegrityError, match="gone or damaged since it began") as caught:
        referenced({"v1/packs/a/0": 10, "v1/packs/b/0": 20}, {})

    assert caught.value.code == "PACKS_GONE"
    assert caught.value.detail == "2 packs, the first of them v1/packs/a/0"
