"""What backups and drains leave of a journal: bases, intervals, segments. No database is needed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import timedelta

from tests.unit.operations.conftest import CONTENT, Scene
from ulid import ULID

from coffre.model.backup import Backup
from coffre.model.journal import IntervalEnd, JournalEnd, JournalInterval, JournalSegment
from coffre.model.journal_lines import pieces_of
from coffre.model.manifest import JournalBase
from coffre.operations.stored_backup.catalog_record import completed
from coffre.stores.store import Store
from coffre.vault import journal, journal_packs
from coffre.vault.codec import FrameEncoder
from coffre.vault.layout import interval_of, journal_part

PRINT = "f" * 64


def lsn_at(age_days: float) -> int:
    """The position of the database's WAL at a time: it grows by 1,000 a day."""
    return int((100 - age_days) * 1000)


def backup_of(scene: Scene, age_days: float, print_: str = PRINT) -> Backup:
    """Leave a backup that can be a base."""
    at, lsn = scene.now - timedelta(days=age_days), lsn_at(age_days)
    content = CONTENT.model_copy(
        update={"journal": JournalBase(snapshot="1:1:", before_lsn=lsn, lsn=lsn, at=at, fingerprint=print_)}
    )
    begun = scene.begin(age_days)
    manifest, committed = scene.commit(begun, (scene.pack(begun.id),), content)
    done = scene.catalog.complete_backup(completed(begun, manifest, committed))
    return scene.catalog.keeping.mark_verified(done.id, scene.now)


def journal_of(
    scene: Scene,
    ages: Iterable[float],
    target: str = "shop",
    ended: float | None = None,
    print_: str = PRINT,
    system: str = "1",
    tail: float | None = None,
    recipients: Sequence[str] = (),
) -> str:
    """Leave an interval that began at the first of these ages, with a segment up to each of the others.

    Each segment has the transaction of its number. One that has ended can have a tail up to an age.
    """
    first, *others = ages
    interval = str(ULID.from_datetime(scene.now - timedelta(days=first)))
    encoder, vault = FrameEncoder(recipients), scene.vault
    frames = journal_packs.store_definitions(vault, target, interval, encoder, b"{}")
    begun = JournalInterval(
        id=interval,
        target=target,
        database="shop",
        slot="coffre_shop_1",
        plugin="test_decoding",
        system=system,
        timeline=1,
        from_lsn=lsn_at(first),
        started_at=scene.now - timedelta(days=first),
        fingerprint=print_,
        recipients=tuple(recipients),
        definitions=frames,
    )
    previous, position = journal.begin_interval(vault, begun), begun.from_lsn
    dated(scene, interval, first)
    numbered, last = list(enumerate([*others, *([tail] if tail is not None else [])], 1)), None
    for number, age in numbered:
        lines = [(lsn_at(age), number, data) for data in transaction(scene, number, age)]
        stored = journal_packs.store_lines(vault, target, interval, number, encoder, pieces_of(lines))
        segment = JournalSegment(
            interval=interval,
            number=number,
            previous=previous,
            from_lsn=position,
            to_lsn=lsn_at(age),
            seen_at=scene.now - timedelta(days=age),
            is_complete=True,
            transactions=1,
            lines=1,
            size=stored.size,
            frames=stored.frames,
            packs=stored.packs,
        )
        if tail is not None and number == len(numbered):
            last = segment
            dated(scene, interval, age, f"{number:08d}")
            break
        previous, position = journal.commit_segment(vault, target, segment), segment.to_lsn
        dated(scene, interval, age, f"{number:08d}")
    if ended is not None:
        at = scene.now - timedelta(days=ended)
        end = IntervalEnd(
            reason=JournalEnd.DEFINITIONS,
            stored_lsn=position,
            number=len(others),
            seen_at=at,
            ended_at=at,
            tail=last,
        )
        journal.end_interval(vault, target, interval, end)
        dated(scene, interval, ended, "end")
    return interval


def transaction(scene: Scene, number: int, age: float) -> tuple[str, str]:
    return f"BEGIN {number}", f"COMMIT {number} (at {scene.now - timedelta(days=age):%Y-%m-%d %H:%M:%S}+00)"


def dated(scene: Scene, interval: str, age_days: float, part: str = "") -> None:
    then = (scene.now - timedelta(days=age_days)).timestamp()
    for info in list(scene.store.list("v1/journal/")):
        if interval in info.key and part in ("", journal_part(info.key)):
            os.utime(scene.root / info.key, (then, then))


def left(store: Store, interval: str) -> dict[str, int]:
    """What a store has of an interval: the number of objects by part."""
    found: dict[str, int] = {}
    for info in store.list("v1/journal/"):
        if (interval_of(info.key) or ("", ""))[1] == interval:
            found[journal_part(info.key)] = found.get(journal_part(info.key), 0) + 1
    return found


WHOLE = {"definitions": 1, "interval": 1}


def numbers(*wanted: int) -> dict[str, int]:
    """A record and a pack of each of these segments."""
    return {f"{number:08d}": 2 for number in wanted}


def records(store: Store, interval: str) -> set[str]:
    keys = [info.key for info in store.list("v1/journal/") if interval in info.key and info.key.endswith(".json")]
    return {journal_part(key) for key in keys}
