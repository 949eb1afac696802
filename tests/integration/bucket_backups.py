"""Backups of buckets as they are in a vault, made without a bucket."""

from __future__ import annotations

import hashlib
import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ulid import ULID

from coffre.model.backup import Backup, Status, Tier
from coffre.model.kinds import TargetKind
from coffre.model.manifest import BucketSummary, Entry, EntryKind, Manifest, ObjectFacts, StorageContent
from coffre.operations.stored_backup.catalog_record import completed
from coffre.vault.codec import FrameEncoder
from coffre.vault.entries import FRAME_SIZE_BYTES, EntryWriter
from coffre.vault.entry_lines import write_lines
from coffre.vault.layout import backup_prefix
from coffre.vault.vault import Vault

THEN = datetime(2026, 11, 17, 3, 0, tzinfo=UTC)


class Object:
    """One object: its bytes and what the bucket said about it."""

    def __init__(self, body: bytes = b"", **facts: Any) -> None:
        self.body = body
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        self.facts = ObjectFacts(**{"etag": etag, "last_modified": THEN, "content_type": "image/png", **facts})


def keep_backup(
    vault: Vault,
    objects: Mapping[str, Object],
    scratch: Path,
    *,
    recipients: Sequence[str] = (),
    target: str = "uploads",
    sources: Mapping[str, Mapping[str, Any]] | None = None,
    entries_in_a_file: int = 10**6,
) -> Backup:
    """Store a backup of these objects (by `<bucket>/<key>`) and return its record, which is not in a catalog yet.

    `sources` are prefixes and patterns of the buckets, by name; buckets without objects come in by them.
    """
    backup_id = str(ULID())
    with vault.pack_writer(backup_id, 1, FrameEncoder(recipients)) as packs:
        writer = EntryWriter(packs)
        for name, found in sorted(objects.items()):
            pieces = (
                found.body[start : start + FRAME_SIZE_BYTES] for start in range(0, len(found.body), FRAME_SIZE_BYTES)
            )
            writer.add(name, EntryKind.OBJECT, pieces if not found.facts.unread else ())
        entries = [_with_facts(entry, objects[entry.name]) for entry in writer.close()]
    files = _write_files(vault, target, backup_id, entries, scratch, entries_in_a_file)
    manifest = Manifest(
        backup_id=backup_id,
        target=target,
        kind=TargetKind.BUCKET,
        tiers=(Tier.MANUAL,),
        created_at=datetime.now(UTC),
        completed_at=datetime.now(UTC),
        encryption="age" if recipients else "none",
        recipients=tuple(recipients),
        entries=tuple(files),
        packs=tuple(packs.packs),
        plaintext_bytes=sum(len(one.body) for one in objects.values() if not one.facts.unread),
        stored_bytes=sum(pack.length for pack in packs.packs),
        rows=0,
        content=_content(objects, sources or {}),
    )
    committed = vault.commit(manifest, lambda _: None)
    return completed(
        Backup(
            id=backup_id,
            target=target,
            kind=TargetKind.BUCKET,
            tiers=(Tier.MANUAL,),
            status=Status.IN_PROGRESS,
            created_at=manifest.created_at,
        ),
        manifest,
        committed,
    )


def _with_facts(entry: Entry, found: Object) -> Entry:
    update: dict[str, Any] = {"object": found.facts}
    if found.facts.unread:
        update["size"] = len(found.body)
    return entry.model_copy(update=update)


def _write_files(
    vault: Vault, target: str, backup_id: str, entries: list[Entry], scratch: Path, entries_in_a_file: int
) -> list[Any]:
    files = []
    for number, some in enumerate(itertools.batched(entries, entries_in_a_file, strict=False)):
        write_lines(some, scratch / "part.jsonl")
        file, _ = vault.write_entries(target, backup_id, [scratch / "part.jsonl"], scratch)
        body = vault.store.get(file.key)
        key = f"{backup_prefix(target, backup_id)}/entries-{number:06d}.jsonl.zst"
        vault.store.put(key, body, sha256=file.sha256)
        vault.store.delete(file.key)
        files.append(file.model_copy(update={"key": key}))
    return files


def _content(objects: Mapping[str, Object], sources: Mapping[str, Mapping[str, Any]]) -> StorageContent:
    sizes: dict[str, list[int]] = defaultdict(list)
    unread = sum(found.facts.unread is not None for found in objects.values())
    for name, found in objects.items():
        sizes[name.partition("/")[0]] += [] if found.facts.unread else [len(found.body)]
    buckets = tuple(
        BucketSummary(name=name, objects=len(sizes[name]), size=sum(sizes[name]), **sources.get(name, {}))
        for name in sorted({*sizes, *sources})
    )
    count = len(objects) - unread
    return StorageContent(buckets=buckets, objects=count, added=count, changed=0, removed=0, unread=unread)
