"""The keys of a vault (docs/format/v1.md): the one place that makes them, and that recognizes Coffre's own.

A key is Coffre's by its exact form; every other object in a vault is foreign.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

BACKUPS: Final = "v1/backups/"
PACKS: Final = "v1/packs/"
RESTORES: Final = "v1/restores/"
ANCHORS: Final = "v1/audit/anchors/"
CONFIGURATIONS: Final = "v1/configuration/"
REPORTS: Final = "v1/reports/"
POINTS: Final = "v1/points/"
JOURNAL: Final = "v1/journal/"
SCRATCH: Final = "scratch/"
MANIFEST: Final = "manifest.json"

_ID: Final = r"[0-7][0-9A-HJKMNP-TV-Z]{25}"
_FOLDER: Final = re.compile(rf"{BACKUPS}([a-z0-9][a-z0-9-]{{0,62}})/({_ID})/(.+)", re.DOTALL)
_RECORD: Final = re.compile(
    r"manifest\.json|entries(?:-\d{6})?\.jsonl\.zst|progress\.json|parts/\d{6,}\.jsonl\.zst|plan/(?:plan\.json|groups\.jsonl|ranges-\d{6}\.jsonl|parts\.jsonl\.zst|tables\.json\.zst)|marks/tier-[A-Z]+\.json|marks/pin\.json|marks/(?:hold|verified)-[0-7][0-9A-HJKMNP-TV-Z]{25}\.json|reports/[A-Za-z0-9][A-Za-z0-9._-]*"
)
_PART: Final = re.compile(r"/parts/(\d{6,})\.jsonl\.zst$")
_PACK: Final = re.compile(
    rf"{PACKS}({_ID})/(?:\d{{6}}-[0-9a-f]{{8}}-\d{{4,}}|entries-[0-9a-f]{{8}}-\d{{4,}}\.jsonl\.zst)"
)
_RESTORE: Final = re.compile(rf"{RESTORES}{_ID}(?:\.json|\.state\.json|\.(?:names|failed)-\d{{6}}\.jsonl\.zst)")
_ANCHOR: Final = re.compile(rf"{ANCHORS}({_ID})\.json")
_CONFIGURATION: Final = re.compile(rf"{CONFIGURATIONS}\d{{8}}T\d{{6}}Z-[0-9a-f]{{16}}\.json")
_POINT: Final = re.compile(rf"{POINTS}([a-z0-9][a-z0-9-]{{0,62}})/({_ID})(\.json|\.objects-\d{{6}}\.jsonl\.zst)")
_JOURNAL: Final = re.compile(
    rf"{JOURNAL}([a-z0-9][a-z0-9-]{{0,62}})/({_ID})/"
    r"(?:interval\.json|definitions-[0-9a-f]{8}-\d{4,}|end\.json|(\d{8})-([0-9A-F]{16})\.json"
    r"|\d{8}-[0-9a-f]{8}-\d{4,})"
)
_REPORT: Final = re.compile(rf"{REPORTS}\d{{8}}-{_ID}\.(?:html|json)")
_SCRATCH: Final = re.compile(rf"{SCRATCH}({_ID})/.+", re.DOTALL)


@dataclass(frozen=True, slots=True)
class RecordKey:
    """The key of one record of one backup: `name` is `manifest.json`, `marks/pin.json` ..."""

    target: str
    backup_id: str
    name: str


@dataclass(frozen=True, slots=True)
class PointKey:
    """The key of a restore point's seal, or of a list of what its rows refer to."""

    name: str
    id: str
    is_seal: bool


@dataclass(frozen=True, slots=True)
class SegmentKey:
    """The key of the record of a segment of a journal. A segment ends where the next one begins."""

    key: str
    number: int
    from_lsn: int


# --- what is where ---


def backup_prefix(target: str, backup_id: str) -> str:
    """Return the key prefix of one backup's own records, without a slash at its end."""
    return f"{BACKUPS}{target}/{backup_id}"


def manifest_key(target: str, backup_id: str) -> str:
    """Return the key of one backup's manifest."""
    return f"{backup_prefix(target, backup_id)}/{MANIFEST}"


def entries_key(target: str, backup_id: str) -> str:
    """Return the key of a backup's list of entries, if it is the only one."""
    return f"{backup_prefix(target, backup_id)}/entries.jsonl.zst"


