"""What the steps of a spread backup of buckets have in common: the run that they belong to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup
from coffre.operations.backup_buckets.job import BucketBackupJob
from coffre.operations.backup_buckets.spread.plan_files import RangesHeader

# A worker without a heartbeat for this long is taken for dead, when workers are counted.
SILENT_AFTER: Final = timedelta(seconds=60)
# Between two rounds, and while an account has no function free, no step of a run lives. Step Functions says when a run
# ends in another way, so its lock and its record need not show it within seconds.
AHEAD: Final = timedelta(minutes=10)


@dataclass(frozen=True)
class RangeStep:
    """One step of a run: `job` reads and stores, `header` is the plan's. `attempt` names this invocation."""

    job: BucketBackupJob
    header: RangesHeader
    backup: Backup
    catalog: Catalog
    attempt: str
