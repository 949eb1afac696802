"""Compares tags and grants of objects that a listing shows unchanged with those that the previous backup recorded."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from coffre.buckets.changes import ObjectChange
from coffre.buckets.source import ObjectSource
from coffre.model.manifest import Entry, ObjectFacts
from coffre.operations.backup_buckets.job import BucketPart, BucketTally, ToCompare
from coffre.operations.runs.progress import Meter
from coffre.vault.entries import live_bytes


def compare_attributes(
    reader: ObjectSource, pool: ThreadPoolExecutor, part: BucketPart, tally: BucketTally, meter: Meter
) -> dict[str, Entry]:
    """Return the entries of the objects whose attributes a part compares, by name, and count them.

    Attributes that cannot be read stay as recorded.
    """
    wanted = [item for item in part.items if isinstance(item, ToCompare)]
    entries: dict[str, Entry] = {}
    for item, entry in zip(wanted, pool.map(lambda item: _as_it_is(reader, item), wanted), strict=True):
        is_other = entry != item.previous
        is_changed = is_other and item.change is ObjectChange.UNCHANGED
        tally.count(item.found.bucket, entry.size, ObjectChange.CHANGED if is_changed else item.change)
        tally.compared += 1
        tally.attributes_changed += is_other
        for pack, length in live_bytes(entry):
            tally.live_bytes[pack] += length
        meter.add(size_bytes=entry.size, objects=1)
        entries[item.name] = entry
    return entries


def _as_it_is(reader: ObjectSource, item: ToCompare) -> Entry:
    bucket, key, facts = item.found.bucket, item.found.listed.key, item.previous.object or ObjectFacts()
    found: dict[str, object] = {}
    if not item.only:
        found = {"tags": reader.tags(bucket, key), "acl": reader.acl(bucket, key)}
    elif "tags" in item.only and reader.tells_tags(bucket, key):
        found["tags"] = reader.tags(bucket, key)
    if "acl" in item.only:
        found["acl"] = reader.acl(bucket, key)
    read = {name: value for name, value in found.items() if value is not None}
    read["unknown"] = tuple(name for name in facts.unknown if name not in read)
    return item.previous.model_copy(update={"object": facts.model_copy(update=read)})
