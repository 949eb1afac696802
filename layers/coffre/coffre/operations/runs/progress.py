"""The progress of a run."""

from __future__ import annotations

import threading

from coffre.model.backup import Progress


class Meter:
    """Counts the work that is done; many threads add, the watch reads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._progress = Progress()

    def begin(
        self,
        phase: str,
        *,
        total_bytes: int | None = None,
        total_tables: int | None = None,
        total_objects: int | None = None,
    ) -> None:
        """Enter a phase."""
        totals = {"total_bytes": total_bytes, "total_tables": total_tables, "total_objects": total_objects}
        known = {name: total for name, total in totals.items() if total is not None}
        with self._lock:
            self._progress = self._progress.model_copy(update={"phase": phase, **known})

    def add(self, *, size_bytes: int = 0, tables: int = 0, objects: int = 0, current: str | None = None) -> None:
        """Add the work of one step."""
        with self._lock:
            self._progress = self._progress.model_copy(
                update={
                    "done_bytes": self._progress.done_bytes + size_bytes,
                    "done_tables": self._progress.done_tables + tables,
                    "done_objects": self._progress.done_objects + objects,
                    "current": current or self._progress.current,
                }
            )

    def read(self) -> Progress:
        """Return the state now."""
        with self._lock:
            return self._progress
