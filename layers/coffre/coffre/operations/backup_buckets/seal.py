"""The seal of a bucket backup: the last list of entries, then the manifest, which commits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from coffre.model.manifest import BucketSummary, Manifest, StorageContent
from coffre.model.points import ManifestPoint, PointCounts
from coffre.model.words import counted
from coffre.operations.backup_buckets.assemble import Collector, missing_of, notes_of, requests_of
from coffre.operations.backup_buckets.job import BucketBackupJob
from coffre.operations.backup_buckets.stored_before import PreviousBackup
from coffre.operations.runs.locked_backup import secure
from coffre.operations.runs.run import Run
from coffre.operations.runs.unfinished_runs import stored_before
from coffre.vault.entries import referenced
from coffre.vault.entry_files import lists_apart, lists_as_packs
from coffre.vault.layout import writer_of
from coffre.vault.vault import Committed


def seal(
    job: BucketBackupJob, run: Run, collector: Collector, past: PreviousBackup, notes: list[str]
) -> tuple[Manifest, Committed]:
    """Write the remaining entries, then the manifest."""
    collector.close()
    collector.refuse_denied()
    backup, tally = run.backup, collector.tally
    files = tuple(collector.files.files)
    live = {**tally.live_bytes, **lists_as_packs(files)}
    packs = referenced(live, {**past.packs, **collector.packs})
    own = sum(pack.length for pack in collector.own_packs)
    content = _content(job, collector, past)
    apart = lists_apart(files)
    secured = secure(job.vault, job.target, run, apart, packs, job.now())
    manifest = Manifest(
        backup_id=backup.id,
        target=backup.target,
        kind=backup.kind,
        tiers=secured.tiers,
        created_at=backup.created_at,
        expires_at=backup.expires_at,
        completed_at=job.now(),
        encryption="age" if job.encoder.encrypts else "none",
        recipients=job.recipients,
        entries=files,
        packs=secured.packs,
        locked_until=secured.locked_until,
        point=_point(job, collector),
        plaintext_bytes=sum(tally.sizes.values()),
        stored_bytes=own + sum(file.length for file in apart),
        rows=0,
        content=content,
        exceptions=(*_counted(missing_of(job)), *tally.unread.sentences()),
        notes=(*_stored_before(job, collector), *_counted(notes_of(job, [*notes, *_uncompared(job, collector)]))),
    )
    return manifest, job.vault.commit(manifest, run.announce)


def _point(job: BucketBackupJob, collector: Collector) -> ManifestPoint | None:
    if job.point is None:
        return None
    tally, part_of = collector.tally, job.point.part_of
    counts = PointCounts(
        references=tally.references, dangling=tally.dangling, replaced=tally.replaced, orphans=tally.orphans
    )
    return ManifestPoint(name=part_of.name, id=part_of.id, counts=counts if job.point.references else None)


def _content(job: BucketBackupJob, collector: Collector, past: PreviousBackup) -> StorageContent:
    tally, store, begun = collector.tally, job.target.store, job.begun
    stored = len(collector.own_packs) + len(lists_apart(collector.files.files))
    return StorageContent(
        endpoint=store.endpoint,
        region=job.reader.region,
        buckets=tuple(
            BucketSummary(
                name=source.name,
                prefixes=source.prefixes,
                include=source.include,
                exclude=source.exclude,
                objects=tally.objects[source.name],
                size=tally.sizes[source.name],
            )
            for source in job.target.buckets
        ),
        objects=sum(tally.objects.values()),
        added=tally.added,
        changed=tally.changed,
        removed=tally.removed,
        unread=tally.unread.count,
        previous=past.manifest.backup_id if past.manifest else None,
        invocations=(begun.invocations if begun else 0) + 1,
        requests={**requests_of(job), "put": stored + 1},
        compared=tally.compared,
        attributes_changed=tally.attributes_changed,
        compare_turn=past.turn,
    )


def _stored_before(job: BucketBackupJob, collector: Collector) -> tuple[str, ...]:
    writers = {key: writer for key in collector.packs if (writer := writer_of(key)) is not None}
    return stored_before(job.unfinished, collector.tally.live_bytes, writers)


def _counted(texts: Mapping[str, int]) -> Iterator[str]:
    for text, count in sorted(texts.items()):
        yield f"{text} ({count:,} times)" if count > 1 else text


def _uncompared(job: BucketBackupJob, collector: Collector) -> Iterator[str]:
    """Yield a note about attributes that were not compared: the listing does not show them."""
    count = collector.tally.uncompared
    if not count:
        return
    if job.target.attributes == "compare":
        yield (
            f"The tags and grants of {counted(collector.tally.compared, 'unchanged object')} were compared; those of "
            f"{count:,} others are compared in later backups (attributes_every)."
        )
        return
    yield (
        f"Tags and grants of {counted(count, 'unchanged object')} were not compared: a listing does not show whether "
        'they changed. To compare them: "attributes": "compare" (docs/storage.md).'
    )
