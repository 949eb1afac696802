"""Peak memory of a copy of a million packs: five backups of 200,000 each, of which a destination has all but 1,000.

Both stores are made up as they are asked: what is measured is the copier's own path, manifests and listings included.
Each backup's manifest names the packs of 40 backups before it, as an incremental one does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from resource import RUSAGE_SELF, getrusage
from typing import Any, Final

from ulid import ULID

from benchmarks.workbench import arguments_of
from coffre.model.backup import Backup, Status, Tier
from coffre.model.errors import ObjectMissingError
from coffre.model.kinds import TargetKind
from coffre.model.manifest import BucketSummary, EntriesFile, Manifest, PackReference, StorageContent
from coffre.operations.copy.copy_backup import CopyJob, copy_backup
from coffre.stores.store import ObjectInfo
from coffre.vault.layout import entries_key, pack_prefix
from coffre.vault.vault import Vault

_BEGAN: Final = datetime(2026, 11, 28, tzinfo=UTC)
_WRITERS: Final = 40
_LACKS_EVERY: Final = 1_000
_BACKUPS: Final = 5


def _body(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest() * 1_000


class _Made:
    """A store whose packs are made of their keys; `lacks` every thousandth of them. What is written is kept."""

    def __init__(self, keys: list[str], each: int, *, lacks: bool) -> None:
        self.folders = keys
        self.each = each
        self.lacks = lacks
        self.kept: dict[str, bytes] = {}
        self.requests = 0

    def _packs(self) -> Iterator[str]:
        for folder in self.folders:
            for number in range(self.each):
                key = f"{folder}-{number:08x}"
                if key in self.kept or not self.lacks or number % _LACKS_EVERY:
                    yield key

    def put(self, key: str, body: bytes, **_: Any) -> None:
        self.requests += 1
        self.kept[key] = body

    def get(self, key: str, **_: Any) -> bytes:
        self.requests += 1
        if key in self.kept:
            return self.kept[key]
        if "/packs/" in key and not self.lacks:
            return _body(key)
        raise ObjectMissingError(f"{key} is missing.")

    def head(self, key: str) -> ObjectInfo:
        body = self.get(key)
        return ObjectInfo(key, len(body), hashlib.sha256(body).hexdigest())

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        self.requests += 1
        if "/packs/" in prefix:
            for number, key in enumerate(key for key in self._packs() if key.startswith(prefix)):
                self.requests += number % 1_000 == 999
                yield ObjectInfo(key, 32_000)
        else:
            yield from (ObjectInfo(key, len(body)) for key, body in sorted(self.kept.items()) if key.startswith(prefix))


def main() -> None:
    """Copy, and print the peak."""
    arguments = arguments_of(__doc__).parse_args()
    each = max(int(200_000 * arguments.scale) // _WRITERS, 1)
    baseline = getrusage(RUSAGE_SELF).ru_maxrss
    for number in range(_BACKUPS):
        ids = [str(ULID.from_datetime(_BEGAN + timedelta(days=number * 100 + day))) for day in range(_WRITERS)]
        folders = [pack_prefix(one, 1) for one in ids]
        source, there = _Made(folders, each, lacks=False), _Made(folders, each, lacks=True)
        backup = _backup(source, ids[-1])
        sent = copy_backup(
            CopyJob(Vault(source), Vault(there), backup, "there")  # type: ignore[arg-type]  # as much of a store as it needs
        )
        assert sent.is_whole
        peak = getrusage(RUSAGE_SELF).ru_maxrss / 1024
        told: dict[str, Any] = {"packs": (number + 1) * each * _WRITERS, "sent": sent.packs, "peak_mb": round(peak)}
        print(json.dumps(told | {"before_mb": round(baseline / 1024), "requests": there.requests}), flush=True)


def _backup(source: _Made, backup_id: str) -> Backup:
    entries = b"entries"
    key = entries_key("files", backup_id)
    source.kept[key] = entries
    file = EntriesFile(key=key, sha256=hashlib.sha256(entries).hexdigest(), length=len(entries), count=1)
    manifest = Manifest(
        backup_id=backup_id,
        target="files",
        kind=TargetKind.BUCKET,
        tiers=(Tier.DAILY,),
        created_at=_BEGAN,
        completed_at=_BEGAN,
        encryption="none",
        entries=(file,),
        packs=(),
        plaintext_bytes=1,
        stored_bytes=1,
        rows=0,
        content=StorageContent(
            buckets=(BucketSummary(name="files", objects=1, size=1),), objects=1, added=1, changed=0, removed=0
        ),
    )
    head, _, tail = manifest.model_dump_json(indent=1).partition('"packs": []')
    records = ",\n".join(_record(key) for key in source._packs())
    body = f'{head}"packs": [\n{records}\n ]{tail}'.encode()
    where = f"v1/backups/files/{backup_id}/manifest.json"
    source.kept[where] = body
    return Backup(
        id=backup_id,
        target="files",
        tiers=(Tier.DAILY,),
        status=Status.COMPLETED,
        created_at=_BEGAN,
        manifest_key=where,
        manifest_sha256=hashlib.sha256(body).hexdigest(),
    )


def _record(key: str) -> str:
    sha256 = hashlib.sha256(_body(key)).hexdigest()
    return PackReference(key=key, length=32_000, sha256=sha256, live_bytes=32_000).model_dump_json(exclude_none=True)


if __name__ == "__main__":
    main()
