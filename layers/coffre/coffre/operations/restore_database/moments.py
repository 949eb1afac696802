"""What is stored of a target's journal, and how the moment that a person asks for is made from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from coffre.model.backup import Backup
from coffre.model.errors import CoffreError, IntegrityError, ObjectMissingError, RestoreError
from coffre.model.journal import JournalState
from coffre.model.kinds import TargetKind
from coffre.model.manifest import DatabaseContent
from coffre.model.moment import Moment
from coffre.operations.restore_database.interval_parts import Base, parts_of
from coffre.operations.restore_database.job import RestoreJob, Source
from coffre.operations.restore_database.journal_tail import require_fit
from coffre.operations.stored_backup.open_backup import open_manifest
from coffre.policy.moments import Chosen, Point, Stretch, choose
from coffre.postgres.journal.changes import Line, parse_lsn
from coffre.postgres.journal.transactions import Transaction, outline
from coffre.vault import journal
from coffre.vault.codec import FrameDecoder
from coffre.vault.vault import Vault

_XIDS: Final = 1 << 32


def chosen_for(job: RestoreJob, source: Source, at: Moment) -> Chosen[str]:
    """Return how a moment is made from the backup of a restore.

    Raises
    ------
    RestoreError
        `JOURNAL_MOMENT`: it cannot be made from this backup.
    IntegrityError
        `JOURNAL_DAMAGED`
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
    chosen = _choose(target, point, stretches, damage)
    require_fit(job, chosen)
    return chosen


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

    One that lacks a segment has several parts. With `on_damage` one of which nothing can be used is left out, and its
    error is given to it.

    Raises
    ------
    IntegrityError
        `JOURNAL_DAMAGED`
    """
    found = list[Stretch[B]]()
    for interval in journal.intervals(vault, target, on_damage):
        try:
            found += parts_of(vault, interval, backups, state)
        except IntegrityError as error:
            if on_damage is None:
                raise
            on_damage(error)
    return found


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
    for segment in reversed(stretch.all_segments):
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
