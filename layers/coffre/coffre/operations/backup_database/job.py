"""What a database backup needs, and its plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from coffre.model.backup import Backup
from coffre.model.database_target import DatabaseTarget
from coffre.model.manifest import JournalBase, RelationName, SequenceValue
from coffre.model.points import PartOf
from coffre.operations.runs.parallel_map import Runner
from coffre.operations.runs.part_recorder import PartRecorder
from coffre.operations.runs.run import Run, Spread
from coffre.operations.runs.unfinished_runs import UnfinishedRun
from coffre.policy.slicing import Part, TableExtent
from coffre.policy.spread import Shape
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.client_tools import Children, PostgresTools
from coffre.postgres.connection.server_facts import ServerFacts
from coffre.vault.codec import FrameEncoder
from coffre.vault.history import History
from coffre.vault.vault import Vault

if TYPE_CHECKING:
    from coffre.postgres.source.snapshot import Holder


@dataclass(frozen=True)
class SnapshotFindings:
    """What the manifest says of other work that was done in the snapshot: a restore point that was begun."""

    exceptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    part_of: PartOf | None = None


@dataclass(frozen=True)
class Division:
    """How a backup is divided among several functions, and why."""

    shape: Shape
    why: str


@dataclass(frozen=True)
class DatabaseBackupJob:
    """What a run needs: where to read, where to write, with what, and how wide.

    `unfinished` are the runs since `previous` that did not finish, the newest first; `recorder` keeps what this run
    stores for the next one, in case it does not finish.
    `in_snapshot` is called once with the backup, its exported snapshot and when that was taken, before the rows are
    read. Without `spreading` this process does all of the work, however long it takes.
    """

    target: DatabaseTarget
    connection: Connection
    tools: PostgresTools
    children: Children
    vault: Vault
    encoder: FrameEncoder
    recipients: tuple[str, ...]
    scratch: Path
    streams: int
    runner: Runner
    now: Callable[[], datetime]
    previous: Backup | None = None
    unfinished: tuple[UnfinishedRun, ...] = ()
    recorder: PartRecorder | None = None
    in_snapshot: Callable[[Backup, str, datetime], SnapshotFindings] | None = None
    spreading: Spreading | None = None


@dataclass(frozen=True)
class Spreading:
    """How several functions can take a backup together.

    `divide` gets the size of the tables and the server's free connections, and says how the work is divided; None: one
    function does it. `hand_over` is called with what is planned, while the holder has its snapshot.
    """

    divide: Callable[[int, int], Division | None]
    hand_over: Callable[[DatabaseBackupJob, BackupPlan, Run, Holder], Spread]


@dataclass(frozen=True)
class BackupPlan:
    """What will be read, in which snapshot, and what may be stored already.

    `division` says that several functions take the backup. `roots` are the tables through which rows of partitions have
    to be loaded, by the partition's oid. `taken_at` is when the snapshot was taken, before the plan was made.
    """

    backup: Backup
    snapshot: str
    facts: ServerFacts
    client_version: str
    tables: tuple[TableExtent, ...]
    tables_without_rows: tuple[TableExtent, ...]
    roots: Mapping[int, RelationName]
    sequences: tuple[SequenceValue, ...]
    materialized_views: tuple[RelationName, ...]
    schema_archive: Path
    roles: bytes | None
    parts: tuple[Part, ...]
    history: History
    part_of: PartOf | None = None
    exceptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    division: Division | None = None
    journal: JournalBase | None = None
    taken_at: datetime | None = None
