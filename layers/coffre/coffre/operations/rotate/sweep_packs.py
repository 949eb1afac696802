"""The second half of a sweep: delete packs that no living manifest references, unless they must wait."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from ulid import ULID

from coffre.model.backup import Status
from coffre.model.locks import LockState
from coffre.operations.rotate.batch_delete import Remover
from coffre.operations.rotate.sweep_job import GRACE, SweepJob, SweepTally
from coffre.operations.rotate.sweep_manifests import PackRules
from coffre.stores.store import ObjectInfo
from coffre.vault.layout import writer_of
from coffre.vault.pack_references import References

# For packs of a run without a record, as after the loss of the catalog: time to rebuild the catalog.
UNKNOWN_GRACE: Final = timedelta(days=30)


class PacksWalk:
    """Compares the packs with the referenced ones, both sorted by key, in constant memory."""

    def __init__(
        self, job: SweepJob, remover: Remover, tally: SweepTally, settled: PackRules, references: References
    ) -> None:
        self._job = job
        self._remover = remover
        self._tally = tally
        self._settled = settled
        self._named = references.in_order()
        self._next = next(self._named, None)

    def visit(self, objects: Iterable[ObjectInfo]) -> None:
        """Decide about each object below `v1/packs/`."""
        for info in objects:
            writer = writer_of(info.key)
            if writer is None:
                self._tally.note_foreign(info)
            else:
                self._tally.packs = self._tally.packs.plus(info.size)
                self._pass_missing(info.key)
                self._judge(writer, info)

    def finish(self) -> None:
        """Report the referenced packs after the last existing one as missing."""
        self._pass_missing(None)

    def _judge(self, writer: str, info: ObjectInfo) -> None:
        tally = self._tally
        if self._next is not None and self._next.key == info.key:
            tally.living = tally.living.plus(info.size)
            tally.wasted_bytes += max(0, self._next.length - self._next.live_bytes)
            self._next = next(self._named, None)
        elif (reason := self._reason_to_wait(writer, info)) is not None:
            tally.note_waiting(info, reason)
        else:
            self._remover.remove_unless_locked(info, self._note, self._job.now)

    def _note(self, info: ObjectInfo, state: LockState) -> None:
        if (kept := state.why_kept(self._job.now)) is not None:
            self._tally.note_waiting(info, f"packs that no backup needs: {kept}")
        else:
            self._tally.packs_removed = self._tally.packs_removed.plus(info.size)

    def _reason_to_wait(self, writer: str, info: ObjectInfo) -> str | None:
        known, blocked = self._settled.records.get(writer), self._settled.blocked
        if self._job.copy is not None and blocked:
            return next(iter(blocked.values()))  # what is being copied there may need packs of any target
        if self._job.copy is not None and (info.last_modified is None or self._job.now - info.last_modified < GRACE):
            return f"packs that arrived in the copy less than {GRACE // timedelta(hours=1)} hours ago"
        if known is None:
            return next(iter(blocked.values()), None) or self._reason_for_unknown(writer, info)
        if known.target in blocked:
            return blocked[known.target]
        if info.key in self._settled.resumable:
            hours = GRACE // timedelta(hours=1)
            return f"a run of {known.target} that failed less than {hours} hours ago had used them"
        if known.status is Status.FAILED and not known.is_long_over(self._job.now):
            hours = GRACE // timedelta(hours=1)
            return f"backup {writer} of {known.target} failed less than {hours} hours ago"
        return None

    def _reason_for_unknown(self, writer: str, info: ObjectInfo) -> str | None:
        """Both times must be old: that of the id, which callers can choose, and the store's, which is new in a copy."""
        since = self._job.now - UNKNOWN_GRACE
        is_old = info.last_modified is not None and info.last_modified < since
        if is_old and ULID.from_str(writer).datetime < since:
            return None
        return f"the catalog does not know backup {writer}: {UNKNOWN_GRACE.days} days of grace"

    def _pass_missing(self, key: str | None) -> None:
        while self._next is not None and (key is None or self._next.key < key):
            # What a copy lacks is found by its inventory, and is sent again.
            if self._job.copy is None:
                known = self._settled.records.get(writer_of(self._next.key) or "")
                text = f"The pack {self._next.key} is not in the vault, and a backup needs it."
                self._tally.note_problem("PACK_MISSING", known.target if known else None, text)
            self._next = next(self._named, None)
