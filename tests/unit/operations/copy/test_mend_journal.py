"""What a vault's journal has lost, or has damaged, is put back from a copy; what is intact is never touched."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from tests.faulty_store import Fault, FaultyStore, KilledError
from tests.unit.operations.conftest import Scene
from tests.unit.operations.copy.test_mend import Versioned
from tests.unit.operations.stored_journal import backup_of, journal_of, lsn_at

from coffre.model.errors import StoreError, StoreTransientError
from coffre.model.journal import IntervalEnd, JournalEnd, JournalState
from coffre.model.locks import Lock, LockMode, LockState
from coffre.operations.copy.from_copies import Copies
from coffre.operations.copy.mend_journal import MendedJournal, MendJournalJob, mend_journal
from coffre.operations.stored_backup.kept_journal import journal_bases
from coffre.operations.verify.journals import JournalLook
from coffre.stores.store import Store, put_new
from coffre.stores.with_copies import Place
from coffre.vault import journal
from coffre.vault.codec import FrameDecoder, new_identity, public_key
from coffre.vault.layout import interval_end_key, interval_key, journal_prefix, segment_key
from coffre.vault.vault import Vault

IDENTITY = new_identity()


@dataclass(frozen=True)
class Looking:
    """What a look at a journal needs."""

    vault: Vault
    scene: Scene

    def is_time_over(self) -> bool:
        return False

    def journal_since(self, _target: str) -> datetime:
        return self.scene.now - timedelta(days=7)


@dataclass
class Mending:
    """A vault with a journal, and a copy of all of it."""

    scene: Scene
    vault: FaultyStore
    copy: FaultyStore
    whole: dict[str, bytes]
    suspects: tuple[str, ...] = ()
    state: JournalState | None = None

    @classmethod
    def of(cls, scene: Scene) -> Mending:
        whole = {info.key: scene.store.get(info.key) for info in scene.store.list()}
        return cls(scene, FaultyStore(dict(whole)), FaultyStore(dict(whole)), whole)

    def job(self, *more: Store, dry_run: bool = False) -> MendJournalJob:
        vault = Vault(self.vault)
        places = [Place(f"copy-{at}", partial(_itself, store)) for at, store in enumerate((self.copy, *more))]
        living = list(self.scene.catalog.backups())
        return MendJournalJob(
            vault=vault,
            copies=Copies(places),
            target="shop",
            since=self.scene.now - timedelta(days=7),
            bases=lambda: journal_bases(vault, living),
            now=self.scene.now,
            state=self.state,
            suspects=self.suspects,
            look=lambda place: look_at(self.scene, place),
            dry_run=dry_run,
        )

    def mend(self, *more: Store, dry_run: bool = False) -> MendedJournal:
        return mend_journal(self.job(*more, dry_run=dry_run))

    def require_whole(self, *but: str) -> None:
        assert {key for key, body in self.whole.items() if self.vault.objects.get(key) != body} == set(but)


def _itself(store: Store) -> Store:
    return store


def look_at(scene: Scene, vault: Vault) -> Iterable[str]:
    look = JournalLook(Looking(vault, scene), list(scene.catalog.backups()))
    return [problem.text for problem in look.run("shop")]


def spoil(store: FaultyStore, key: str) -> None:
    """Change a byte, and no length."""
    body = store.objects[key]
    store.objects[key] = bytes([body[0] ^ 1]) + body[1:]


def keys_of(scene: Scene, interval: str, number: int) -> tuple[str, str]:
    """The keys of a segment's record and pack."""
    [key] = [one for one in journal.segment_keys(scene.vault, "shop", interval) if one.number == number]
    return key.key, journal.read_segment(scene.vault, key, None)[0].packs[0].key


def definitions_of(scene: Scene, interval: str) -> str:
    return journal.read_interval(scene.vault, "shop", interval).definitions[0].pack


