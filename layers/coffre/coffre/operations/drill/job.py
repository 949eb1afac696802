"""What a drill of a database needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from coffre.model.backup import Backup, Progress
from coffre.model.drill_options import Drill
from coffre.model.drill_report import DrillState
from coffre.model.journal import JournalState
from coffre.model.journal_proof import JournalProof
from coffre.operations.runs.heartbeat import Watch
from coffre.operations.runs.parallel_map import Runner
from coffre.postgres.connection.client_tools import Children, PostgresTools
from coffre.vault.codec import FrameDecoder
from coffre.vault.vault import Vault

if TYPE_CHECKING:
    from coffre.postgres.scratch.given_server import GivenServer


@dataclass(frozen=True)
class Proving:
    """What is known of a target's journal, for its proof.

    `backups` returns the target's completed ones, `state` is that of the catalog, `before` has earlier proofs, the
    newest first.
    """

    backups: Callable[[], Sequence[Backup]]
    state: JournalState | None = None
    before: tuple[JournalProof, ...] = ()


@dataclass(frozen=True)
class DrillJob:
    """What a drill needs.

    Parameters
    ----------
    settings
        The target's own: checks, limits.
    scratch
        A directory for the schema archive.
    look_again
        Returns the backup's record as it is now.
    state
        How far earlier invocations of the drill came.
    given
        The server to restore into, if it is not one of the drill's own.
    watched
        Gets the watch of the drill before it begins.
    proving
        For the proof of the target's journal; None: it is not proven.
    beat
        Gets the heartbeats; raises `RunCancelledError` when the drill has to end.
    """

    id: str
    backup: Backup
    settings: Drill
    tools: PostgresTools
    children: Children
    vault: Vault
    decoder: FrameDecoder
    scratch: Path
    streams: int
    runner: Runner
    now: Callable[[], datetime]
    remaining_seconds: Callable[[], float]
    look_again: Callable[[], Backup]
    request_id: str | None = None
    state: DrillState | None = None
    given: GivenServer | None = None
    proving: Proving | None = None
    watched: Callable[[Watch], None] = lambda _: None
    beat: Callable[[Progress], None] = lambda _: None
