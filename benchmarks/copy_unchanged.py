"""What the copy of a day costs on which little changes: bytes and requests, counted by stores in memory.

Run as `python -m benchmarks.copy_unchanged [GIGABYTES] [CHANGED]`: a database of this many GB, of whose slices of 2 MiB
CHANGED change on the second day. Entries and manifests have their real form; packs are a few bytes each, and are
counted with the 16 MiB that they would have. Only what the second day sends is counted.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from tests.faulty_store import FaultyStore
from ulid import ULID

from coffre.model.backup import Backup, Status, Tier
from coffre.model.kinds import TargetKind
from coffre.model.manifest import DatabaseContent, Entry, EntryKind, Frame, Manifest, PackReference, RelationName
from coffre.operations.copy.copy_backup import CopyJob, copy_backup
from coffre.stores.store import put_small
from coffre.vault.entry_lines import write_lines
from coffre.vault.layout import pack_prefix
from coffre.vault.vault import Vault

_BEGAN: Final = datetime(2026, 11, 28, tzinfo=UTC)
_SLICE_BYTES: Final = 2 * 1024 * 1024
_PACK_BYTES: Final = 16 * 1024 * 1024
# Of plain text, as measured with two large tables (docs/benchmarks.md).
_STORED: Final = 0.214
_FRAME_BYTES: Final = int(_SLICE_BYTES * _STORED)
_FRAMES_A_PACK: Final = _PACK_BYTES // _FRAME_BYTES
_CONTENT: Final = DatabaseContent(
    database="shop",
    encoding="UTF8",
    server_version="18.0",
    server_version_number=180000,
    client_version="18.0",
    snapshot="1",
    tables=(),
)


def main(gigabytes: str = "2", changed: str = "1") -> None:
    """Copy two days, and print what the second one cost."""
    slices = int(float(gigabytes) * 10**9) // _SLICE_BYTES
    source, there = FaultyStore(), FaultyStore()
    frames: list[Frame] = []
    sent = _day(source, there, frames, slices, slices)
    before, requests = dict(there.objects), dict(there.requests)
    sent = _day(source, there, frames, slices, int(changed))
    new = {key: len(body) for key, body in there.objects.items() if key not in before}
    records = sum(size for key, size in new.items() if "/packs/" not in key)
    vault = slices * _FRAME_BYTES
    told = {
        "slices": slices,
        "vault_bytes": vault,
        "packs": sent,
        "pack_bytes": int(changed) * _FRAME_BYTES,
        "record_bytes": records,
        "records_percent": round(100 * records / vault, 4),
        "requests": {call: count - requests.get(call, 0) for call, count in there.requests.items()},
    }
    print(json.dumps(told))


def _day(source: FaultyStore, there: FaultyStore, frames: list[Frame], slices: int, changed: int) -> int:
    """Back up, with the first slices changed, and copy; return how many packs were sent."""
    day = sum(1 for key in source.objects if key.endswith("manifest.json"))
    backup_id = str(ULID.from_datetime(_BEGAN + timedelta(days=day)))
    frames[:changed] = [_frame(backup_id, number) for number in range(changed)]
    keys = dict.fromkeys(frame.pack for frame in frames)
    for key in keys:
        if key not in source.objects:
            put_small(source, key, key.encode())
    with tempfile.TemporaryDirectory() as made:
        lines = Path(made) / "part.jsonl"
        write_lines([_entry(number, frames[number]) for number in range(slices)], lines)
        entries, _ = Vault(source).write_entries("shop", backup_id, [lines], Path(made))
    manifest = Manifest(
        backup_id=backup_id,
        target="shop",
        kind=TargetKind.DATABASE,
        tiers=(Tier.DAILY,),
        created_at=_BEGAN,
        completed_at=_BEGAN,
        encryption="none",
        entries=(entries,),
        packs=tuple(_reference(source, key) for key in keys),
        plaintext_bytes=slices * _SLICE_BYTES,
        stored_bytes=changed * _FRAME_BYTES,
        rows=slices * 20_000,
        content=_CONTENT,
    )
    committed = Vault(source).commit(manifest, lambda _: None)
    backup = Backup(
        id=backup_id,
        target="shop",
        tiers=(Tier.DAILY,),
        status=Status.COMPLETED,
        created_at=_BEGAN,
        manifest_key=committed.key,
        manifest_sha256=committed.sha256,
    )
    return copy_backup(CopyJob(Vault(source), Vault(there), backup, "there")).packs


def _reference(source: FaultyStore, key: str) -> PackReference:
    body = source.objects[key]
    return PackReference(key=key, length=len(body), sha256=hashlib.sha256(body).hexdigest(), live_bytes=len(body))


def _frame(backup_id: str, number: int) -> Frame:
    place, index = divmod(number, _FRAMES_A_PACK)
    sha256 = hashlib.sha256(f"{backup_id}{number}".encode()).hexdigest()
    key = f"{pack_prefix(backup_id, 1)}-{0:08x}-{place:04d}"
    return Frame(pack=key, offset=index * _FRAME_BYTES, length=_FRAME_BYTES, size=_SLICE_BYTES, sha256=sha256)


def _entry(number: int, frame: Frame) -> Entry:
    return Entry(
        name=f"tables/public.measurements/{number:06d}",
        kind=EntryKind.TABLE,
        size=_SLICE_BYTES,
        sha256=frame.sha256,
        rows=20_000,
        relation=RelationName(schema_name="public", relation_name="measurements"),
        frames=(frame,),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