def state_of(scene: Scene, interval: str) -> JournalState:
    """What the catalog knows of an open interval."""
    last = journal.segment_keys(scene.vault, "shop", interval)[-1]
    sha256 = journal.read_segment(scene.vault, last, None)[1]
    return JournalState(target="shop", interval=interval, number=last.number, sha256=sha256)


def test_whatever_is_damaged_or_missing_is_put_back_and_nothing_else_is_touched(scene: Scene) -> None:
    backup_of(scene, 8)
    ended = journal_of(scene, (6.9, 6.5, 6), ended=5.9, print_="e" * 64)
    gone = journal_of(scene, (5.5, 5.2), ended=5.1, print_="d" * 64)
    interval = journal_of(scene, (10, 8.5, 7, 6, 5, 4, 3, 2, 1))
    mending = Mending.of(scene)
    assert (mending.mend(), mending.vault.requests["put"]) == (MendedJournal(), 0)
    mending.state = state_of(scene, interval)

    records = {number: keys_of(scene, interval, number) for number in range(1, 9)}
    lost = [*records[2], records[3][1], records[8][0], definitions_of(scene, ended), interval_end_key("shop", ended)]
    lost += [key for key in mending.whole if gone in key]
    for key in lost:
        del mending.vault.objects[key]
    damaged = [interval_key("shop", interval), records[4][0], records[5][1], records[6][1]]
    for key in damaged[:3]:
        spoil(mending.vault, key)
    mending.vault.objects[records[6][1]] = b"short"
    changed = mending.vault.objects[records[7][0]].replace(b'"transactions":1', b'"transactions":2')
    mending.vault.objects[records[7][0]] = changed
    damaged.append(records[7][0])
    unseen = records[1][1]
    spoil(mending.vault, unseen)
    mending.suspects = (records[5][1],)
    before = dict(mending.vault.objects)

    planned = mending.mend(dry_run=True)
    assert mending.vault.objects == before
    done = mending.mend()

    assert planned == done
    assert set(done.keys) == {*lost, *damaged}
    assert (done.lost, done.refused, done.remains) == ({}, {}, ())
    assert done.size_bytes == sum(len(mending.whole[key]) for key in done.keys)
    # Only a copy says that there was this interval, and why the other one ended
    assert {key.replace(gone, "GONE").replace(ended, "ENDED") for key in done.unproven} == {
        "v1/journal/shop/ENDED/end.json",
        *(key.replace(gone, "GONE") for key in mending.whole if gone in key and "definitions" not in key),
    }
    mending.require_whole(unseen)
    mending.suspects = (unseen,)
    assert mending.mend().keys == (unseen,)
    mending.require_whole()


def test_what_a_copy_has_instead_is_refused_by_its_name_and_the_rest_is_brought(scene: Scene) -> None:
    backup_of(scene, 8)
    interval = journal_of(scene, (10, 8.5, 7, 6, 5, 4, 3, 2, 1))
    other = journal_of(scene, (0.9, 0.5), ended=0.4, print_="e" * 64)
    mending = Mending.of(scene)
    records = {number: keys_of(scene, interval, number) for number in range(1, 9)}
    for key in (records[2][0], records[3][1], records[5][0], records[6][1], records[7][0]):
        del mending.vault.objects[key]
    mending.copy.objects[records[2][0]] = mending.whole[records[2][0]].replace(b'"lines":1', b'"lines":9')
    mending.copy.objects[records[3][1]] = mending.whole[records[3][1]][:-1]
    mending.copy.objects[records[5][0]] = mending.whole[records[4][0]]
    end = interval_end_key("shop", other)
    del mending.vault.objects[end]
    mending.copy.objects[end] = mending.whole[end].replace(b'"number":1', b'"number":0')
    left = dict(mending.vault.objects)

    done = mending.mend()

    assert set(done.keys) == {records[6][1], records[7][0]}
    refused = {records[2][0], records[3][1], records[5][0]}
    assert done.lost.keys() == refused
    assert done.refused.keys() == {*refused, end}
    assert all(why.startswith("The copy copy-0: ") for why in done.refused.values())
    assert [text.rpartition("From ")[2] for text in done.remains] == [
        "2026-11-13 17:00 UTC on, no moment can be restored.",
        "2026-11-17 05:00 UTC on, no moment can be restored.",
    ]
    assert {key: mending.vault.objects[key] for key in left} == left
    # and from another copy, which has them
    done = mending.mend(FaultyStore(dict(mending.whole)))
    assert (set(done.keys), done.lost, done.remains) == ({*refused, end}, {}, ())
    mending.require_whole()


