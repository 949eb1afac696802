"""What the work of a job gets to know about its own run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from coffre.model.backup import Backup, Tier
from coffre.operations.runs.progress import Meter
from coffre.operations.runs.watchdog import Watch
from coffre.vault.vault import Committed


@dataclass(frozen=True)
class Run:
    """What the work gets to know about its own run.

    `ready_to_commit` is called before the manifest is made: it raises when this run may not publish any more
    (`LockLostError`, `CatalogError`), and returns the tiers that the backup carries by now. `announce` is called right
    before the manifest is written, with its key and SHA-256.
    """

    backup: Backup
    meter: Meter
    watch: Watch
    ready_to_commit: Callable[[], tuple[Tier, ...]]
    announce: Callable[[Committed], None]


@dataclass(frozen=True)
class Paused:
    """The work is not finished, and how far it came is written down.

    `go_on` starts the next invocation; `invocations` counts those that there were.
    """

    invocations: int
    go_on: Callable[[], None]
