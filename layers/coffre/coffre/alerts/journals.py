"""The texts of alerts about journals: one that is limited, stopped or late, and moments that cannot be restored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from coffre.alerts.alert import Alert, AlertKind, digest_of
from coffre.alerts.wording import alert_of, because, body_of, bullets, ids_of, moment
from coffre.model.backup import Failure
from coffre.model.checkup import CheckResult
from coffre.model.journal import IntervalEnd, JournalEnd, JournalGap, JournalState
from coffre.model.journal_proof import JournalProof

_OF_THE_SLOT: Final = frozenset(
    {
        JournalEnd.SLOT_MISSING,
        JournalEnd.SLOT_LOST,
        JournalEnd.SLOT_FOREIGN,
        JournalEnd.TIMELINE,
        JournalEnd.GUARD,
        JournalEnd.TOO_LARGE,
        JournalEnd.TOO_SLOW,
        JournalEnd.UNREADABLE,
    }
)
_HINTS: Final[Mapping[JournalEnd, str]] = {
    JournalEnd.NO_IDENTITY: "Give the table a primary key, or ALTER TABLE ... REPLICA IDENTITY FULL.",
    JournalEnd.SLOT_LOST: "Raise max_slot_wal_keep_size, or drain more often (every_minutes).",
    JournalEnd.SLOT_MISSING: "Find out who drops slots: a failover, a restore, a person, the provider.",
    JournalEnd.SLOT_FOREIGN: "Nothing, if the database was renamed or replaced: its slot is dropped. Otherwise find out"
    " which program uses the slot. It was left alone.",
    JournalEnd.GUARD: "Find out why drains failed or were too slow; then raise maximum_lag_bytes if the disk has room.",
    JournalEnd.TOO_SLOW: "Divide large transactions, or give the functions more memory (MemorySize).",
    JournalEnd.UNREADABLE: "If it comes back: report the message; `coffre journal list` shows each stretch.",
    JournalEnd.TOO_LARGE: "Raise temp_file_limit for the role, or divide large transactions.",
}
_TAIL: Final = (
    "What was committed since {} is stored up to this drain. Moments up to the change can be restored with the"
    " definitions of before, but it is not known which transaction made the change: see `coffre journal find-drop`."
)
_SAFE: Final = "The backups are not affected, nor are the moments before that are stored already."


def journal_stopped(target: str, failure: Failure, *, request_id: str) -> Alert:
    """Report that a journal cannot continue until something is changed."""
    return alert_of(
        AlertKind.JOURNAL_LAG,
        target,
        f"Journal of {target} has STOPPED: {failure.code}",
        body_of(
            f"What changes in {target} is not stored: moments from now on cannot be restored.",
            why=because(failure),
            safe=_SAFE,
            hint=failure.hint,
            commands=[f"coffre journal list {target}", f"coffre journal drain {target}"],
        ),
        ids=ids_of(request=request_id),
        fingerprint=failure.code,
    )


def journal_limited(target: str, found: Sequence[CheckResult]) -> Alert:
    """Report, once, what a journal that begins lacks, or what keeps it from beginning."""
    listed = [f"{one.sentence} ({one.evidence}) {one.cure or ''}" if one.evidence else one.sentence for one in found]
    return alert_of(
        AlertKind.JOURNAL_LIMITED,
        target,
        f"Journal of {target}: what limits it ({len(found)})",
        body_of(
            "\n".join([f"The journal of {target} was switched on. This was seen at its server:", *bullets(listed)]),
            safe="The backups are not affected.",
            hint="Mend what matters to you, or leave it: this is reported once. doctor has the commands to paste.",
            commands=[f"coffre doctor {target}"],
        ),
        fingerprint=digest_of(*(f"{one.code} {one.subject}" for one in found)),
    )


def journal_late(target: str, state: JournalState | None, since: datetime) -> Alert:
    """Report that nothing more was stored for too long."""
    failed = state is not None and state.error is not None
    why = f"{state.message} [{state.error}]" if state is not None and failed else "No drain ran to its end."
    return alert_of(
        AlertKind.JOURNAL_LAG,
        target,
        f"Journal of {target} is LATE",
        body_of(
            f"What changed in {target} since then is not stored, and cannot be restored to a moment.",
            since=since,
            why=why,
            safe=_SAFE,
            hint="Drain it now; the command shows what prevents it. Drains by the clock need the stack's parameter"
            " Journal=on.",
            commands=[f"coffre journal drain {target}"],
        ),
        fingerprint="late",
    )


def journal_ended(target: str, interval: str, ended: IntervalEnd, gap: JournalGap) -> Alert:
    """Report that moments cannot be restored: from the end of an interval to the next base.

    A cause that comes back with every drain is reported once a day.
    """
    is_slot = ended.reason in _OF_THE_SLOT
    count = "A stretch" if gap.ended <= 1 else f"{gap.ended:,} stretches, with no backup between them,"
    since = moment(gap.since) if gap.since else "what is stored of the last one with a backup"
    what = (
        f"{count} of the journal of {target} {'has' if gap.ended <= 1 else 'have'} ended. From {since} to the next"
        " backup no moment can be restored. It is asked for as soon as another stretch begins."
    )
    has_moments = gap.ended == 1 and gap.since is not None and gap.since == ended.seen_at  # it has a base
    tail = [_TAIL.format(moment(gap.since))] if has_moments and gap.since and ended.tail is not None else []
    return alert_of(
        AlertKind.JOURNAL_SLOT_LOST if is_slot else AlertKind.JOURNAL_GAP,
        target,
        f"Journal of {target}: {'slot lost' if is_slot else 'gap'} ({ended.reason})",
        body_of(
            "\n".join([what, *bullets(ended.about), *tail]),
            why=ended.text or ended.reason.value,
            safe=_SAFE,
            hint=_HINTS.get(ended.reason, "Nothing, unless another alert says that the journal has stopped."),
            commands=[f"coffre journal list {target}"],
        ),
        ids=ids_of(interval=interval),
        fingerprint=f"{ended.reason} {ended.ended_at.astimezone(UTC):%Y-%m-%d}",
    )


def journal_not_equal(proof: JournalProof, *, request_id: str) -> Alert:
    """Report that the journal does not make of one base what a later base is."""
    what = (
        f"The journal of {proof.target} does not make of the backup of {moment(proof.since or proof.until)} what the"
        f" backup of {moment(proof.until)} is. A restore to a moment between them may lack changes."
    )
    return alert_of(
        AlertKind.JOURNAL_NOT_EQUAL,
        proof.target,
        f"Journal of {proof.target} is NOT EQUAL to its backup",
        body_of(
            "\n".join([what, *bullets(proof.differences)]),
            why="Rows were changed in a way that is not in the server's stream, or the stored journal was changed.",
            safe="The backups are not affected, nor are moments after the later one: they are made from it.",
            hint="Find out what was done to these tables. The next drain asks for a new base, the next drill compares.",
            commands=[f"coffre journal list {proof.target}", f"coffre report {proof.newer}"],
        ),
        ids=ids_of(interval=proof.interval, request=request_id),
        fingerprint=f"{proof.interval} {proof.to_lsn}",
    )