def test_nothing_that_a_copy_says_speaks_against_an_intact_record(scene: Scene) -> None:
    """A person who has the copy can make a chain of their own, also behind the last segment of the vault."""
    interval = journal_of(scene, (6, 5, 4, 3, 2, 1))
    mending = Mending.of(scene)
    keys, previous = journal.segment_keys(scene.vault, "shop", interval), "0" * 64
    for key in keys:
        record = journal.read_segment(scene.vault, key, None)[0].model_copy(update={"previous": previous})
        body = record.model_dump_json().encode()
        mending.copy.objects[key.key], previous = body, hashlib.sha256(body).hexdigest()
    more = record.model_copy(
        update={"number": 6, "previous": previous, "from_lsn": lsn_at(1), "packs": (), "frames": ()}
    )
    beyond = segment_key("shop", interval, 6, lsn_at(1))
    mending.copy.objects[beyond] = more.model_dump_json().encode()

    done = mending.mend()

    assert (done.keys, done.remains) == ((), ())
    assert set(done.refused) == {beyond}
    mending.require_whole()
    # The newest of an open interval is what the catalog says
    mending.state = state_of(scene, interval)
    del mending.vault.objects[keys[-1].key]
    assert mending.mend().lost.keys() == {keys[-1].key}
    mending.copy = FaultyStore(dict(mending.whole))
    mending.copy.objects[beyond] = more.model_copy(update={"previous": mending.state.sha256}).model_dump_json().encode()
    assert (mending.mend().keys, mending.mend()) == ((keys[-1].key,), MendedJournal())
    # and a copy's end does not end what the catalog says is open
    end = IntervalEnd(reason=JournalEnd.GAP, stored_lsn=lsn_at(1), number=5, ended_at=scene.now)
    mending.copy.objects[interval_end_key("shop", interval)] = end.model_dump_json().encode()
    assert "the next drain decides" in mending.mend().refused[interval_end_key("shop", interval)]
    mending.require_whole()
    # nor is a number without end looked for
    mending.state = None
    mending.copy.objects = {segment_key("shop", interval, 99_999_999, 1): b"{}"}
    hole = f"{journal_prefix('shop', interval)}00000006"
    assert mending.mend().lost[hole] == "No copy has the segments from 6 to 99999998."
    mending.require_whole()


