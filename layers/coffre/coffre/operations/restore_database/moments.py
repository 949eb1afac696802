"""What is stored of a target's journal, and how the moment that a person asks for is made from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

from coffre.model.backup import Backup
from coffre.model.errors import CoffreError, IntegrityError, ObjectMissingError, RestoreError
from coffre.model.journal import IntervalEnd, JournalInterval, JournalSegment, JournalState
from coffre.model.kinds import TargetKind
from coffre.model.manifest import DatabaseContent, JournalBase
from coffre.model.moment import Moment
from coffre.operations.restore_database.job import RestoreJob, Source
from coffre.operations.stored_backup.open import open_manifest
from coffre.policy.journal import bases_of
from coffre.policy.moments import Chosen, Point, Stretch, choose, first_needed
from coffre.postgres.journal.changes import Line, parse_lsn
from coffre.postgres.journal.transactions import Transaction, outline
from coffre.vault import journal
from coffre.vault.codec import FrameDecoder
from coffre.vault.layout import SegmentKey
from coffre.vault.vault import Vault

# Records of segments that are read at the same time.
_READERS: Final = 16
_XIDS: Final = 1 << 32

type Base[B] = tuple[B, str, JournalBase | None]


def chosen_for(job: RestoreJob, source: Source, at: Moment) -> Chosen[str]:
    """Return how a moment is made from the backup of a restore.

    Raises
    ------
    RestoreError
        `JOURNAL_MOMENT`: it cannot be made from this backup.
    IntegrityError
        `JOURNAL_DAMAGED`, `JOURNAL_GAP`
    """
    content, target = source.content, job.backup.target
    if content.journal is None:
        raise RestoreError(
            f"The backup {job.backup.id} is no base of a journal: the moment {at} cannot be made from it.",
            code="JOURNAL_MOMENT",
            hint="Say latest in place of its id: the right base is found by itself.",
        )
    damage = list[IntegrityError]()
    stretches = stretches_of(job.vault, target, [_base(job.backup.id, content)], job.journal, damage.append)
    point, stretches = point_of(at, job.vault, target, stretches, job.decoder)
    return _choose(target, point, stretches, damage)


def base_for(
    at: Moment,
    vault: Vault,
    target: str,
    backups: Iterable[Backup],
    state: JournalState | None,
    decoder: Callable[[], FrameDecoder],
) -> Backup:
    """Return the backup that a moment is made from.

    Parameters
    ----------
    backups
        The target's completed ones.
    decoder
        Asked where a transaction has to be looked for.

    Raises
    ------
    RestoreError, IntegrityError
        As `chosen_for`; a damaged manifest only where the others do not have the moment.
    ObjectMissingError
        As for a damaged manifest.
    """
    bases, damage, unread = list[Base[Backup]](), list[CoffreError](), list[CoffreError]()
    for one in backups:
        if one.kind is TargetKind.DATABASE and one.is_healthy:
            try:
                bases.append(_base(one, open_manifest(vault, one).database))
            except (IntegrityError, ObjectMissingError) as error:
                unread.append(error)
    stretches = stretches_of(vault, target, bases, state, damage.append)
    keys = decoder() if at.before_transaction is not None and stretches else FrameDecoder(())
    point, stretches = point_of(at, vault, target, stretches, keys)
    return _choose(target, point, stretches, [*damage, *unread]).backup


def _choose[B](target: str, point: Point, stretches: Sequence[Stretch[B]], damage: Sequence[CoffreError]) -> Chosen[B]:
    """Choose from what is not damaged; if that does not have the moment, the damage may be why."""
    try:
        return choose(target, point, stretches, datetime.now(UTC))
    except RestoreError as error:
        raise damage[0] if damage else error from error


def stretches_of[B](
    vault: Vault,
    target: str,
    backups: Sequence[Base[B]],
    state: JournalState | None,
    on_damage: Callable[[IntegrityError], None] | None = None,
) -> list[Stretch[B]]:
    """Return what is stored of the intervals of a target, the oldest first.

    With `on_damage` one that is damaged is left out, and its error is given to it.

    Raises
    ------
    IntegrityError
        `JOURNAL_DAMAGED`, `JOURNAL_GAP`
    """
    found = []
    for interval in journal.intervals(vault, target, on_damage):
        try:
            found.append(stretch_of(vault, interval, backups, state))
        except IntegrityError as error:
            if on_damage is None:
                raise
            on_damage(error)
    return found


def stretch_of[B](
    vault: Vault, interval: JournalInterval, backups: Sequence[Base[B]], state: JournalState | None
) -> Stretch[B]:
    """Return what is stored of one interval; raises what `stretches_of` raises."""
    end: IntervalEnd | None = None
    with suppress(ObjectMissingError):
        end = journal.read_end(vault, interval.target, interval.id)
    bases = sorted(bases_of(interval, end, backups), key=lambda one: one[1].lsn)
    after = min((base.before_lsn for _, base in bases), default=interval.from_lsn)
    segments = _segments(vault, interval, after)
    if end is not None:
        end = _as_stored(end, interval, segments)
        # What a drain stored that did not know of the end may not fit the definitions.
        segments = [one for one in segments if one.from_lsn < end.stored_lsn]
    return Stretch(interval, end, segments, bases, state)


def _as_stored(end: IntervalEnd, interval: JournalInterval, segments: Sequence[JournalSegment]) -> IntervalEnd:
    """Return the end of what exists: if the last segments were lost, it is where the last of the others ends."""
    last = segments[-1].number if segments else 0
    if end.number is None or last >= end.number:
        return end
    stored = min(end.stored_lsn, segments[-1].to_lsn if segments else interval.from_lsn)
    text = f"the segments from {last + 1} to {end.number} are missing"
    return end.model_copy(update={"stored_lsn": stored, "seen_at": None, "text": text})


def point_of[B](
    at: Moment, vault: Vault, target: str, stretches: list[Stretch[B]], decoder: FrameDecoder
) -> tuple[Point, list[Stretch[B]]]:
    """Return a moment as a time or a position, and the stretches that it can be of.

    A transaction is looked for in all that is stored, the newest first, in each history of the server: its position is
    one of that history alone.

    Raises
    ------
    RestoreError
        `JOURNAL_MOMENT`: no such transaction is stored, or two histories have one of this number.
    """
    if at.time is not None:
        return Point(at.time), stretches
    if at.lsn is not None:
        return Point(lsn=parse_lsn(at.lsn)), stretches
    xid = (at.before_transaction or 0) % _XIDS
    found = dict[tuple[str | None, int], Transaction]()
    for stretch in reversed(stretches):
        if stretch.history not in found:
            transaction = _transaction_of(xid, vault, stretch, decoder.of_recipients(stretch.interval.recipients))
            if transaction is not None:
                found[stretch.history] = transaction
        if {one.history for one in stretches} <= found.keys():
            break
    if len(found) == 1:
        [(history, transaction)] = found.items()
        return Point(lsn=transaction.commit_lsn - 1), [one for one in stretches if one.history == history]
    if found:
        raise _ambiguous(at, target, sorted(one.time for one in found.values()))
    raise RestoreError(
        f"The journal of {target} has no transaction {at.before_transaction}.",
        code="JOURNAL_MOMENT",
        hint="Nothing was changed. Transactions that were rolled back, and parts of one (savepoints), have numbers that"
        " are not in the journal. Give a time: --at.",
    )


def _transaction_of(xid: int, vault: Vault, stretch: Stretch[Any], decoder: FrameDecoder) -> Transaction | None:
    for segment in reversed(stretch.segments):
        lines = (Line(*line) for line in journal.read_lines(vault, segment, decoder))
        for transaction in outline(lines):
            if transaction.xid == xid:
                return transaction
    return None


def _ambiguous(at: Moment, target: str, times: Sequence[datetime]) -> RestoreError:
    listed = " and ".join(f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}+00" for time in times)
    return RestoreError(
        f"{target} has had {len(times)} transactions {at.before_transaction}: its server was restored or failed over"
        f" since. They were committed at {listed}.",
        code="JOURNAL_MOMENT",
        hint="Nothing was changed. Give a time just before the one that you mean: --at.",
    )


def _base[B](backup: B, content: DatabaseContent) -> Base[B]:
    return backup, content.database, content.journal


def _segments(vault: Vault, interval: JournalInterval, after_lsn: int) -> list[JournalSegment]:
    """Return the segments of an interval that end behind a position, each proven to follow the one before."""
    target, keys = interval.target, journal.segment_keys(vault, interval.target, interval.id, None)
    keys = keys[first_needed(keys, after_lsn) :]

    def read(key: SegmentKey) -> tuple[JournalSegment, str]:
        return journal.read_segment(vault, key, None)

    with ThreadPoolExecutor(_READERS) as pool:
        found = list(pool.map(read, keys))
    previous = journal.interval_sha256(vault, target, interval.id) if keys and keys[0].number == 1 else None
    segments = list[JournalSegment]()
    for key, (segment, sha256) in zip(keys, found, strict=True):
        if previous is not None and segment.previous != previous:  # a copy of the vault may have the right one
            segment, sha256 = journal.read_segment(vault, key, previous)  # noqa: PLW2901
        segments.append(segment)
        previous = sha256
    return segments
