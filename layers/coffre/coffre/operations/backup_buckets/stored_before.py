"""What is stored of the buckets: by the previous backup, and by runs since then that did not finish (ADR 51)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from coffre.model.errors import IntegrityError, StoreError
from coffre.model.manifest import EntriesFile, Entry, Manifest, PackReference
from coffre.operations.backup_buckets.job import BucketBackupJob
from coffre.operations.runs.unfinished_runs import read_runs
from coffre.operations.stored_backup.open_backup import manifest_of
from coffre.vault.bucket_progress import EarlierRun, RecordNames
from coffre.vault.entry_lines import read_lines
from coffre.vault.history import Unfinished, newest_usable, usable_packs


@dataclass(frozen=True)
class PreviousBackup:
    """The previous backup: its packs that may be referenced, and a note about it.

    `turn` is this backup's number among those that share the comparison of attributes. `lists` are the lists of entries
    that were read until now and are as they were recorded, by SHA-256: the new backup may point at them.
    """

    manifest: Manifest | None = None
    packs: dict[str, PackReference] = field(default_factory=dict)
    note: str | None = None
    lists: dict[str, EntriesFile] = field(default_factory=dict)

    def note_list(self, file: EntriesFile) -> None:
        """Take a list of entries that was read."""
        if file.key in self.packs:
            self.lists[file.sha256] = file

    @property
    def turn(self) -> int:
        return self.manifest.storage.compare_turn + 1 if self.manifest else 0


@dataclass(frozen=True)
class StoredSince:
    """What runs since the previous backup have stored that did not finish.

    `packs` are those that the previous backup does not have. `usable` are all that an entry may point at.
    """

    runs: tuple[Unfinished, ...] = ()
    packs: Mapping[str, PackReference] = field(default_factory=dict)
    usable: Mapping[str, PackReference] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def entries(self, after: str, end: str | None) -> Iterator[Entry]:
        """Yield the newest usable entry of each name after one and up to another, sorted."""
        for entry in newest_usable([read_lines(run.entries) for run in self.runs], self.usable, after):
            if end is not None and entry.name > end:
                return
            if entry.name > after:
                yield entry

    @property
    def index(self) -> tuple[EarlierRun, ...]:
        """Where the records are, for further invocations."""
        return tuple(
            EarlierRun(
                id=run.backup_id,
                records=tuple(
                    RecordNames(number=number, first=first, last=last)
                    for number, (first, last) in sorted(run.names.items())
                ),
            )
            for run in self.runs
        )


NOTHING_STORED = StoredSince()


def open_previous(job: BucketBackupJob) -> PreviousBackup:
    """Return the previous backup. If it cannot be used, everything is stored again, and the note says why."""
    previous = job.previous
    if previous is None or previous.manifest_key is None or previous.manifest_sha256 is None:
        return PreviousBackup()
    try:
        manifest = manifest_of(job.vault, previous)
        if set(manifest.recipients) != set(job.recipients):
            return PreviousBackup(note="The recipients changed: everything was stored again.")
        return PreviousBackup(manifest, usable_packs(job.vault, manifest)[0])
    except (IntegrityError, StoreError) as error:
        if error.code == "STORE_DENIED":  # which is no damage: each backup would store everything again
            raise
        return PreviousBackup(note=damaged(previous.id, error))


def open_stored(job: BucketBackupJob, past: PreviousBackup) -> StoredSince:
    """Read what unfinished runs have stored. What cannot be used is stored again, and a note says why."""
    read = [run for run in job.unfinished if run.records]
    if not read:  # the packs of the previous backup are listed already
        return NOTHING_STORED
    scratch = job.scratch / "unfinished"
    scratch.mkdir(exist_ok=True)
    try:
        runs, notes = read_runs(job.vault, read, job.recipients, scratch)
        packs, named_by = usable_packs(job.vault, past.manifest, runs)
    except (StoreError, IntegrityError, OSError) as error:
        shutil.rmtree(scratch)
        return replace(NOTHING_STORED, notes=(f"What unfinished runs have stored was stored again: {_why(error)}",))
    return StoredSince(tuple(runs), {key: packs[key] for key in named_by}, packs, notes)


def _why(error: StoreError | IntegrityError | OSError) -> str:
    if isinstance(error, OSError):
        return f"the scratch space has no room for its list ({error.strerror}); RepositoryStorageSize is its size."
    return error.message


def damaged(backup_id: str, error: IntegrityError | StoreError) -> str:
    """Return the note on a previous backup that cannot be used any more."""
    return f"The previous backup {backup_id} is damaged, its objects were stored again: {error.message}"