def test_only_what_a_moment_of_the_window_needs_is_brought(scene: Scene) -> None:
    base = backup_of(scene, 9)
    past = journal_of(scene, (30, 29), ended=28, print_="d" * 64)
    left = journal_of(scene, (27, 26), print_="d" * 64)
    interval = journal_of(scene, (13, 11.5, 10.5, 9.5, 8.5, 7.5))
    mending = Mending.of(scene)
    gone = [key for key in mending.whole if past in key or left in key]
    gone += [key for number in (1, 2, 3, 4) for key in keys_of(scene, interval, number)]
    for key in gone:
        del mending.vault.objects[key]

    done = mending.mend()

    # The last one first: each is followed by one that exists
    needed = [keys_of(scene, interval, number) for number in (4, 3)]
    assert done.keys == tuple(key for record, pack in needed for key in (pack, record))
    mending.require_whole(*(set(gone) - {*needed[0], *needed[1]}))
    # Without a base nothing in front is missing; in between it is
    scene.catalog.keeping.mark_damaged(base.id, "It differs.", scene.now)
    for key in (*needed[0], *needed[1]):
        del mending.vault.objects[key]
    assert mending.mend() == MendedJournal()
    mending.vault.objects[needed[1][0]] = mending.whole[needed[1][0]]
    assert set(mending.mend().keys) == {needed[1][1], *needed[0]}


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.KILLED_BEFORE, Fault.KILLED_AFTER, Fault.ANSWER_LOST])
def test_wherever_it_is_interrupted_the_same_call_continues(scene: Scene, fault: Fault) -> None:
    backup_of(scene, 3)
    journal_of(scene, (4, 3, 2), ended=1.5)
    mending = Mending.of(scene)
    own = [key for key in mending.whole if key.startswith("v1/journal/")]
    for at in (0, 1, 2, 4, 7, 12):
        mending.vault.objects = {key: body for key, body in mending.whole.items() if key not in own[1:]}
        for key in own[1:5]:
            mending.vault.objects[key] = b"{}"
        writes = list[str]()

        def decide(call: str, key: str, at: int = at, writes: list[str] = writes) -> Fault:
            if call in ("put", "delete"):
                writes.append(key)
                return fault if len(writes) == at + 1 else Fault.NONE
            return Fault.NONE

        mending.vault.decide = decide
        with contextlib.suppress(KilledError, StoreError, StoreTransientError):
            mending.mend()
        mending.vault.decide = lambda _call, _key: Fault.NONE
        assert mending.mend().remains == ()
        mending.require_whole()


def test_drains_and_rotations_may_run_meanwhile(scene: Scene) -> None:
    interval = journal_of(scene, (9, 8, 7, 6, 5))
    mending = Mending.of(scene)
    records = {number: keys_of(scene, interval, number) for number in range(1, 5)}
    for key in (records[2][0], *records[4]):
        del mending.vault.objects[key]
    job = mending.job()

    def meanwhile() -> None:
        """A drain without a catalog stores its own segment; a rotation removes the first ones."""
        mending.vault.objects[records[4][0]] = b"of the drain"
        for key in (*records[1], *records[2], *records[3]):
            mending.vault.objects.pop(key, None)

    done = mend_journal(replace(job, check=meanwhile))

    assert mending.vault.objects[records[4][0]] == b"of the drain"
    assert "Something else has been stored there meanwhile" in done.lost[records[4][0]]
    # A rotation before the second record was looked for: all that came before it is gone as well
    mending = Mending.of(scene)
    del mending.vault.objects[records[2][0]]
    mending.vault.decide = lambda call, key: _removed(mending, (*records[1], *records[2]), call)
    assert mending.mend().keys == ()
    mending.require_whole(*records[1], *records[2])


def _removed(mending: Mending, keys: Iterable[str], call: str) -> Fault:
    if call == "get":
        for key in keys:
            mending.vault.objects.pop(key, None)
    return Fault.NONE


def test_definitions_are_opened_where_there_is_the_key(scene: Scene) -> None:
    interval = journal_of(scene, (3, 2), recipients=[public_key(IDENTITY)])
    mending = Mending.of(scene)
    key = definitions_of(scene, interval)
    del mending.vault.objects[key]

    assert mending.mend(dry_run=True).unproven == (key,)
    done = mend_journal(replace(mending.job(), decoder=FrameDecoder([IDENTITY])))
    assert (done.keys, done.unproven) == ((key,), ())
    # What no longer opens is found, and put back; without the key it is not
    mending.vault.objects[key] = mending.whole[key][:-1] + b"?"
    assert mending.mend() == MendedJournal()
    assert mend_journal(replace(mending.job(), decoder=FrameDecoder([IDENTITY]))).keys == (key,)
    mending.require_whole()
    del mending.vault.objects[key]
    mending.copy.objects[key] += b"more"
    assert "bytes, not" in mending.mend().lost[key]


