"""A drill while it runs: its record in the catalog, and a person's wish that it ends."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from ulid import ULID

from coffre.catalog.runs import cancelled_by
from coffre.model.backup import Backup, Failure, Progress, Status
from coffre.model.drill import DrillRun
from coffre.model.errors import CoffreError, RunCancelledError
from coffre.runtime.bootstrap import Services
from coffre.runtime.function import utc_now


@dataclass
class DrillRunning:
    """Keeps the record of a drill. No problem with the record stops a drill: it only cannot be cancelled then."""

    services: Services
    run: DrillRun

    @classmethod
    def of(cls, services: Services, backup: Backup, drill_id: str | None) -> DrillRunning:
        """Return the record of a new drill, or of one that another invocation has begun."""
        now = utc_now()
        run_id = drill_id or str(ULID.from_datetime(now))
        began = ULID.from_str(run_id).datetime if drill_id else now
        run = DrillRun(id=run_id, backup_id=backup.id, target=backup.target, created_at=began)
        return cls(services, run)

    def beat(self, progress: Progress) -> None:
        """Write the heartbeat.

        Raises
        ------
        RunCancelledError
            A person wants the drill to end.
        """
        self._note(progress=progress)
        by = None
        with contextlib.suppress(CoffreError):
            by = self.services.catalog.drill_runs.asked_by(self.run)
        if by is not None:
            raise cancelled_by("drill", self.run.id, by)

    @contextlib.contextmanager
    def recorded(self) -> Iterator[None]:
        """Record the beginning, and the error that ends the block."""
        try:
            self.beat(Progress())
            yield
        except Exception as error:
            self._note(status=Status.FAILED, failure=Failure.of(error))
            if isinstance(error, RunCancelledError):
                self.services.edge.logger.info("drill cancelled", extra={"drill_id": self.run.id})
            raise

    def end(self) -> None:
        """Record that the drill has its report."""
        self._note(status=Status.COMPLETED)

    def _note(self, **fields: object) -> None:
        now = utc_now()
        self.run = self.run.model_copy(update={"heartbeat_at": now, **fields})
        with contextlib.suppress(CoffreError):
            self.services.catalog.drill_runs.note(self.run, now)
