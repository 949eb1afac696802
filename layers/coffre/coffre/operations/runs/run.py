"""What a job gets from the run that it is part of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from coffre.model.backup import Backup, Tier
from coffre.operations.runs.heartbeat import Watch
from coffre.operations.runs.progress import Meter
from coffre.vault.vault import Committed

# Lambda starts an asynchronous event within a second, or later if all the account's functions are busy.
HAND_OVER_WITHIN: Final = timedelta(minutes=15)


@dataclass(frozen=True)
class Run:
    """What a job gets from its run.

    `ready_to_commit` is called before the manifest is made. It raises if this run may not publish any more
    (`LockLostError`, `CatalogError`), and returns the tiers that the backup has by now. `announce` is called right
    before the manifest is written, with its key and SHA-256. `recorded` is called with the number and the SHA-256 of
    each record of what is stored until then; None: the run leaves none, since nothing would vouch for them.
    """

    backup: Backup
    meter: Meter
    watch: Watch
    ready_to_commit: Callable[[], tuple[Tier, ...]]
    announce: Callable[[Committed], None]
    recorded: Callable[[int, str], None] | None = None


@dataclass(frozen=True)
class Paused:
    """The work is not finished, and its progress is stored.

    `start_next` starts the next invocation; `invocations` is the number of those until now.
    """

    invocations: int
    start_next: Callable[[], None]


@dataclass(frozen=True)
class Spread:
    """The work is done by several invocations now, which keep the lock and the record alive. `why` is for a person.

    `ahead`: for this long the run counts as alive, until the first of them has begun.
    """

    why: str
    ahead: timedelta | None = None