def test_copies_that_do_not_answer_are_named_and_without_any_nothing_is_done(scene: Scene) -> None:
    interval = journal_of(scene, (4, 3, 2, 1))
    mending = Mending.of(scene)
    record, pack = keys_of(scene, interval, 2)
    del mending.vault.objects[record]
    said = list[str]()
    job = mending.job(FaultyStore(dict(mending.whole)))
    mending.copy.decide = lambda _call, _key: Fault.LOST

    with pytest.raises(StoreTransientError):
        mending.mend()
    done = mend_journal(replace(job, copies=replace(job.copies, report=lambda name, _: said.append(name))))

    assert (done.keys, said) == ((record,), ["copy-0"])
    mending.require_whole()
    # A second record of a segment, from elsewhere in the WAL
    other = segment_key("shop", interval, 2, 7)
    mending.vault.objects[other] = mending.whole[record].replace(b'"from_lsn":97000', b'"from_lsn":7')
    mending.copy.decide = lambda _call, _key: Fault.NONE
    assert mending.mend().lost.keys() == {other}
    assert pack in mending.vault.objects


def test_what_is_put_back_is_locked_as_the_rest_of_the_interval(scene: Scene, tmp_path: Path) -> None:
    """A copy has locks, and is a vault of its own (`coffre --vault`)."""
    interval = journal_of(scene, (4, 3, 2, 1))
    copy = Mending.of(scene).copy
    store = Versioned(tmp_path, now=lambda: scene.now)
    lock = LockState(Lock(LockMode.COMPLIANCE, scene.now + timedelta(days=30)), held=True)
    longer = LockState(Lock(LockMode.COMPLIANCE, scene.now + timedelta(days=60)), held=False)
    for key, body in copy.objects.items():
        put_new(store, key, body)
        store.locks[key] = lock
    (gone, _), (damaged, _) = keys_of(scene, interval, 2), keys_of(scene, interval, 3)
    (tmp_path / gone).unlink()
    del store.locks[gone]
    (tmp_path / damaged).write_bytes(b"{}")
    store.locks[damaged] = longer
    mending = Mending(scene, copy, copy, dict(copy.objects), state=state_of(scene, interval))

    done = mend_journal(replace(mending.job(), vault=Vault(store)))

    assert set(done.keys) == {gone, damaged}
    assert store.locks[gone] == lock
    assert store.locks[damaged] == LockState(longer.lock, held=True)


def test_a_tail_is_put_back_and_does_not_keep_the_end_away_that_names_it(scene: Scene) -> None:
    backup_of(scene, 5)
    interval = journal_of(scene, (6, 5.5, 4), ended=4, tail=3)
    mending, end = Mending.of(scene), interval_end_key("shop", interval)
    [pack] = [key for key in mending.whole if f"{interval}/00000003-" in key]
    for lost in ((pack,), (end,), (pack, end)):
        for key in lost:
            del mending.vault.objects[key]
        planned, done = mending.mend(dry_run=True), mending.mend()
        assert (set(done.keys), done.remains) == (set(planned.keys), planned.remains) == (set(lost), ())
        assert set(done.unproven) == (set(lost) if end in lost else set())
        mending.require_whole()
    spoil(mending.vault, pack)
    mending.suspects = (pack,)
    assert mending.mend().keys == (pack,)
    mending.require_whole()

    # Without the pack, the end is worth what it was
    for store in (mending.vault, mending.copy):
        del store.objects[pack]
    del mending.vault.objects[end]
    done = mending.mend()
    assert (done.keys, set(done.lost), len(done.remains)) == ((end,), {pack}, 1)
    # One of a copy that names what is not of its interval is refused
    del mending.vault.objects[end]
    mending.copy.objects[end] = mending.whole[end].replace(b"/00000003-", b"/00000001-")
    done = mending.mend()
    assert (done.keys, [end in one for one in done.refused]) == ((), [True])
