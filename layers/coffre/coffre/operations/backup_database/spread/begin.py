"""Begin a spread backup: store what only the planner can read, write the plan, hold the snapshot until others do."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from coffre.catalog.catalog import Catalog
from coffre.catalog.spread import Epoch
from coffre.model.audit import Actor
from coffre.model.errors import ConnectError, DumpTransientError
from coffre.operations.backup_database.backup import store_metadata
from coffre.operations.backup_database.job import BackupPlan, DatabaseBackupJob, Division
from coffre.operations.backup_database.plan import LARGE_OBJECTS_PART, SPREAD_METADATA_PART, open_history_of
from coffre.operations.backup_database.spread.hold import PLANNER
from coffre.operations.backup_database.spread.plan_files import SpreadHeader, StoredPlan, write_plan
from coffre.operations.backup_database.spread.step import SILENT_AFTER
from coffre.operations.backup_database.spread.work import packs_of
from coffre.operations.runs.run import Run, Spread
from coffre.policy.slicing import Part
from coffre.policy.spread import grouped
from coffre.postgres.source.snapshot import Holder
from coffre.postgres.source.snapshot_identity import Identity
from coffre.vault.pack import budget_for, packs_for
from coffre.vault.part_records import write_part

# A state machine starts within seconds, and so do its functions, if the account has room for them.
_TAKE_OVER_SECONDS: Final = 240.0
_LOOK_SECONDS: Final = 0.5
_BEAT_SECONDS: Final = 5.0
_GRACE_SECONDS: Final = 2.0


@dataclass(frozen=True)
class Beginning:
    """What the planner needs to hand its work over.

    `start` starts the state machine: target, id of the backup, the stored plan, number of workers. `actor` asked for
    the backup.
    """

    catalog: Catalog
    start: Callable[[str, str, StoredPlan, int], None]
    actor: Actor
    request_id: str
    pause: Callable[[float], None] = time.sleep


def begin_spread(beginning: Beginning, job: DatabaseBackupJob, plan: BackupPlan, run: Run, holder: Holder) -> Spread:
    """Hand a planned backup over to workers and holders; returns once another one holds the snapshot.

    Raises
    ------
    ConnectError
        `SPREAD_STANDBY`: nothing was stored.
    DumpTransientError
        `SPREAD_NOT_TAKEN_OVER`: no other holder came. And what storing, and starting the machine, raise.
    """
    division, backup, catalog = plan.division, run.backup, beginning.catalog
    if division is None:
        raise ValueError("the plan is not divided")
    identity = holder.identity()
    if identity.is_standby:
        raise _standby(job, division)
    run.meter.begin("schema")
    plan = _stored_metadata(job, plan, run)
    header = _header(job, plan, division, run, identity, beginning)
    stored = write_plan(job.vault, header, plan, _groups(job, plan, division))
    catalog.spread_backup(backup.id, division.why, division.shape.width)
    now = job.now()
    until = now + timedelta(seconds=_TAKE_OVER_SECONDS)
    epoch = Epoch(1, PLANNER, plan.snapshot, until, now)
    catalog.spread.begin_epoch(backup.id, epoch)
    try:
        run.watch.check()
        beginning.start(backup.target, backup.id, stored, division.shape.width)
        run.meter.begin("hand over")
        _wait_for_another(run, holder, job, beginning, epoch)
    finally:
        catalog.spread.end_epoch(backup.id, epoch.number)
    beginning.pause(_GRACE_SECONDS)  # for those who have just read that it lives
    return Spread(division.why)


def _standby(job: DatabaseBackupJob, division: Division) -> ConnectError:
    return ConnectError(
        f"{job.connection} is a standby, and several functions cannot read one snapshot of a standby together.",
        code="SPREAD_STANDBY",
        detail=f"Several functions were to take it: {division.why}",
        hint=f"Nothing was stored. Put the primary server's own address into {job.connection.place}. Or read the "
        "standby in one process: limits.spread: never, or coffre backup database TARGET --here.",
    )


def _stored_metadata(job: DatabaseBackupJob, plan: BackupPlan, run: Run) -> BackupPlan:
    """Store the schema archive and the roles, which are in no file of the plan, and return the plan with its notes."""
    history, notes = open_history_of(job, (), ((SPREAD_METADATA_PART, "roles"),), end="schema\0")
    plan = replace(plan, history=history, notes=(*plan.notes, *notes))
    part = store_metadata(job, plan, budget_for(packs_for(1)), SPREAD_METADATA_PART)
    part = replace(part, packs=packs_of(part, history))
    sha256 = write_part(job.vault, plan.backup.target, plan.backup.id, part, job.recipients)
    if sha256 is not None and run.recorded is not None:
        run.recorded(part.number, sha256)
    return plan


def _groups(job: DatabaseBackupJob, plan: BackupPlan, division: Division) -> list[list[Part]]:
    groups = [list(group) for group in grouped(plan.parts, division.shape.group_bytes)]
    # One stream of a client program: first, since nothing can make it faster.
    return [[Part(LARGE_OBJECTS_PART, (), 0)], *groups] if _has_large_objects(job, plan) else groups


def _has_large_objects(job: DatabaseBackupJob, plan: BackupPlan) -> bool:
    return job.target.contents.has_rows and plan.facts.has_large_objects


def _header(
    job: DatabaseBackupJob, plan: BackupPlan, division: Division, run: Run, identity: Identity, beginning: Beginning
) -> SpreadHeader:
    return SpreadHeader(
        backup_id=run.backup.id,
        target=run.backup.target,
        taken_at=job.now(),
        identity=identity,
        facts=plan.facts,
        total_bytes=sum(table.size_bytes for table in plan.tables),
        total_tables=len(plan.tables),
        previous=job.previous.id if job.previous else None,
        unfinished=tuple(one.backup.id for one in job.unfinished),
        streams=division.shape.streams,
        width=division.shape.width,
        parts=(
            LARGE_OBJECTS_PART if _has_large_objects(job, plan) else SPREAD_METADATA_PART,
            max((part.number for part in plan.parts), default=SPREAD_METADATA_PART),
        ),
        groups=(),
        tables_sha256="",
        why=division.why,
        actor=beginning.actor.name,
        actor_verified=beginning.actor.verified,
        request_id=beginning.request_id,
    )


def _wait_for_another(run: Run, holder: Holder, job: DatabaseBackupJob, beginning: Beginning, epoch: Epoch) -> None:
    beaten = job.now()
    while True:
        run.watch.check()
        now = job.now()
        epochs = beginning.catalog.spread.epochs(run.backup.id)
        if any(one.holder != PLANNER and one.is_alive(now, SILENT_AFTER) for one in epochs):
            return
        if now > epoch.expires_at:
            raise DumpTransientError(
                "The backup was to be taken by several functions together, and none of them took over its snapshot.",
                code="SPREAD_NOT_TAKEN_OVER",
                hint="Nothing was published. Look at the execution of the state machine in Step Functions: an account "
                "whose concurrency is used up starts no function (a new account has 10). Run the backup again, or set "
                "limits.spread to never.",
            )
        if now - beaten > timedelta(seconds=_BEAT_SECONDS):
            holder.keep_alive()
            beginning.catalog.spread.keep_epoch(run.backup.id, epoch.number, now)
            beaten = now
        beginning.pause(_LOOK_SECONDS)
