"""Mend the journal of a target in the vault: what is damaged or missing there is put back from copies (docs/adr/0080).

No private key is needed: each record has the SHA-256 of the one before it, and those of its packs. Nothing that is as
it was written is replaced, and nothing is removed before its good bytes are in memory and checked. Whatever is
interrupted, the same call continues; drains and rotations may run meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache

from coffre.model.errors import IntegrityError, JournalError, StoreError
from coffre.model.journal import JournalState
from coffre.operations.copy.as_mended import AsMended
from coffre.operations.copy.from_copies import Copies, same_as
from coffre.operations.copy.interval_objects import IntervalObjects, Repair, Unit
from coffre.operations.copy.interval_repairs import Base, IntervalRepairs
from coffre.operations.copy.put_back import Need, PutBack, stored_sha256
from coffre.stores.store import ObjectInfo
from coffre.vault.codec import FrameDecoder
from coffre.vault.layout import interval_of, journal_prefix
from coffre.vault.vault import Vault


@dataclass(frozen=True)
class MendJournalJob:
    """The journal of one target to be mended.

    Parameters
    ----------
    vault
        Where it is damaged: this is written.
    since
        Since when every moment is kept.
    bases
        What the manifests of good backups of the target say of a journal.
    state
        What the catalog knew before the vault is listed; None: nothing.
    suspects
        Packs that a verification has found damaged.
    look
        Returns what is wrong with the journal in a vault, a sentence for each.
    decoder
        Opens definitions, if it has the private key: otherwise only their length is compared.
    dry_run
        Only look for what is damaged, and for good bytes of it.
    check
        Called before each object; what it raises stops the work between two objects.
    """

    vault: Vault
    copies: Copies
    target: str
    since: datetime
    bases: Callable[[], Iterable[Base]]
    now: datetime
    state: JournalState | None = None
    suspects: Collection[str] = ()
    look: Callable[[Vault], Iterable[str]] = lambda _: ()
    decoder: FrameDecoder = field(default_factory=FrameDecoder)
    dry_run: bool = False
    check: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class MendedJournal:
    """What came of it.

    `lost` are the objects of which no copy has good bytes, and `refused` those of copies that are not what they have to
    be, each with the reason. Of `unproven` ones, which were put back, only a copy says that they are right. `remains`
    is what is still wrong, with the moments that it costs.
    """

    keys: tuple[str, ...] = ()
    size_bytes: int = 0
    lost: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    unproven: tuple[str, ...] = ()
    remains: tuple[str, ...] = ()


def mend_journal(job: MendJournalJob) -> MendedJournal:
    """Put back what is damaged or missing of a target's journal. Running it again is right at any time.

    Looked at are all records, the packs that the vault does not list with their length, and those that a verification
    has found damaged. What no moment of the window needs is left to the rotation.

    Raises
    ------
    JournalError
        `JOURNAL_NONE`: no place has anything of it.
    StoreError, StoreTransientError
        The vault refuses, or does not answer; or no copy can be listed.
    """
    prefix, work = journal_prefix(job.target), _Work(job)
    own: dict[str, dict[str, ObjectInfo]] = {}
    for info in job.vault.store.list(prefix):
        if (of := interval_of(info.key)) is not None:
            own.setdefault(of[1], {})[info.key] = info
    offered: dict[str, set[str]] = {}
    for key in job.copies.keys(prefix):
        if (of := interval_of(key)) is not None:
            offered.setdefault(of[1], set()).add(key)
    bases = cache(lambda: list(job.bases()))
    ids = sorted({*own, *offered})
    if not ids:
        raise JournalError(
            f'Neither the vault nor a copy has anything of a journal of "{job.target}".',
            code="JOURNAL_NONE",
            hint="`coffre journal list` shows which targets have one.",
        )
    for interval in ids:
        state = job.state if job.state is not None and job.state.interval == interval else None
        objects = IntervalObjects(
            job.vault, job.copies, job.target, interval, own.get(interval, {}), offered.get(interval, set())
        )
        repairs = IntervalRepairs(
            objects, job.since, bases, state, job.suspects, job.decoder, is_newest=interval == ids[-1]
        )
        work.bring(repairs, objects)
    return work.result()


@dataclass
class _Work:
    """Brings objects, and remembers what came of each."""

    job: MendJournalJob
    keys: list[str] = field(default_factory=list)
    size: int = 0
    lost: dict[str, str] = field(default_factory=dict)
    unproven: list[str] = field(default_factory=list)
    planned: dict[str, tuple[str, int]] = field(default_factory=dict)

    def bring(self, repairs: IntervalRepairs, objects: IntervalObjects) -> None:
        """Put back what has to be of an interval."""
        writer = PutBack(self.job.vault.store, self.job.now)
        need: Need | None = None
        for unit in repairs.units():
            if unit.record is None and unit.of not in self.planned and not objects.exists(unit.of):
                continue  # a rotation has removed it meanwhile, its record first
            if need is None and not self.job.dry_run:
                like = objects.begin_key if objects.begin_key in objects.own else min(objects.own, default="")
                need = writer.need_of(like) if like else Need()
            self._bring_unit(unit, writer, need or Need())
        self.lost |= objects.lost

    def result(self) -> MendedJournal:
        """Return what came of all of it, after a last look at the journal."""
        vault = self.job.vault
        if self.job.dry_run:
            vault = Vault(AsMended(vault.store, self.job.copies, self.planned))
        return MendedJournal(
            tuple(self.keys),
            self.size,
            self.lost,
            dict(self.job.copies.refused),
            tuple(self.unproven),
            tuple(self.job.look(vault)),
        )

    def _bring_unit(self, unit: Unit, writer: PutBack, need: Need) -> None:
        for pack in unit.packs:
            self._bring(pack, writer, need)
        if unit.record is None:
            return
        lacking = [pack.key for pack in unit.packs if pack.key in self.lost]
        if lacking:  # a record without what it names would promise too much
            self.lost[unit.record.key] = f"It is of no use without {lacking[0]}, which no copy has."
        else:
            self._bring(unit.record, writer, need)

    def _bring(self, one: Repair, writer: PutBack, need: Need) -> None:
        self.job.check()
        try:
            body = self.job.copies.find(one.key, same_as(one.key, one.sha256))
        except IntegrityError as error:
            self.lost[one.key] = error.message
            return
        if self.job.dry_run:
            self.planned[one.key] = one.sha256, len(body)
        elif not self._put(one, body, writer, need):
            return
        self.keys.append(one.key)
        self.size += len(body)
        if not one.is_proven:
            self.unproven.append(one.key)

    def _put(self, one: Repair, body: bytes, writer: PutBack, need: Need) -> bool:
        """Store an object, unless another one has been stored there since it was looked at."""
        now = stored_sha256(self.job.vault.store, one.key, one.sha256)
        if now == one.sha256:
            return False
        if now is not None and now == one.seen:
            writer.put(one.key, body, Need(need.until or self.job.now, need.mode, is_held=need.is_held))
            return True
        if now is None:
            try:
                writer.add(one.key, body, need)
            except StoreError as error:
                if error.code != "OBJECT_EXISTS":
                    raise
            else:
                return True
        self.lost[one.key] = "Something else has been stored there meanwhile: run the command again."
        return False
