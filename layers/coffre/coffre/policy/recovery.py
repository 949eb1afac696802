"""Decisions of a recovery as pure functions: which copy, which backups, how long, what is next, how it ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from coffre.model.backup import Backup
from coffre.model.kinds import TargetKind
from coffre.model.points import PointRecord
from coffre.model.recovery import Recovery, Step, StepKind, StepState
from coffre.model.words import span
from coffre.policy.recency import completion

# What is replaced is backed up before anything changes. Settings come next, because what follows may need them;
# databases before the files that their rows refer to.
_ORDER: Final = tuple(StepKind)
# Without a drill: what a small machine reaches over an ordinary connection, indexes included.
_BYTES_PER_SECOND: Final = {StepKind.DATABASE: 8e6, StepKind.BUCKET: 15e6}
_OBJECTS_PER_SECOND: Final = 60.0
_LEAST_SECONDS: Final = 5.0


@dataclass(frozen=True)
class Found:
    """The backup of a target that a copy offers.

    Parameters
    ----------
    passed_over
        Newer backups that cannot be used, a sentence each.
    proven_at
        When a drill restored it and found it good.
    drill_seconds, drill_bytes
        How long the newest drill's restore took, of which size; None: no drill restored all of a backup.
    """

    backup: Backup
    passed_over: tuple[str, ...] = ()
    proven_at: datetime | None = None
    drill_seconds: float | None = None
    drill_bytes: int | None = None


@dataclass(frozen=True)
class CopyLook:
    """What a look at one copy found.

    Parameters
    ----------
    lacking
        Targets without a usable backup here, and why.
    error
        Why the copy cannot be used at all.
    point
        The restore point that was asked for.
    """

    address: str
    found: Mapping[str, Found] = field(default_factory=dict)
    lacking: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None
    point: PointRecord | None = None


@dataclass(frozen=True)
class CopyChoice:
    """The copy to recover from, and why; what speaks against the others."""

    look: CopyLook
    why: str
    others: tuple[str, ...]


def usable(
    backups: Iterable[Backup], problem_of: Callable[[Backup], str | None], at: datetime | None
) -> tuple[Backup | None, tuple[str, ...]]:
    """Return the newest backup that can be restored, and why newer ones cannot.

    Parameters
    ----------
    backups
        Of one target, in any order. SAFETY backups hold what a restore overwrote, and are never chosen.
    problem_of
        Says what is wrong with a backup; None: it is complete. It is asked of one backup after the other.
    at
        Nothing that was taken later is chosen.
    """
    passed_over: list[str] = []
    for backup in sorted(backups, key=completion, reverse=True):
        if backup.is_safety or (at is not None and backup.created_at > at):
            continue
        problem = f"it is damaged: {backup.damage}" if not backup.is_healthy else problem_of(backup)
        if problem is None:
            return backup, tuple(passed_over)
        passed_over.append(f"{backup.id} of {backup.created_at:%Y-%m-%d %H:%M} UTC was passed over: {problem}")
    return None, tuple(passed_over)


def of_same_points(
    found: Mapping[str, Found],
    backups: Mapping[str, Sequence[Backup]],
    problem_of: Callable[[Backup], str | None],
) -> dict[str, Found]:
    """Return the same, with objects of the restore point that the database's backup belongs to, where they exist.

    Objects of another moment than the rows leave references without objects; a database decides, because its rows are
    what people miss first.

    Parameters
    ----------
    backups
        Of each target, in any order.
    """
    points = {one.backup.point for one in found.values() if one.backup.kind is TargetKind.DATABASE} - {None}
    aligned = dict(found)
    for name, one in found.items():
        if one.backup.kind is TargetKind.DATABASE or not points or one.backup.point in points:
            continue
        fits = [backup for backup in backups.get(name, ()) if backup.point in points]
        chosen, _ = usable(fits, problem_of, None)
        if chosen is not None:
            why = f"{chosen.id} is used, of the same restore point as the database; {one.backup.id} is of another time."
            aligned[name] = replace(one, backup=chosen, passed_over=(*one.passed_over, why))
    return aligned


def choose_copy(looks: Sequence[CopyLook]) -> CopyChoice | None:
    """Return the best copy; None when no copy has a usable backup.

    The one with usable backups of the most targets wins, then the one with the newest, then the one with more backups
    that a drill has proven, then the first.
    """
    able = [look for look in looks if look.error is None and look.found]
    if not able:
        return None
    best = max(able, key=_rank)  # the first of equals
    others = tuple(_compared(look, best) for look in looks if look is not best)
    return CopyChoice(best, _why(best, able, looks), others)


def _rank(look: CopyLook) -> tuple[int, float, int]:
    found = look.found.values()
    return (
        len(look.found),
        sum(one.backup.created_at.timestamp() for one in found),
        sum(one.proven_at is not None for one in found),
    )


def _why(best: CopyLook, able: Sequence[CopyLook], looks: Sequence[CopyLook]) -> str:
    if len(looks) == 1:
        return "It is the only copy that is known."
    if len(able) == 1:
        return "It is the only copy with a backup that can be restored."
    ranks = [_rank(look) for look in able if look is not best]
    own = _rank(best)
    if own[0] > max(rank[0] for rank in ranks):
        return "It has usable backups of the most targets."
    if all(own[:2] > rank[:2] for rank in ranks):
        return "Its backups are the newest."
    if all(own > rank for rank in ranks):
        return "Drills have proven more of its backups."
    return "It is as good as the others, and comes first."


def _compared(look: CopyLook, best: CopyLook) -> str:
    if look.error is not None:
        return f"{look.address} cannot be used: {look.error}"
    lost = sorted(best.found.keys() - look.found.keys())
    if lost:
        return f"{look.address} has no usable backup of {', '.join(lost)}."
    gaps = {
        name: (one.backup.created_at - look.found[name].backup.created_at).total_seconds()
        for name, one in best.found.items()
    }
    name = max(gaps, key=lambda name: gaps[name], default="")
    if name and gaps[name] > 0:
        return f"{look.address} answers; its newest backup of {name} is {span(gaps[name])} older."
    return f"{look.address} answers too, and its backups are as new."


def estimated(kind: StepKind, found: Found) -> tuple[float, str]:
    """Return how many seconds a restore should take, and what that is known from."""
    size = found.backup.plaintext_bytes or 0
    if found.drill_seconds is not None:
        larger = max(1.0, size / found.drill_bytes) if found.drill_bytes else 1.0
        return max(_LEAST_SECONDS, found.drill_seconds * larger), "by the last drill"
    if kind is StepKind.SETTINGS:
        return _LEAST_SECONDS, "by its size"
    seconds = size / _BYTES_PER_SECOND.get(kind, 8e6) + (found.backup.objects or 0) / _OBJECTS_PER_SECOND
    return max(_LEAST_SECONDS, seconds), "by its size"


def in_order(steps: Iterable[Step]) -> tuple[Step, ...]:
    """Return steps in the order in which they are done."""
    return tuple(sorted(steps, key=lambda step: (_ORDER.index(step.kind), step.target)))


def next_step(recovery: Recovery) -> Step | None:
    """Return the first step that is to be done, or to be done again because its process died or it failed."""
    ended = (StepState.DONE, StepState.LEFT_OUT)
    failed = {step.target for step in recovery.steps if step.kind in _RESTORES and step.state is StepState.FAILED}
    unsafe = {step.target for step in recovery.steps if step.kind is StepKind.SAFETY and step.state not in ended}
    for step in recovery.steps:
        if step.state in ended or step.state is StepState.FAILED:
            continue
        if step.replaces and step.target in unsafe and step.kind in _RESTORES:
            continue  # what it replaces is in no backup
        if step.kind is StepKind.CHECKS and step.target in failed:
            continue  # nothing to ask
        return step
    return None


_RESTORES: Final = (StepKind.SETTINGS, StepKind.DATABASE, StepKind.BUCKET)


def taken_up(recovery: Recovery, notify: str | None = None) -> Recovery:
    """Return a recovery as a further run continues it: what failed or was cut off is to be done; what is done stays.

    The notification is sent again, since the state that it reports has changed; `notify` is another place for it.
    """
    again = (StepState.FAILED, StepState.RUNNING)
    steps = tuple(
        step.model_copy(update={"state": StepState.WAITING, "problem": None, "reference": _reference(step, notify)})
        if step.state in again or step.kind is StepKind.NOTIFY
        else step
        for step in recovery.steps
    )
    return recovery.model_copy(update={"steps": steps, "resumed": recovery.resumed + 1, "ended_at": None})


def _reference(step: Step, notify: str | None) -> str:
    return notify if notify is not None and step.kind is StepKind.NOTIFY else step.reference


def with_step(recovery: Recovery, step: Step) -> Recovery:
    """Return the recovery with a step in place of the one of the same name."""
    steps = tuple(step if one.name == step.name else one for one in recovery.steps)
    return recovery.model_copy(update={"steps": steps})


def seconds_until_usable(recovery: Recovery) -> dict[str, float]:
    """Return, by target, the time from the start of the command to the end of its last step; complete ones alone."""
    found: dict[str, float] = {}
    names = {step.target for step in recovery.steps if step.kind in _RESTORES}
    for name in sorted(names):
        steps = [step for step in recovery.steps if step.target == name]
        ends = [step.ended_at for step in steps if step.ended_at is not None]
        if len(ends) == len(steps) and all(step.state is StepState.DONE for step in steps):
            found[name] = (max(ends) - recovery.began_at).total_seconds()
    return found


def sentence_of(recovery: Recovery) -> str:
    """Return how it ended, in a sentence or two."""
    states = [step.state for step in recovery.steps if step.kind is not StepKind.NOTIFY]
    what = "rehearsal" if recovery.is_rehearsal else "recovery"
    took = span(recovery.rto_seconds or 0.0)
    late = f" The limit is {span(recovery.limit_seconds or 0)}: it took too long." if recovery.is_late else ""
    if StepState.FAILED in states or StepState.WAITING in states or StepState.RUNNING in states:
        failed = [step.name for step in recovery.steps if step.state is not StepState.DONE]
        return f"The {what} is NOT complete after {took}. Not done: {', '.join(failed)}.{late}"
    if has_exceptions(recovery):
        return f"The {what} ended after {took}, with exceptions.{late}"
    return f"The {what} ended after {took}. Everything is restored.{late}"


def is_complete(recovery: Recovery) -> bool:
    """Return whether every step ended well or was left out on purpose; a notification that failed changes nothing."""
    ended = (StepState.DONE, StepState.LEFT_OUT)
    return all(step.state in ended or step.kind is StepKind.NOTIFY for step in recovery.steps)


def has_exceptions(recovery: Recovery) -> bool:
    """Return whether something was restored in part, or left out."""
    return any(
        step.exceptions or step.dangling or (step.state is StepState.LEFT_OUT and step.kind is not StepKind.NOTIFY)
        for step in recovery.steps
    )
