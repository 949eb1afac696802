"""What `coffre show` prints about the source of a backup, and about buckets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coffre.model.kinds import TargetKind
from coffre.model.words import size
from coffre_cli.screen import print_table, say

if TYPE_CHECKING:
    from coffre.model.manifest import Manifest, StorageContent


def source_of(manifest: Manifest) -> str:
    """Return in a few words where a backup was taken from."""
    if manifest.kind is TargetKind.SETTINGS:
        return f"AWS, {manifest.storage.region}: {', '.join(one.name for one in manifest.storage.buckets)}"
    if manifest.kind is TargetKind.REPOSITORY:
        return f"Git: {', '.join(one.name for one in manifest.storage.buckets)}"
    if manifest.kind is TargetKind.BUCKET:
        content = manifest.storage
        where = content.endpoint or f"AWS S3, {content.region}"
        return f"{where}: {', '.join(bucket.name for bucket in content.buckets)}"
    database = manifest.database
    return f"PostgreSQL {database.server_version}, database {database.database}, {database.encoding}"


def show_buckets(content: StorageContent) -> None:
    """Show what a backup has of which bucket, and what it took."""
    since = f" since backup {content.previous}" if content.previous else ""
    say(f"  changes   {content.added:,} added, {content.changed:,} changed, {content.removed:,} removed{since}")
    if content.unread:
        say(f"  unread    {content.unread:,} objects are not in it: see the notes", style="red")
    requests = ", ".join(f"{count:,} {name}" for name, count in content.requests.items())
    invocations = f", in {content.invocations} invocations" if content.invocations > 1 else ""
    say(f"  requests  {requests}{invocations}")
    say(f"  objects   {content.objects:,}")
    rows = (
        [
            bucket.name,
            _chosen(bucket.prefixes, bucket.include, bucket.exclude),
            f"{bucket.objects:,}",
            size(bucket.size),
        ]
        for bucket in content.buckets
    )
    print_table(["BUCKET", "ONLY", "OBJECTS", "SIZE"], rows, right=["OBJECTS", "SIZE"])


def _chosen(prefixes: tuple[str, ...], include: tuple[str, ...], exclude: tuple[str, ...]) -> str:
    return " ".join([*(f"{prefix}**" for prefix in prefixes), *include, *(f"not:{pattern}" for pattern in exclude)])