def shared_entries_prefix(backup_id: str) -> str:
    """Return how the keys of lists of entries begin that other backups may point at: they are kept as packs are."""
    return f"{PACKS}{backup_id}/entries"


def progress_key(target: str, backup_id: str) -> str:
    """Return the key of the progress of a backup of buckets that takes several invocations."""
    return f"{backup_prefix(target, backup_id)}/progress.json"


def parts_prefix(target: str, backup_id: str) -> str:
    """Return how the keys of the records of a run's finished parts begin."""
    return f"{backup_prefix(target, backup_id)}/parts/"


def part_key(target: str, backup_id: str, number: int) -> str:
    """Return the key of the record of a finished part."""
    return f"{parts_prefix(target, backup_id)}{number:06d}.jsonl.zst"


def part_number(key: str) -> int | None:
    """Return the number of the part whose record has this key, or None when it is no such record's."""
    found = _PART.search(key)
    return int(found[1]) if found else None


def plan_key(target: str, backup_id: str, name: str) -> str:
    """Return the key of a file of the plan of a backup that several functions take together."""
    return f"{backup_prefix(target, backup_id)}/plan/{name}"


def ranges_name(number: int) -> str:
    """Return the name, in a plan, of the list of ranges of names that functions take together in one round."""
    return f"ranges-{number:06d}.jsonl"


def ranges_round(key: str) -> int:
    """Return the number of the round whose list of ranges has this key."""
    return int(key.removesuffix(".jsonl").rpartition("-")[2])


def marks_prefix(target: str, backup_id: str) -> str:
    """Return how the keys of all marks on a backup begin."""
    return f"{backup_prefix(target, backup_id)}/marks/"


def tier_mark_key(target: str, backup_id: str, tier: str) -> str:
    """Return the key of the mark that a backup has one more tier."""
    return f"{marks_prefix(target, backup_id)}tier-{tier}.json"


def pin_mark_key(target: str, backup_id: str) -> str:
    """Return the key of the mark that a backup is pinned, or is not any more."""
    return f"{marks_prefix(target, backup_id)}pin.json"


def hold_mark_key(target: str, backup_id: str, mark_id: str) -> str:
    """Return the key of the mark that a hold on a backup began or ended; marks are never replaced, the last counts."""
    return f"{marks_prefix(target, backup_id)}hold-{mark_id}.json"


def verified_mark_key(target: str, backup_id: str, mark_id: str) -> str:
    """Return the key of the mark that a backup was verified, or does not count as such any more; the last counts."""
    return f"{marks_prefix(target, backup_id)}verified-{mark_id}.json"


def reports_prefix(target: str, backup_id: str) -> str:
    """Return how the keys of all reports about a backup begin."""
    return f"{backup_prefix(target, backup_id)}/reports/"


def damage_prefix(target: str, backup_id: str) -> str:
    """Return how the keys of all findings about a backup begin: `damage-<ULID>.json`, formerly `damage.json`."""
    return f"{reports_prefix(target, backup_id)}damage"


def pack_prefix(backup_id: str, part: int) -> str:
    """Return how the keys of the packs of one part of one backup begin."""
    return f"{PACKS}{backup_id}/{part:06d}"


def restore_report_key(restore_id: str) -> str:
    """Return the key of a restore's report."""
    return f"{RESTORES}{restore_id}.json"


def restore_state_key(restore_id: str) -> str:
    """Return the key of the state of a restore that takes several invocations."""
    return f"{RESTORES}{restore_id}.state.json"


def restore_list_key(restore_id: str, kind: Literal["names", "failed"], number: int) -> str:
    """Return the key of a list that belongs to a restore of objects; `number` begins at 1."""
    return f"{RESTORES}{restore_id}.{kind}-{number:06d}.jsonl.zst"


def anchor_key(anchor_id: str) -> str:
    """Return the key of an anchor of the audit chains."""
    return f"{ANCHORS}{anchor_id}.json"


def configuration_key(at: datetime, sha256: str) -> str:
    """Return the key of a copy of the configuration document; they sort by the time at which it was written."""
    return f"{CONFIGURATIONS}{at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{sha256[:16]}.json"


def report_key(at: datetime, report_id: str, suffix: str) -> str:
    """Return the key of a report about all targets: `html` for people, `json` for programs."""
    return f"{REPORTS}{at.astimezone(UTC):%Y%m%d}-{report_id}.{suffix}"


