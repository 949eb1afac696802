"""Before a destination in use is replaced: a backup of what it holds, into a vault that the person names."""

from __future__ import annotations

import os
import threading
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ulid import ULID

from coffre.buckets.client import make_bucket_client
from coffre.buckets.open_reader import open_reader
from coffre.buckets.writer import BucketWriter
from coffre.model.backup import Backup, Status, Tier
from coffre.model.bucket_target import BucketSource, BucketTarget
from coffre.model.database_target import DatabaseTarget
from coffre.model.kinds import Mode, TargetKind
from coffre.model.recovery import Recovery, Step, StepKind, StepState
from coffre.model.restore import Scope
from coffre.model.storage import StorageScope
from coffre.operations.backup_buckets.backup import backup_buckets
from coffre.operations.backup_buckets.job import WORKERS, BucketBackupJob
from coffre.operations.restore_buckets.safety import Stake, is_in_use, stakes_of
from coffre.operations.runs.parallel_map import ThreadRunner
from coffre.operations.runs.run import Paused, Run, Spread
from coffre.operations.stored_backup.open_backup import open_manifest
from coffre.operations.stored_backup.vault_backups import VaultBackups
from coffre.runtime.function import utc_now
from coffre.runtime.scratch import scratch_directory
from coffre.vault.codec import FrameEncoder
from coffre.vault.vault import Committed, Vault
from coffre_cli.client_programs import find_tools
from coffre_cli.commands.backups.backup_alone import NEVER_OVER, RunAlone, watched_alone
from coffre_cli.commands.recover.destinations import bucket_place_of, connection_of
from coffre_cli.commands.restore.without_stack import store_of
from coffre_cli.server_programs import HOME_VARIABLE
from coffre_cli.standalone import open_store
from coffre_cli.vault_choice import VaultChoice

if TYPE_CHECKING:
    from coffre.model.manifest import Manifest
    from coffre_cli.commands.recover.recovery_run import Run as RecoveryRun
    from coffre_cli.standalone import StandaloneVault

# The SAFETY step has taken the backup; what the server refuses is listed, as in a new database.
REPLACE: Final = Scope(replace=True, no_safety=True, accept_exceptions=True)


def overwriting(step: Step) -> StorageScope:
    """Return the scope of objects that overwrite what differs."""
    where = bucket_place_of(step.target, step.reference)
    return StorageScope(to=where.to, mode=Mode.OVERWRITE, no_safety=True)


def needs_safety(step: Step) -> bool:
    """Return whether a backup has to hold what a step replaces; a directory is kept under another name."""
    if not step.replaces:
        return False
    return step.kind is StepKind.DATABASE or bucket_place_of(step.target, step.reference).directory is None


def safety_step(step: Step) -> Step:
    """Return the step that backs up what another one replaces. It names the backup that is restored: for its keys."""
    return Step(
        name=f"back up the destination of {step.target}",
        kind=StepKind.SAFETY,
        target=step.target,
        backup_id=step.backup_id,
        manifest_sha256=step.manifest_sha256,
        destination=step.destination,
        reference=step.reference,
        store=step.store,
        replaces=True,
    )


def back_up_destination(recovery: Recovery, run: RecoveryRun, step: Step) -> Step:
    """Take the backup, for the same keys as the backup that is restored; raises what taking it raises."""
    address = recovery.safety or ""
    recipients = open_manifest(run.place.vault, run.backup_of(step)).recipients
    vault = Vault(open_store(VaultChoice(address)))
    is_database = next(one for one in recovery.steps if one.target == step.target and one.kind in _KINDS).kind
    if is_database is StepKind.DATABASE:
        made = _of_database(vault, step, recipients, quiet=run.quiet)
        how = f"restore database {made.id} --to env:DESTINATION"
    else:
        made = _of_buckets(run.place, vault, step, recipients, quiet=run.quiet)
        how = f"restore objects {made.id} --mode overwrite"
    note = f"What {step.destination} held is the backup {made.id}: coffre --vault {address} --identity FILE {how}"
    done = {"state": StepState.DONE, "rows": made.rows, "objects": made.objects, "notes": (note,)}
    lacks = tuple(f"The backup of what {step.destination} held lacks: {one}" for one in made.exceptions)
    return step.model_copy(update={**done, "restored_bytes": made.plaintext_bytes, "exceptions": lacks})


_KINDS: Final = (StepKind.DATABASE, StepKind.BUCKET)


def stakes_in_use(place: StandaloneVault, step: Step) -> list[Stake]:
    """Return what of the destination's buckets holds objects."""
    store, credentials = store_of(step.store)
    manifest = open_manifest(place.vault, place.catalog.get_backup(step.backup_id))
    with closing(make_bucket_client(store, credentials)) as client:

        def opened(name: str) -> BucketWriter:
            return BucketWriter(client, name, is_aws=store.endpoint is None)

        return [one for one in stakes_of(manifest, overwriting(step)) if is_in_use(opened(one.bucket), one)]


def _begun(step: Step, kind: TargetKind) -> Backup:
    now = datetime.now(UTC)
    return Backup(
        id=str(ULID.from_datetime(now)),
        target=step.target,
        kind=kind,
        tiers=(Tier.SAFETY,),
        status=Status.IN_PROGRESS,
        created_at=now,
        started_at=now,
        heartbeat_at=now,
    )


def _previous(vault: Vault, target: str) -> Backup | None:
    """Return a backup whose bytes need not be stored again."""
    backups = VaultBackups(vault)
    return backups.latest_completed(target, damaged_too=True) if target in backups.targets else None


def _of_database(vault: Vault, step: Step, recipients: tuple[str, ...], *, quiet: bool) -> Backup:
    record = _begun(step, TargetKind.DATABASE)
    target = DatabaseTarget(name=step.target, secret="-")  # noqa: S106 - no secret: the address is known
    connection = connection_of(step.target, step.reference)
    home = os.environ.get(HOME_VARIABLE)
    tools = find_tools(Path(home) if home else None)
    run = RunAlone(record, recipients, target, connection, tools, vault, _previous(vault, step.target))
    return run.back_up(quiet=quiet)


def _of_buckets(
    place: StandaloneVault, vault: Vault, step: Step, recipients: tuple[str, ...], *, quiet: bool
) -> Backup:
    store, credentials = store_of(step.store)
    starts: dict[str, list[str]] = {}
    for one in stakes_in_use(place, step):
        starts.setdefault(one.bucket, []).append(one.start)
    sources = tuple(
        BucketSource(name=name, prefixes=() if "" in found else tuple(found)) for name, found in starts.items()
    )
    target = BucketTarget(name=step.target, kind=TargetKind.BUCKET, store=store, buckets=sources)
    record, stopping = _begun(step, TargetKind.BUCKET), threading.Event()

    def work(run: Run) -> tuple[Manifest, Committed]:
        with scratch_directory() as scratch, open_reader(target, credentials, stopping=stopping) as reader:
            job = BucketBackupJob(
                target=target,
                reader=reader,
                vault=vault,
                encoder=FrameEncoder(recipients, level=target.limits.compression_level),
                recipients=recipients,
                scratch=scratch,
                runner=ThreadRunner(WORKERS, stopping.set),
                now=utc_now,
                remaining_seconds=lambda: NEVER_OVER,
                start_next=lambda _: None,
                previous=_previous(vault, step.target),
            )
            done = backup_buckets(job, run)
        assert not isinstance(done, Paused | Spread)  # noqa: S101 - here neither time nor a machine ends it
        return done

    return watched_alone(record, stopping.set, work, quiet=quiet)
