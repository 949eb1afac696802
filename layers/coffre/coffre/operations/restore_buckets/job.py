"""What a restore of objects needs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from coffre.buckets.writer import BucketWriter
from coffre.model.backup import Backup
from coffre.model.confirmation import Plan
from coffre.model.safety import Safety
from coffre.model.storage import StorageScope
from coffre.policy.confirmation import refuse_plan
from coffre.vault.codec import FrameDecoder
from coffre.vault.vault import Vault


@dataclass(frozen=True)
class StorageJob:
    """What a restore of objects needs.

    Parameters
    ----------
    open_bucket
        Returns the bucket of this name at the destination.
    store, store_secret
        How a person calls the destination's store, and the name of the secret that names it, if one does.
    stop
        Set when the run must end immediately.
    remaining_seconds
        Time until the platform kills the function.
    consent
        Gets what would be overwritten or deleted; returns the plan that a person has confirmed, or raises.
    safety
        About the backup of what is overwritten or deleted.
    continues
        Whether another invocation does what this one has no time for.
    """

    restore_id: str
    backup: Backup
    vault: Vault
    decoder: FrameDecoder
    scope: StorageScope
    open_bucket: Callable[[str], BucketWriter]
    store: str
    store_secret: str | None
    streams: int
    scratch: Path
    stop: threading.Event
    remaining_seconds: Callable[[], float]
    consent: Callable[[Plan], Plan] = refuse_plan
    safety: Safety | None = None
    continues: bool = False
