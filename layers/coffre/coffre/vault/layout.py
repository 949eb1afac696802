"""Which keys of a vault are Coffre's own (docs/format/v1.md), told by their exact form: everything else is foreign."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

BACKUPS: Final = "v1/backups/"
PACKS: Final = "v1/packs/"
RESTORES: Final = "v1/restores/"
SCRATCH: Final = "scratch/"
MANIFEST: Final = "manifest.json"

_ID: Final = r"[0-7][0-9A-HJKMNP-TV-Z]{25}"
_FOLDER: Final = re.compile(rf"{BACKUPS}([a-z0-9][a-z0-9-]{{0,62}})/({_ID})/(.+)", re.DOTALL)
_RECORD: Final = re.compile(
    r"manifest\.json|entries(?:-\d{6})?\.jsonl\.zst|progress\.json|marks/tier-[A-Z]+\.json|marks/pin\.json|reports/[A-Za-z0-9][A-Za-z0-9._-]*"
)
_PACK: Final = re.compile(rf"{PACKS}({_ID})/\d{{6}}-[0-9a-f]{{8}}-\d{{4,}}")
_RESTORE: Final = re.compile(rf"{RESTORES}{_ID}(?:\.json|\.state\.json|\.(?:names|failed)-\d{{6}}\.jsonl\.zst)")
_SCRATCH: Final = re.compile(rf"{SCRATCH}({_ID})/.+", re.DOTALL)


@dataclass(frozen=True, slots=True)
class RecordKey:
    """The key of one record of one backup: `name` is `manifest.json`, `marks/pin.json` ..."""

    target: str
    backup_id: str
    name: str


def folder_of(key: str) -> tuple[str, str] | None:
    """Return the target and the id of the backup below whose folder a key is, whatever it is of."""
    found = _FOLDER.fullmatch(key)
    return (found[1], found[2]) if found else None


def record_of(key: str) -> RecordKey | None:
    """Return what record of which backup has this key, or None when it is not Coffre's."""
    found = _FOLDER.fullmatch(key)
    if found is None or not _RECORD.fullmatch(found[3]):
        return None
    return RecordKey(found[1], found[2], found[3])


def writer_of(key: str) -> str | None:
    """Return the id of the backup that wrote the pack of this key, or None when it is no pack's."""
    found = _PACK.fullmatch(key)
    return found[1] if found else None


def is_restore_report(key: str) -> bool:
    """Tell whether a key is that of a restore's report, or of what it needs meanwhile."""
    return _RESTORE.fullmatch(key) is not None


def drill_of(key: str) -> str | None:
    """Return the id of the drill that has objects below this key for a while, or None when it is no such key."""
    found = _SCRATCH.fullmatch(key)
    return found[1] if found else None
