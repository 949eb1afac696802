"""Records what each run used: the time and memory of its function, and its requests."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, Protocol

from ulid import ULID

from coffre.model.usage import Counts, Job, Usage
from coffre.runtime.function import LambdaContext, utc_now
from coffre.stores.request_counts import Tally

if TYPE_CHECKING:
    from coffre.runtime.bootstrap import Services

_JOBS: Final[Mapping[str, Job]] = {
    "backup_database": Job.BACKUP,
    "backup_storage": Job.BACKUP,
    "restore": Job.RESTORE,
    "verify": Job.VERIFY,
    "drill": Job.DRILL,
    "rotate": Job.ROTATE,
    "copy": Job.COPY,
    "journal": Job.JOURNAL,
}
# Lambda sets it: https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
_MEMORY_VARIABLE: Final = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE"


class Metering:
    """What the invocation that this process works on has used. Lambda gives a process one invocation at a time.

    `tally` counts the requests of the clients that it watches.
    """

    def __init__(self) -> None:
        self.tally = Tally()
        self._began = time.monotonic()
        self._run: tuple[str, str | None] | None = None

    def begin(self) -> None:
        """Forget what was counted: another invocation begins."""
        self.tally.take()
        self._began = time.monotonic()
        self._run = None

    def about(self, target: str | None, run_id: str | None = None) -> None:
        """Name the run that this invocation works for, by default a new one. Without a run nothing is recorded."""
        self._run = (run_id or str(ULID.from_datetime(utc_now())), target)

    def used(self, job: Job) -> Usage | None:
        """Return what was used until now."""
        if self._run is None:
            return None
        duration_ms = int((time.monotonic() - self._began) * 1000) + 1  # Lambda rounds up
        memory_mb = int(os.environ.get(_MEMORY_VARIABLE) or 0)
        own = Counts(invocations=1, function_mb_ms=memory_mb * duration_ms)
        run_id, target = self._run
        is_arm = platform.machine() in {"aarch64", "arm64"}
        counts = self.tally.take().plus(own)
        return Usage(**counts.model_dump(), id=run_id, job=job, target=target, at=utc_now(), is_arm=is_arm)


class _Function(Protocol):
    @property
    def services(self) -> Services: ...


def metered[F: _Function](
    handle: Callable[[F, object, LambdaContext], dict[str, Any]],
) -> Callable[[F, object, LambdaContext], dict[str, Any]]:
    """Record what each call of a function's `handle` used, if it names a run. A failure does not affect the run."""

    @wraps(handle)
    def measured(function: F, event: object, context: LambdaContext) -> dict[str, Any]:
        services = function.services
        services.metering.begin()
        try:
            return handle(function, event, context)
        finally:
            used = services.metering.used(_JOBS[services.name])
            if used is not None:
                services.edge.attempt("usage", lambda: services.catalog.usages.add(used))

    return measured
