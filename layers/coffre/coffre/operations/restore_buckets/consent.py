"""What a restore of objects would overwrite, whether that is confirmed, and a limit for what it may change."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from coffre.model.confirmation import Act, Facts, Overwritten, Plan, Request, Seen
from coffre.model.errors import RestoreError
from coffre.model.storage import StorageOutcome, StorageResult
from coffre.vault.object_restores import read_names

if TYPE_CHECKING:
    from coffre.buckets.writer import BucketWriter
    from coffre.operations.restore_buckets.job import StorageJob

# Objects come and go while a person reads a plan.
_MORE_OBJECTS: Final = 10
_MORE_SHARE: Final = 10

type OpenBucket = Callable[[str], BucketWriter]


class ChangeAllowance:
    """How many objects may still be overwritten or deleted: those of the plan, and some more. Used by several threads.

    Parameters
    ----------
    confirmed
        The numbers that were confirmed; none: nothing may change.
    done
        What earlier invocations have done.
    """

    def __init__(
        self, confirmed: Mapping[StorageOutcome, int] | None = None, done: StorageResult | None = None
    ) -> None:
        confirmed = confirmed or {}
        self._most = {kind: count + max(_MORE_OBJECTS, count // _MORE_SHARE) for kind, count in confirmed.items()}
        self._confirmed = confirmed
        self._taken = {kind: getattr(done, kind.value).count if done else 0 for kind in confirmed}
        self._lock = threading.Lock()

    def take(self, kind: StorageOutcome) -> None:
        """Take one change.

        Raises
        ------
        RestoreError
            `DESTINATION_CHANGED`: many more would change than a person has confirmed.
        """
        with self._lock:
            if self._taken.get(kind, 0) >= self._most.get(kind, 0):
                raise RestoreError(
                    f"The restore stopped before more objects were {kind} than were confirmed "
                    f"({self._confirmed.get(kind, 0):,}): the destination has changed since the plan.",
                    code="DESTINATION_CHANGED",
                    hint="What is restored so far stays. Look at the destination, and run the restore again: its plan "
                    "has the new numbers.",
                )
            self._taken[kind] = self._taken.get(kind, 0) + 1


def plan_of(job: StorageJob, buckets: Iterable[str], open_bucket: OpenBucket, result: StorageResult) -> Plan:
    """Return the plan: what is known of the destination, and the numbers that a dry run has counted.

    Parameters
    ----------
    buckets
        The names of the destination's buckets.
    """
    names = sorted(buckets)
    exact = {"the store": job.store, "the buckets": ", ".join(names)}
    for name in names:
        exact[f"the versioning of {name}"] = open_bucket(name).versioning()
    if job.scope.names:
        listed = hashlib.sha256()
        for name in read_names(job.vault, job.scope.names):
            listed.update(name.encode("utf-8", "surrogatepass") + b"\0")
        exact["the list of names"] = listed.hexdigest()
    lost = Overwritten(
        objects_overwritten=result.overwritten.count,
        objects_deleted=result.deleted.count,
        object_bytes=result.overwritten.size_bytes + result.deleted.size_bytes,
    )
    return Plan(
        request=Request.of(Act.RESTORE, job.backup.target, job.backup.id, job.backup.manifest_sha256, job.scope),
        seen=Seen(
            destination=f"{job.scope.to or ', '.join(names)} at {job.store}",
            name=names[0] if len(names) == 1 else job.backup.target,
            facts=Facts(exact=exact),
            overwrites=lost,
        ),
    )