def point_key(name: str, point_id: str) -> str:
    """Return the key of the seal of a restore point."""
    return f"{POINTS}{name}/{point_id}.json"


def point_list_key(name: str, point_id: str, number: int) -> str:
    """Return the key of a list of the objects that a point's rows refer to; `number` begins at 0."""
    return f"{POINTS}{name}/{point_id}.objects-{number:06d}.jsonl.zst"


def journal_prefix(target: str, interval: str = "") -> str:
    """Return how the keys of a target's journal begin, or of one interval of it."""
    return f"{JOURNAL}{target}/{interval}/" if interval else f"{JOURNAL}{target}/"


def interval_key(target: str, interval: str) -> str:
    """Return the key of the record of an interval."""
    return f"{journal_prefix(target, interval)}interval.json"


def interval_end_key(target: str, interval: str) -> str:
    """Return the key of the record that an interval has ended."""
    return f"{journal_prefix(target, interval)}end.json"


def definitions_prefix(target: str, interval: str) -> str:
    """Return how the keys of the packs with an interval's definitions begin."""
    return f"{journal_prefix(target, interval)}definitions"


def segment_key(target: str, interval: str, number: int, from_lsn: int) -> str:
    """Return the key of the record of a segment.

    The record before it says where it begins, so that two drains which follow the same one write the same key.
    """
    return f"{journal_prefix(target, interval)}{number:08d}-{from_lsn:016X}.json"


def segment_prefix(target: str, interval: str, number: int) -> str:
    """Return how the keys of a segment's packs and of its record begin."""
    return f"{journal_prefix(target, interval)}{number:08d}"


# --- what a key is ---


def folder_of(key: str) -> tuple[str, str] | None:
    """Return the target and the id of the backup below whose folder a key is, Coffre's or not."""
    found = _FOLDER.fullmatch(key)
    return (found[1], found[2]) if found else None


def record_of(key: str) -> RecordKey | None:
    """Return what record of which backup has this key, or None when it is not Coffre's."""
    found = _FOLDER.fullmatch(key)
    if found is None or not _RECORD.fullmatch(found[3]):
        return None
    return RecordKey(found[1], found[2], found[3])


def writer_of(key: str) -> str | None:
    """Return the id of the backup that wrote the pack of this key, or None when it is no pack's.

    Lists of entries that backups share are packs too.
    """
    found = _PACK.fullmatch(key)
    return found[1] if found else None


def is_pack(key: str) -> bool:
    """Return whether a key is that of a pack, or of a list of entries that is kept as packs are."""
    return writer_of(key) is not None


def is_restore_report(key: str) -> bool:
    """Return whether a key is that of a restore's report, or of what it needs meanwhile."""
    return _RESTORE.fullmatch(key) is not None


def is_anchor(key: str) -> bool:
    """Return whether a key is that of an anchor of the audit chains."""
    return _ANCHOR.fullmatch(key) is not None


def is_configuration(key: str) -> bool:
    """Return whether a key is that of a copy of the configuration document."""
    return _CONFIGURATION.fullmatch(key) is not None


def point_of(key: str) -> PointKey | None:
    """Return which restore point a key belongs to, or None when it belongs to none."""
    found = _POINT.fullmatch(key)
    return PointKey(found[1], found[2], found[3] == ".json") if found else None


def interval_of(key: str) -> tuple[str, str] | None:
    """Return the target and the id of the interval of a journal that a key belongs to; None: to none."""
    found = _JOURNAL.fullmatch(key)
    return (found[1], found[2]) if found else None


def journal_part(key: str) -> str:
    """Return what of an interval a key belongs to: `interval`, `definitions`, `end`, or a segment's number."""
    return key.rpartition("/")[2].removesuffix(".json").partition("-")[0]


def segment_of(key: str) -> SegmentKey | None:
    """Return what the key of a segment's record says; None: it is none."""
    found = _JOURNAL.fullmatch(key)
    if found is None or found[3] is None:
        return None
    return SegmentKey(key, int(found[3]), int(found[4], 16))


def is_report(key: str) -> bool:
    """Return whether a key is that of a report about all targets."""
    return _REPORT.fullmatch(key) is not None


def drill_of(key: str) -> str | None:
    """Return the id of the drill that has objects below this key for a while, or None when it is no such key."""
    found = _SCRATCH.fullmatch(key)
    return found[1] if found else None
