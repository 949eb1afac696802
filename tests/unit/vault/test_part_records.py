"""What a finished part has stored is found again, and nothing else is taken for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.contract.objects import keys_of

from coffre.model.errors import IntegrityError
from coffre.model.manifest import PackReference
from coffre.stores.directory import DirectoryStore
from coffre.stores.store import put_small
from coffre.vault.entry_lines import pack_lines
from coffre.vault.layout import part_key, record_of
from coffre.vault.part_records import (
    StoredPart,
    read_part,
    recorded_packs,
    recorded_parts,
    write_packed,
    write_part,
)
from coffre.vault.vault import Vault

TARGET = "shop"
RUN = "01JD0000000000000000000001"
RECIPIENTS = ("age1one", "age1two")


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    (tmp_path / "vault").mkdir()
    return Vault(DirectoryStore(tmp_path / "vault"))


def part(tmp_path: Path, number: int, lines: bytes = b'{"name":"tables/public.a/000000"}\n') -> StoredPart:
    entries = tmp_path / f"entries-{number}"
    entries.write_bytes(lines)
    pack = PackReference(key=f"v1/packs/{RUN}/{number:06d}-00000000-0000", length=9, sha256="a" * 64, live_bytes=9)
    return StoredPart(number, entries, (pack,), size_bytes=17, counts={16384: (3, 17)}, notes=("slow",))


@pytest.mark.parametrize("lines", [b"", b"{}\n" * 100_000])
def test_a_part_comes_back_as_it_was_recorded(vault: Vault, tmp_path: Path, lines: bytes) -> None:
    written = part(tmp_path, 7, lines)
    assert write_part(vault, TARGET, RUN, written, RECIPIENTS)
    found, recipients = read_part(vault, TARGET, RUN, 7, tmp_path)
    assert recipients == RECIPIENTS
    assert found.entries.read_bytes() == lines
    assert (found.number, found.packs, found.size_bytes, found.counts, found.notes) == (
        7,
        written.packs,
        17,
        {16384: (3, 17)},
        ("slow",),
    )


def test_of_two_attempts_the_first_counts(vault: Vault, tmp_path: Path) -> None:
    assert write_part(vault, TARGET, RUN, part(tmp_path, 1, b"first\n"), RECIPIENTS)
    assert not write_part(vault, TARGET, RUN, part(tmp_path, 1, b"second\n"), RECIPIENTS)
    assert read_part(vault, TARGET, RUN, 1, tmp_path)[0].entries.read_bytes() == b"first\n"


def test_the_recorded_parts_of_a_run_are_listed_in_order(vault: Vault, tmp_path: Path) -> None:
    for number in (2, 1_000_000, 0, 11):
        write_part(vault, TARGET, RUN, part(tmp_path, number), RECIPIENTS)
    put_small(vault.store, f"v1/backups/{TARGET}/{RUN}/parts/notes.txt", b"")
    assert sorted(recorded_parts(vault, TARGET, RUN)) == [0, 2, 11, 1_000_000]
    assert list(recorded_parts(vault, TARGET, "01JD0000000000000000000002")) == []
    assert all(record_of(key) for key in keys_of(vault.store) if key.endswith(".zst"))


def test_a_missing_part_is_named(vault: Vault, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError) as lost:
        read_part(vault, TARGET, RUN, 3, tmp_path)
    assert lost.value.code == "PART_MISSING"
    assert part_key(TARGET, RUN, 3) in lost.value.message


def test_a_record_of_packed_lines_is_read_whole_or_not_at_all(vault: Vault, tmp_path: Path) -> None:
    packed = [pack_lines([b"first\n", b"second\n"]), pack_lines([b"third\n"])]
    packs = part(tmp_path, 4).packs
    assert write_packed(vault, TARGET, RUN, 4, packs, b"".join(packed), RECIPIENTS)

    found, recipients = read_part(vault, TARGET, RUN, 4, tmp_path)
    assert (found.packs, recipients) == (packs, RECIPIENTS)
    assert found.entries.read_bytes() == b"first\nsecond\nthird\n"

    key = part_key(TARGET, RUN, 4)
    body = vault.store.get(key)
    second = len(body) - len(packed[1])
    for damaged in (body[:-1], body[: second + 3], body[:second] + b"\0" + body[second + 1 :], body + b"more"):
        put_small(vault.store, key, damaged)
        with pytest.raises(IntegrityError) as lost:
            read_part(vault, TARGET, RUN, 4, tmp_path)
        assert lost.value.code == "PART_DAMAGED"

    # Whoever wants its packs alone reads no further than the first line, which has to be one
    put_small(vault.store, key, body[: second + 3])
    assert recorded_packs(vault, TARGET, RUN, 4) == packs
    for damaged in (body[:20], pack_lines([b"no line"]), pack_lines([])):
        put_small(vault.store, key, damaged)
        with pytest.raises(IntegrityError) as lost:
            recorded_packs(vault, TARGET, RUN, 4)
        assert lost.value.code == "PART_DAMAGED"


@pytest.mark.parametrize("damage", ["cut", "other", "empty", "text", "swapped"])
def test_a_damaged_record_is_no_record(vault: Vault, tmp_path: Path, damage: str) -> None:
    key = part_key(TARGET, RUN, 1)
    write_part(vault, TARGET, RUN, part(tmp_path, 1), RECIPIENTS)
    write_part(vault, TARGET, RUN, part(tmp_path, 2), RECIPIENTS)
    body = vault.store.get(key)
    bodies = {
        "cut": body[:-5],
        "other": bytes([body[0] ^ 1]) + body[1:],
        "empty": b"",
        "text": b"no record",
        "swapped": vault.store.get(part_key(TARGET, RUN, 2)),
    }
    put_small(vault.store, key, bodies[damage])
    with pytest.raises(IntegrityError) as lost:
        read_part(vault, TARGET, RUN, 1, tmp_path)
    assert lost.value.code == "PART_DAMAGED"


def test_a_record_that_is_not_the_one_of_the_catalog_is_refused(vault: Vault, tmp_path: Path) -> None:
    sha256 = write_part(vault, TARGET, RUN, part(tmp_path, 1, b"first\n"), RECIPIENTS)
    assert sha256 is not None
    assert read_part(vault, TARGET, RUN, 1, tmp_path, sha256=sha256)[0].entries.read_bytes() == b"first\n"
    vault.store.delete(part_key(TARGET, RUN, 1))
    write_part(vault, TARGET, RUN, part(tmp_path, 1, b"other\n"), RECIPIENTS)
    with pytest.raises(IntegrityError) as lost:
        read_part(vault, TARGET, RUN, 1, tmp_path, sha256=sha256)
    assert lost.value.code == "PART_SWAPPED"


def test_the_packs_of_a_record_are_read_without_its_entries(vault: Vault, tmp_path: Path) -> None:
    written = part(tmp_path, 3)
    write_part(vault, TARGET, RUN, written, RECIPIENTS)
    assert recorded_packs(vault, TARGET, RUN, 3) == written.packs
