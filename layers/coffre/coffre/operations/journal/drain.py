"""A drain: what was committed since the one before goes from the slot into the vault."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg2.extensions

from coffre.model.errors import (
    CatalogError,
    CoffreError,
    IntegrityError,
    JournalError,
    JournalTransientError,
    ObjectMissingError,
)
from coffre.model.journal import DefinitionMark, IntervalEnd, JournalEnd, JournalGap, JournalState
from coffre.model.journal_options import PUBLICATION
from coffre.operations.journal.adopt_stored import Adopted, adopt
from coffre.operations.journal.barrier import (
    compared,
    drop_ours,
    end,
    has_base,
    other_plugin,
    other_publication,
    reason_and_names,
    reason_of,
    reported,
    unreadable_end,
)
from coffre.operations.journal.begin_interval import (
    begin_on_slot,
    begin_slot,
    recipients_of,
    without_interval,
    without_slot,
)
from coffre.operations.journal.catalog_state import claimed, keep, note_failure, ownership
from coffre.operations.journal.guard import drop_for, left_alone
from coffre.operations.journal.job import DrainReport, JournalJob, opened
from coffre.operations.journal.lost_advance import require_same_history
from coffre.operations.journal.other_server import other_system, require_primary
from coffre.operations.journal.segment import RESERVE_SECONDS, Step, store_segment, too_slow
from coffre.operations.journal.step_size import Pace
from coffre.operations.journal.tail import Tail, store_tail
from coffre.policy.journal_health import asked_within_a_day, asks_for_base, slot_danger
from coffre.postgres.journal import slot
from coffre.postgres.journal.changes import Barrier
from coffre.postgres.journal.drain_view import Look, look
from coffre.vault.journal import read_end

# In the drain after one that had no time for a step; twice as much after each further one in which none ended.
_SLOW_STEP_BYTES: Final = 1 << 20
_SLOW_DRAINS: Final = 16
_MOST_NAMES: Final = 20


def drain(job: JournalJob) -> DrainReport:
    """Store everything that was committed since the last drain, in steps, until it is complete or the time is over.

    A journal that is new, or whose interval has ended, begins: that makes a slot and asks for a base. What cannot be
    followed ends the interval, with its reason, and another one begins.

    Raises
    ------
    JournalError
        `JOURNAL_NOT_POSSIBLE`; what ends an interval, if the one that began instead ends with it too
    JournalTransientError
        `JOURNAL_WAITS`, `JOURNAL_SLOT_BUSY`, `JOURNAL_TWO_DRAINS`, `JOURNAL_TOO_SLOW`. What was stored before stays.
    """
    try:
        adopted = adopt(job)
        with opened(job) as session:
            return _Drain(job, session, adopted).run()
    except CoffreError as error:
        with suppress(CatalogError):  # the error itself is worth more
            note_failure(job, error)
        raise


@dataclass
class _Drain:
    job: JournalJob
    session: psycopg2.extensions.connection
    adopted: Adopted
    steps: list[Step] = field(default_factory=list)
    begun: list[str] = field(default_factory=list)
    ended: list[tuple[str, IntervalEnd]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    has_new_slot: bool = False

    def run(self) -> DrainReport:
        state, seen = self._ready()
        difference = compared(self.job, self.session, state, seen)
        if difference.barriers:
            tail = store_tail(self.job, self.session, state, seen, difference.marks or (), difference.touched)
            state, seen = self._barrier(state, seen, difference.barriers, difference.why, tail)
        elif difference.marks is None and state.marked != seen.marked:
            state = keep(self.job, state, marked=seen.marked)
        state, is_complete = self._steps(state, seen, () if difference.barriers else difference.marks or ())
        if is_complete:
            state = self._with_present_keys(state, seen)
        return self._report(self._conclude(state, is_complete=is_complete), is_complete=is_complete)

    def _ready(self) -> tuple[JournalState, Look]:
        """Return the state of a journal whose slot is as it was left, and what there is to follow."""
        (state, damage, unread), system = self.adopted, require_primary(self.session)
        if unread is not None:
            state = state or keep(self.job, None)  # what is changed later has to exist
            if state.slot is None:
                self.notes += [left_alone(name) for name in slot.named_for(self.session, self.job.target)]
            if not state.gap.ended:  # or else it was reported, and what came after that has failed
                state = keep(self.job, self._note_end(state, unreadable_end(self.job, damage), unread))
        if state is None or state.slot is None or state.interval is None:
            return self._begin(state)
        interval = state.interval
        if damage is not None:
            return self._begin_again(state, JournalError(damage.message, code="JOURNAL_DAMAGED"))
        if self.job.plugin not in ("auto", state.plugin):
            return self._begin_again(state, other_plugin(state.plugin, self.job.plugin))
        if None not in (system, state.system) and system != state.system:
            return self._begin_again(state, other_system(state))
        try:
            found = slot.require_ours(self.session, ownership(state))
        except JournalError as error:
            return self._begin_again(state, error)
        if why := slot_danger(found.retained_bytes, found.safe_bytes, self.job.guarding):
            state, ended = drop_for(self.job, self.session, state, why)
            self.ended += [(interval, ended)] if ended is not None else []
            return self._begin(state)
        try:
            if (found.confirmed_lsn or 0) < state.stored_lsn:  # an advance was lost
                require_same_history(self.job, self.session, state, found)
                slot.advance(self.session, ownership(state))
            seen = look(self.session, self.job.pause, state.plugin)
        except JournalError as error:  # a history that is not this one; a publication that is gone, or has a part
            return self._begin_again(state, error)
        if seen.publication != state.publication:
            return self._begin_again(state, other_publication())
        try:
            written = read_end(self.job.vault, self.job.target, interval)
        except ObjectMissingError:
            return state, seen
        except IntegrityError as error:
            written = unreadable_end(self.job, error)
        state = self._note_end(state, written)  # a drain has written it and not kept it: it stays an end
        return self._begun(begin_on_slot(self.job, without_interval(self.job, state), seen), seen)

    def _begin(self, state: JournalState | None) -> tuple[JournalState, Look]:
        """Make a slot and an interval. A slot without an interval is that of a drain that was killed."""
        if state is not None and state.slot is not None:
            state = claimed(self.job, state)
            drop_ours(self.session, state)
        state, seen = begin_slot(self.job, self.session, state)
        self.has_new_slot = True
        return self._begun(state, seen)

    def _begun(self, state: JournalState, seen: Look) -> tuple[JournalState, Look]:
        self.begun.append(state.interval or "")
        if seen.left_out:
            more = f" and {len(seen.left_out) - _MOST_NAMES:,} more" if len(seen.left_out) > _MOST_NAMES else ""
            listed = f"{', '.join(seen.left_out[:_MOST_NAMES])}{more}"
            self.notes.append(
                f'The publication "{PUBLICATION}" does not have {listed}: a restore to a moment has them as in the'
                " backup before."
            )
        return state, seen

    def _begin_again(self, state: JournalState, error: CoffreError) -> tuple[JournalState, Look]:
        """End the interval with an error that no drain can go past, and begin with a new slot: once in a drain."""
        reason = reason_of(error)
        if reason is None or self.has_new_slot:
            raise error
        state = claimed(self.job, state)
        state = self._note_end(state, end(self.job, state, reason, error.message))
        self._leave(state, is_foreign=reason is JournalEnd.SLOT_FOREIGN)
        return self._begin(without_slot(self.job, state))

    def _leave(self, state: JournalState, *, is_foreign: bool) -> None:
        """Drop the slot, unless another program uses it or has made it."""
        try:
            if drop_ours(self.session, state) or not is_foreign:
                return
        except JournalTransientError:
            if not is_foreign:
                raise
        self.notes.append(left_alone(state.slot or ""))

    def _barrier(
        self,
        state: JournalState,
        seen: Look,
        found: Sequence[Barrier],
        why: str | None = None,
        tail: Tail | None = None,
    ) -> tuple[JournalState, Look]:
        """End the interval where it cannot be followed, and begin another one on the same slot."""
        reason, about, text = reason_and_names(found)
        state = self._note_end(state, end(self.job, state, reason, why or text, about, tail))
        state = begin_on_slot(self.job, without_interval(self.job, state), seen)
        return self._begun(state, seen)

    def _steps(self, state: JournalState, seen: Look, marks: tuple[DefinitionMark, ...]) -> tuple[JournalState, bool]:
        """Store step by step; returns whether everything is stored."""
        first_bytes = _SLOW_STEP_BYTES << min(state.slow, _SLOW_DRAINS) - 1 if state.slow else self.job.step_bytes
        pace = Pace(first_bytes, self.job.step_bytes, state.slow > 0)
        while not self.steps or self.job.remaining_seconds() > 2 * RESERVE_SECONDS:
            begin = state.stored_lsn
            upto = max(begin, min(seen.durable.lsn, begin + pace.step_bytes))
            try:
                done = store_segment(self.job, self.session, state, seen, upto, marks, by_stream=pace.by_stream)
                state = done.state  # whatever ends the interval now, this is stored
                self.steps.append(done)
                slot.advance(self.session, ownership(state))
            except JournalError as error:
                if not pace.is_changed_for(error):
                    pace.require_stream()
                    state, seen = self._begin_again(state, pace.cause or error)
                    pace, marks = Pace(self.job.step_bytes, self.job.step_bytes), ()
                continue
            except JournalTransientError as error:
                if error.code != "JOURNAL_TOO_SLOW":
                    raise
                if self.steps:
                    break
                pace.require_stream()
                (state, seen), marks = self._too_slow(state, error), ()
                continue
            if done.cut is None:
                if state.stored_lsn >= seen.durable.lsn:
                    return state, True
                pace.has_read(done.passed.transactions, state.stored_lsn - begin)
            elif done.cut.error is not None:
                (state, seen), marks = self._begin_again(state, done.cut.error), ()
            elif done.cut.barrier is not None:
                (state, seen), marks = self._barrier(state, seen, [done.cut.barrier]), ()
            else:
                self.notes.append("A transaction that is on disk is not visible yet: the next drain stores it.")
                return state, False
        if not self.begun and not any(step.passed.transactions for step in self.steps):
            keep(self.job, state, slow=state.slow + 1)
            raise too_slow(self.job)
        return state, False

    def _with_present_keys(self, state: JournalState, seen: Look) -> JournalState:
        """Begin another interval if the target has other public keys: its definitions are encrypted to those before."""
        before = recipients_of(self.job, state)
        if before is None or {*before} == {*self.job.recipients}:
            return state if before == state.recipients else keep(self.job, state, recipients=before)
        text = "The target has other public keys: a stretch needs the private keys of its begin."
        state = self._note_end(state, end(self.job, state, JournalEnd.SWITCHED_OFF, text))
        return self._begun(begin_on_slot(self.job, without_interval(self.job, state), seen), seen)[0]

    def _too_slow(self, state: JournalState, error: JournalTransientError) -> tuple[JournalState, Look]:
        """Begin again if the smallest step had no time either."""
        if not state.slow:
            keep(self.job, state, slow=1)
            raise error
        hint = "One transaction takes longer to read than a function may run."
        return self._begin_again(state, JournalError(f"{error.message} {hint}", code=error.code))

    def _conclude(self, state: JournalState, *, is_complete: bool) -> JournalState:
        """Keep that the drain was good; ask for a base as long as the interval has none."""
        job, now = self.job, self.job.now()
        found = slot.inspect(self.session, ownership(state).name)
        changes: dict[str, Any] = {"drained_at": now, "failed_at": None, "error": None, "message": None}
        changes["complete_at"] = now if is_complete else state.complete_at
        changes["retained_bytes"] = found.retained_bytes if found else 0
        changes["database_oid"] = found.database_oid if found else 0
        is_wanted = state.base_wanted_at is not None
        if is_wanted and has_base(job, state):
            changes |= {"base_wanted_at": None, "base_asked_at": None, "gap": JournalGap()}
        state = keep(job, state, **changes)
        if not asks_for_base(state, now):
            return state
        job.ask_for_base(self.ended[-1][1].text if self.ended else "The journal has no base.")
        return keep(job, state, base_asked_at=now, bases_asked=(*asked_within_a_day(state, now), now))

    def _note_end(self, state: JournalState, ended: IntervalEnd | None, interval: str | None = None) -> JournalState:
        if ended is None:
            return state
        self.ended.append((interval or state.interval or "", ended))
        return reported(self.job, state, ended, interval)

    def _report(self, state: JournalState, *, is_complete: bool) -> DrainReport:
        return DrainReport(
            state=state,
            segments=sum(step.is_stored for step in self.steps),
            transactions=sum(step.passed.transactions for step in self.steps),
            lines=sum(step.passed.lines for step in self.steps),
            stored_bytes=sum(pack.length for step in self.steps for pack in step.stored.packs),
            is_complete=is_complete,
            begun=tuple(self.begun),
            ended=tuple(self.ended),
            notes=tuple(self.notes),
        )
