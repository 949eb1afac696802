"""The vault end to end: catalog, manifest, entries, frames; each link of the chain breaks with a code of its own."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyrage
import pytest
from backports import zstd

from coffre.model.backup import Tier
from coffre.model.errors import CoffreError, IntegrityError, LockLostError, StoreError
from coffre.model.kinds import TargetKind
from coffre.model.manifest import DatabaseContent, Entry, EntryKind, Manifest, TableContent
from coffre.stores.directory import DirectoryStore
from coffre.vault import manifests
from coffre.vault.codec import FrameDecoder, FrameEncoder, public_key
from coffre.vault.entries import FRAME_SIZE_BYTES, SOLID_ENTRY_BYTES, EntryWriter
from coffre.vault.entry_lines import write_lines
from coffre.vault.layout import manifest_key
from coffre.vault.pack import PACK_SIZE_BYTES
from coffre.vault.vault import Committed, Vault

BACKUP = "01JD0000000000000000000000"
NOON = datetime(2026, 10, 2, 12, tzinfo=UTC)
PLAINTEXTS = {
    "schema": b"PGDMP" * 1000,
    "tables/public.big/000000": hashlib.shake_256(b"big").digest(2 * FRAME_SIZE_BYTES + 5),
    "tables/public.empty/000000": b"",
    "tables/public.small/000000": b"1\tone\n",
    "tables/public.solid/000000": b"x" * SOLID_ENTRY_BYTES,
}


@dataclass(frozen=True)
class Stored:
    """A committed backup."""

    vault: Vault
    store: DirectoryStore
    root: Path
    manifest: Manifest
    committed: Committed
    decoder: FrameDecoder

    def read(self) -> dict[str, bytes]:
        """Follow the chain from what the catalog keeps."""
        manifest = self.vault.read_manifest(self.committed.key, sha256=self.committed.sha256)
        return {
            entry.name: b"".join(self.vault.read_entry(entry, self.decoder)) for entry in self.vault.entries(manifest)
        }

    def file(self, key: str) -> Path:
        return self.root / key

    def entry(self, name: str) -> Entry:
        return next(entry for entry in self.vault.entries(self.manifest) if entry.name == name)


@pytest.fixture
def stored(store: DirectoryStore, tmp_path: Path, encoder: FrameEncoder, identity: str) -> Stored:
    vault = Vault(store)
    with vault.pack_writer(BACKUP, 1, encoder) as packs:
        writer = EntryWriter(packs)
        for name, plaintext in PLAINTEXTS.items():
            kind = EntryKind.TABLE if name.startswith("tables") else EntryKind.SCHEMA
            pieces = (
                plaintext[start : start + FRAME_SIZE_BYTES] for start in range(0, len(plaintext), FRAME_SIZE_BYTES)
            )
            writer.add(name, kind, pieces)
        entries = writer.close()
    write_lines(entries, tmp_path / "part.jsonl")
    file, live = vault.write_entries("shop", BACKUP, [tmp_path / "part.jsonl"], tmp_path)
    assert set(live) == {pack.key for pack in packs.packs}
    manifest = Manifest(
        backup_id=BACKUP,
        target="shop",
        kind=TargetKind.DATABASE,
        tiers=(Tier.DAILY,),
        created_at=NOON,
        completed_at=NOON,
        encryption="age",
        recipients=(public_key(identity),),
        entries=(file,),
        packs=tuple(packs.packs),
        plaintext_bytes=sum(map(len, PLAINTEXTS.values())),
        stored_bytes=sum(pack.length for pack in packs.packs),
        rows=1,
        content=DatabaseContent(
            database="shop",
            encoding="UTF8",
            server_version="18.0",
            server_version_number=180000,
            client_version="18.0",
            snapshot="1",
            tables=(TableContent(oid=16385, schema_name="public", table_name="ö\n", columns=("a",), rows=1, size=6),),
            policy_roles={16400: ("app",)},
        ),
    )
    committed = vault.commit(manifest, lambda _: None)
    return Stored(vault, store, tmp_path / "vault", manifest, committed, FrameDecoder([identity]))


def test_everything_comes_back_along_the_chain(stored: Stored) -> None:
    assert stored.read() == PLAINTEXTS
    assert stored.vault.read_manifest(stored.committed.key, sha256=stored.committed.sha256) == stored.manifest
    assert all(pack.length <= max(PACK_SIZE_BYTES, FRAME_SIZE_BYTES + 1024) for pack in stored.manifest.packs)


def test_the_layout_is_the_documented_one(stored: Stored) -> None:
    keys = [info.key for info in stored.store.list()]

    assert f"v1/backups/shop/{BACKUP}/entries.jsonl.zst" in keys
    assert f"v1/backups/shop/{BACKUP}/manifest.json" in keys
    assert {key for key in keys if "packs" in key} == {pack.key for pack in stored.manifest.packs}
    assert all(pack.key.startswith(f"v1/packs/{BACKUP}/000001-") for pack in stored.manifest.packs)


def test_the_libraries_of_age_and_zstd_alone_open_an_entry(stored: Stored, identity: str) -> None:
    entry = stored.entry("tables/public.big/000000")
    key = pyrage.x25519.Identity.from_str(identity)

    plaintext = b""
    for frame in entry.frames:
        body = stored.file(frame.pack).read_bytes()[frame.offset : frame.offset + frame.length]
        plaintext += zstd.decompress(pyrage.decrypt(body, [key]))

    assert plaintext == PLAINTEXTS["tables/public.big/000000"]
    assert len(entry.frames) == 3


def flip(path: Path, position: int = -1) -> None:
    body = bytearray(path.read_bytes())
    body[position] ^= 0x01
    path.write_bytes(bytes(body))


def swap_manifest(stored: Stored) -> None:
    stored.file(stored.committed.key).unlink()
    stored.vault.commit(stored.manifest.model_copy(update={"rows": 2}), lambda _: None)


def other_manifest(stored: Stored) -> None:
    stored.file(stored.committed.key).write_bytes(b"{}")


def longer_pack(stored: Stored) -> None:
    """Nothing is wrong with a pack that has more bytes than are used."""
    with stored.file(stored.manifest.packs[-1].key).open("ab") as file:
        file.write(b"more")


BREAKS: dict[str, tuple[Callable[[Stored], object], str]] = {
    "manifest gone": (lambda stored: stored.file(stored.committed.key).unlink(), "MANIFEST_MISSING"),
    "manifest swapped": (swap_manifest, "MANIFEST_SWAPPED"),
    "manifest emptied": (other_manifest, "MANIFEST_SWAPPED"),
    "manifest flipped": (lambda stored: flip(stored.file(stored.committed.key)), "MANIFEST_SWAPPED"),
    "entries gone": (lambda stored: stored.file(stored.manifest.entries[0].key).unlink(), "ENTRIES_MISSING"),
    "entries flipped": (lambda stored: flip(stored.file(stored.manifest.entries[0].key)), "ENTRIES_SWAPPED"),
    "entries emptied": (lambda stored: stored.file(stored.manifest.entries[0].key).write_bytes(b""), "ENTRIES_SWAPPED"),
    "pack gone": (lambda stored: stored.file(stored.manifest.packs[0].key).unlink(), "PACK_MISSING"),
    "pack flipped": (lambda stored: flip(stored.file(stored.manifest.packs[0].key)), "FRAME_DAMAGED"),
    "pack emptied": (lambda stored: stored.file(stored.manifest.packs[0].key).write_bytes(b""), "OBJECT_TRUNCATED"),
    "pack cut": (lambda stored: cut(stored.file(stored.manifest.packs[0].key)), "OBJECT_TRUNCATED"),
}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(("damage", "code"), BREAKS.values(), ids=BREAKS)
def test_every_link_of_the_chain_breaks_with_its_own_code(
    stored: Stored, damage: Callable[[Stored], object], code: str
) -> None:
    damage(stored)

    with pytest.raises(IntegrityError) as caught:
        stored.read()

    assert caught.value.code == code
    assert caught.value.hint


def test_bytes_behind_the_last_frame_do_no_harm(stored: Stored) -> None:
    longer_pack(stored)

    assert stored.read() == PLAINTEXTS


def test_a_manifest_of_the_right_hash_that_is_none_is_damaged(stored: Stored) -> None:
    body = b'{"format": 2}'
    stored.file(stored.committed.key).write_bytes(body)

    with pytest.raises(IntegrityError) as caught:
        stored.vault.read_manifest(stored.committed.key, sha256=hashlib.sha256(body).hexdigest())

    assert caught.value.code == "MANIFEST_DAMAGED"


@pytest.mark.parametrize("changes", [{"start": 1}, {"sha256": "0" * 64}, {"size": 5}])
def test_an_entry_that_points_at_other_bytes_is_damaged(stored: Stored, changes: dict[str, object]) -> None:
    entry = stored.entry("tables/public.small/000000").model_copy(update=changes)

    with pytest.raises(CoffreError) as caught:
        list(stored.vault.read_entry(entry, stored.decoder))

    assert caught.value.code == "ENTRY_DAMAGED"


def test_an_entry_that_lost_a_frame_or_has_them_in_another_order_is_damaged(stored: Stored) -> None:
    entry = stored.entry("tables/public.big/000000")
    first, second, third = entry.frames

    for frames in ((first, second), (second, first, third), (first, first, third), ()):
        with pytest.raises(IntegrityError) as caught:
            list(stored.vault.read_entry(entry.model_copy(update={"frames": frames}), stored.decoder))
        assert caught.value.code == "ENTRY_DAMAGED"


def test_a_committed_manifest_is_found_and_an_uncommitted_one_is_not(stored: Stored) -> None:
    assert stored.vault.find_manifest("shop", BACKUP) == (stored.manifest, stored.committed)
    assert stored.vault.find_manifest("shop", "01JD0000000000000000000001") is None
    assert stored.vault.find_manifest("other", BACKUP) is None


def test_a_commit_is_announced_before_it_is_made_and_can_be_stopped_there(stored: Stored) -> None:
    manifest = stored.manifest.model_copy(update={"backup_id": "01JD0000000000000000000001"})
    announced: list[Committed] = []

    def refuse(committed: Committed) -> None:
        announced.append(committed)
        raise LockLostError("Another run has taken over.")

    with pytest.raises(LockLostError):
        stored.vault.commit(manifest, refuse)
    assert stored.vault.find_manifest("shop", manifest.backup_id) is None

    committed = stored.vault.commit(manifest, announced.append)
    assert announced == [committed, committed]
    assert stored.vault.find_manifest("shop", manifest.backup_id) == (manifest, committed)


def test_a_manifest_that_no_reader_would_take_is_neither_announced_nor_written(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = stored.manifest.model_copy(update={"backup_id": "01JD0000000000000000000001"})
    size, announced = len(manifest.model_dump_json(indent=1).encode()), list[Committed]()
    before = contents(stored)

    monkeypatch.setattr(manifests, "MANIFEST_LIMIT_BYTES", size - 1)
    with pytest.raises(StoreError) as refused:
        stored.vault.commit(manifest, announced.append)
    assert (refused.value.code, announced, contents(stored)) == ("MANIFEST_TOO_LARGE", [], before)
    assert f"{size:,} bytes" in refused.value.message
    assert '"shop"' in (refused.value.hint or "")

    monkeypatch.setattr(manifests, "MANIFEST_LIMIT_BYTES", size)
    assert stored.vault.find_manifest("shop", manifest.backup_id) is None
    committed = stored.vault.commit(manifest, announced.append)
    assert stored.vault.read_manifest(committed.key, sha256=committed.sha256) == manifest


def contents(stored: Stored) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in stored.root.rglob("*") if path.is_file()}


def test_what_a_backup_is_made_of_is_written_once(stored: Stored, encoder: FrameEncoder, tmp_path: Path) -> None:
    # The same bytes may come again: an answer was lost, or an event came twice
    assert stored.vault.commit(stored.manifest, lambda _: None) == stored.committed
    stored.vault.mark_tier("shop", BACKUP, Tier.WEEKLY)
    stored.vault.mark_tier("shop", BACKUP, Tier.WEEKLY)
    before = contents(stored)
    other = stored.manifest.model_copy(update={"notes": ("another",)})
    entries = tmp_path / "other.jsonl"
    write_lines([next(stored.vault.entries(stored.manifest))], entries)
    with stored.vault.pack_writer(BACKUP, 7, encoder) as packs:
        frame = packs.append(b"rows", hashlib.sha256(b"rows").hexdigest())
        stored.store.put(frame.pack, b"theirs", sha256=hashlib.sha256(b"theirs").hexdigest())
        before[stored.file(frame.pack)] = b"theirs"

        for write in (
            lambda: stored.vault.commit(other, lambda _: None),
            lambda: stored.vault.write_entries("shop", BACKUP, [entries], tmp_path),
            packs.close,
        ):
            with pytest.raises(StoreError) as refused:
                write()
            assert refused.value.code == "OBJECT_EXISTS"

    assert contents(stored) == before


def test_a_reader_ignores_fields_that_a_later_version_may_add(stored: Stored) -> None:
    path = stored.file(stored.committed.key)
    body = path.read_bytes().replace(b'{\n "format": 1,', b'{\n "later": {"x": 1},\n "format": 1,')
    path.write_bytes(body)

    assert b"later" in body
    assert stored.vault.read_manifest(stored.committed.key, sha256=hashlib.sha256(body).hexdigest()) == stored.manifest


def test_marks_and_reports_do_not_touch_the_backup(stored: Stored) -> None:
    stored.vault.mark_tier("shop", BACKUP, Tier.WEEKLY)
    key = stored.vault.write_report("01JD0000000000000000000009", '{"rows": 1}')

    assert stored.store.get(key) == b'{"rows": 1}'
    assert (stored.root / f"v1/backups/shop/{BACKUP}/marks/tier-WEEKLY.json").exists()
    assert stored.read() == PLAINTEXTS
    assert manifest_key("shop", BACKUP) == stored.committed.key


def test_several_files_of_entries_are_read_as_one_and_those_before_a_name_are_not_read(stored: Stored) -> None:
    entries = list(stored.vault.entries(stored.manifest))
    stored.file(stored.manifest.entries[0].key).unlink()
    files = []
    for number, group in enumerate((entries[:2], entries[2:4], entries[4:])):
        write_lines(group, stored.root.parent / "lines.jsonl")
        file, _ = stored.vault.write_entries("shop", BACKUP, [stored.root.parent / "lines.jsonl"], stored.root.parent)
        key = f"v1/backups/shop/{BACKUP}/entries-{number:06d}.jsonl.zst"
        stored.file(file.key).rename(stored.file(key))
        files.append(file.model_copy(update={"key": key}))
    manifest = stored.manifest.model_copy(update={"entries": tuple(files)})

    assert list(stored.vault.entries(manifest)) == entries
    stored.file(files[0].key).unlink()
    assert list(stored.vault.entries(manifest, entries[2].name)) == entries[2:]
    assert list(stored.vault.entries(manifest, entries[3].name)) == entries[2:]
    with pytest.raises(IntegrityError):
        list(stored.vault.entries(manifest, entries[1].name))


def test_a_manifest_of_before_there_could_be_several_files_of_entries_is_read(stored: Stored) -> None:
    old = stored.manifest.model_dump(mode="json")
    (old["entries"],) = old["entries"]

    assert Manifest.model_validate(old) == stored.manifest


def test_an_entry_that_is_hashed_at_its_end_is_refused_there(stored: Stored) -> None:
    """Two frames of one length that changed places open well, each by itself."""
    entry = stored.entry("tables/public.big/000000")
    first, second, rest = entry.frames
    swapped = entry.model_copy(update={"frames": (second, first, rest)})

    assert b"".join(stored.vault.read_entry(entry, stored.decoder, at_end=True)) == PLAINTEXTS[entry.name]
    pieces = stored.vault.read_entry(swapped, stored.decoder, at_end=True)
    assert len([next(pieces), next(pieces), next(pieces)]) == 3
    with pytest.raises(IntegrityError) as caught:
        next(pieces)
    assert caught.value.code == "ENTRY_DAMAGED"
