"""Moments of what is stored: an end that was lost, and transactions of two histories."""

from __future__ import annotations

import hashlib
import json
import runpy
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.operations.conftest import Scene
from tests.unit.operations.stored_journal import backup_of, journal_of, lsn_at

from coffre.model.backup import Backup
from coffre.model.errors import IntegrityError, RestoreError
from coffre.model.moment import Moment
from coffre.operations.restore_database.interval_parts import parts_of
from coffre.operations.restore_database.moments import base_for
from coffre.operations.stored_backup.open_backup import manifest_of
from coffre.policy.moments import Point, choose, made_from
from coffre.vault import journal
from coffre.vault.codec import FrameDecoder
from coffre.vault.layout import interval_end_key, interval_key
from coffre_cli.commands.keys.recovery_kit import SCRIPT


def test_where_the_last_segments_were_lost_the_journal_ends_before_them(scene: Scene) -> None:
    base = backup_of(scene, 7.5)
    interval = journal_of(scene, (8, 7, 6, 5), ended=4.5)

    def base_at(age_days: float, *, by_lsn: bool) -> str:
        moment = Moment(lsn=f"0/{lsn_at(age_days):X}") if by_lsn else Moment(time=scene.now - timedelta(days=age_days))
        return base_for(moment, scene.vault, "shop", [base], None, FrameDecoder).id

    assert {base_at(age, by_lsn=by_lsn) for age in (7, 5) for by_lsn in (True, False)} == {base.id}
    scene.store.delete(journal.segment_keys(scene.vault, "shop", interval)[2].key)

    assert {base_at(age, by_lsn=by_lsn) for age in (7, 6.1) for by_lsn in (True, False)} == {base.id}
    for by_lsn in (True, False):
        with pytest.raises(RestoreError, match="the segments from 3 to 3 are missing"):
            base_at(5, by_lsn=by_lsn)


@pytest.mark.parametrize("what", ["missing", "damaged", "changed"])
def test_what_lies_before_and_after_a_lost_record_can_be_restored(scene: Scene, what: str) -> None:
    bases = [backup_of(scene, age) for age in (9.8, 6.8, 4.5)]
    interval = journal_of(scene, (10, 9.5, 9, 8, 7, 6, 5, 4, 3))
    record = scene.root / journal.segment_keys(scene.vault, "shop", interval)[3].key
    if what == "missing":
        record.unlink()
    else:
        record.write_bytes(record.read_bytes().replace(b'"lines":1', b'"lines":2') if what == "changed" else b"{}")

    def base_at(age_days: float) -> str:
        moment = Moment(time=scene.now - timedelta(days=age_days))
        return base_for(moment, scene.vault, "shop", bases, None, FrameDecoder).id

    assert {base_at(age) for age in (9.7, 9, 8)} == {bases[0].id}
    # What the second base does not show can be in the segment that was lost
    for age in (7.5, 6.5, 5):
        with pytest.raises(RestoreError, match=r"gap of the journal \(the (record of the )?segment [45]") as caught:
            base_at(age)
        assert "2026-11-14 05:00:00" in (caught.value.hint or "")
    assert {base_at(age) for age in (4.4, 3)} == {bases[2].id}


def test_a_damaged_end_costs_the_last_segment_alone(scene: Scene) -> None:
    base = backup_of(scene, 7.5)
    interval = journal_of(scene, (8, 7, 6, 5), ended=4.5)
    (scene.root / interval_end_key("shop", interval)).write_bytes(b"{}")

    def base_at(age_days: float) -> str:
        moment = Moment(time=scene.now - timedelta(days=age_days))
        return base_for(moment, scene.vault, "shop", [base], None, FrameDecoder).id

    assert base_at(6) == base.id
    with pytest.raises(RestoreError, match="the record of its end is damaged"):
        base_at(5.5)


def test_a_number_that_two_histories_of_the_server_have_is_no_moment(scene: Scene) -> None:
    backups = [backup_of(scene, 9.5), backup_of(scene, 5.5, "e" * 64)]
    journal_of(scene, (10, 9, 8, 7.5, 7), ended=6.5)
    journal_of(scene, (6, 5.3, 5.2, 5), print_="e" * 64, system="2")

    def base_before(xid: int) -> str:
        moment = Moment(before_transaction=xid)
        return base_for(moment, scene.vault, "shop", backups, None, lambda: FrameDecoder(())).id

    assert base_before(4) == backups[0].id
    with pytest.raises(RestoreError, match="has had 2 transactions 3") as caught:
        base_before(3)
    assert caught.value.code == "JOURNAL_MOMENT"
    assert "2026-11-14 17:00:00.000000+00 and 2026-11-17 05:00:00.000000+00" in caught.value.message
    with pytest.raises(RestoreError, match="has no transaction 9"):
        base_before(9)


def test_a_damaged_manifest_of_another_backup_prevents_no_moment(scene: Scene) -> None:
    base, other = backup_of(scene, 7.5), backup_of(scene, 20)
    journal_of(scene, (8, 7, 6, 5), ended=4.5)
    (scene.root / (other.manifest_key or "")).write_bytes(b"{}")

    def base_at(age: float) -> str:
        moment = Moment(time=scene.now - timedelta(days=age))
        return base_for(moment, scene.vault, "shop", [other, base], None, FrameDecoder).id

    assert base_at(6) == base.id
    with pytest.raises(IntegrityError):  # may be why there is none
        base_at(15)


@pytest.mark.parametrize("age", [7.9, 7, 6.5, 6, 5.5])
def test_the_kit_applies_the_segments_that_a_restore_applies(scene: Scene, age: float) -> None:
    base = backup_of(scene, age)
    interval = journal_of(scene, (8, 7, 6, 5), ended=4.5)
    # One that a drain stored which did not know of the end
    last = journal.read_segment(scene.vault, journal.segment_keys(scene.vault, "shop", interval)[-1], None)[0]
    previous = next(scene.root.glob("v1/journal/shop/*/00000003-*.json"))
    late = {"number": 4, "from_lsn": lsn_at(5), "to_lsn": lsn_at(3), "seen_at": scene.now}
    journal.commit_segment(scene.vault, "shop", last.model_copy(update={**late, "previous": sha256(previous)}))

    content = manifest_of(scene.vault, base).database
    known = journal.read_interval(scene.vault, "shop", interval)
    [stretch] = parts_of(scene.vault, known, [(base.id, content.database, content.journal)], None)
    assert content.journal is not None
    chosen = made_from(Point(time=scene.now), stretch, base.id, content.journal)
    kit = kit_of(scene, base)
    assert [one["number"] for one in kit.segments] == [one.number for one in chosen.segments]
    assert kit.until == stretch.until(Point(time=scene.now)).time


@pytest.mark.parametrize(("of_base", "age"), [(7.5, 4.8), (7.5, 4.6), (7.5, 4.2), (7.5, 5), (4.4, 4.3), (4.4, 4.1)])
def test_the_kit_applies_a_tail_where_a_restore_does(scene: Scene, of_base: float, age: float) -> None:
    base = backup_of(scene, of_base)
    interval = journal_of(scene, (8, 7, 6, 5), ended=4.5, tail=4)
    at = scene.now - timedelta(days=age)

    content = manifest_of(scene.vault, base).database
    known = journal.read_interval(scene.vault, "shop", interval)
    stretches = parts_of(scene.vault, known, [(base.id, content.database, content.journal)], None)
    chosen = choose("shop", Point(at), stretches, scene.now)
    kit = kit_of(scene, base, at)
    assert [one["number"] for one in kit.segments] == [one.number for one in chosen.segments]
    assert (kit.tail is None) == (chosen.end is None)
    assert kit_of(scene, base).tail is not None  # the end is that of the tail

    with pytest.raises(SystemExit, match="is stored up to 2026-11-18 05:00:00"):
        kit_of(scene, base, scene.now - timedelta(days=3.9))
    # Without the last segment there is no tail
    (scene.root / journal.segment_keys(scene.vault, "shop", interval)[-1].key).unlink()
    with pytest.raises(SystemExit, match="the last segments of the journal are missing"):
        kit_of(scene, base, at)


def test_the_kit_takes_a_backup_that_a_journal_continues(scene: Scene) -> None:
    base = backup_of(scene, 7.5)
    backup_of(scene, 4.2, "e" * 64)  # after the change, and before the drain that found it
    journal_of(scene, (8, 7, 6, 5), ended=4.5, tail=4)

    base_for_kit = runpy.run_path(str(SCRIPT))["base_for"]
    assert base_for_kit(scene.root, "shop", scene.now - timedelta(days=4.1)) == base.id


def kit_of(scene: Scene, base: Backup, at: datetime | None = None) -> Any:
    """The journal of a backup as the recovery kit reads it."""
    manifest = json.loads(manifest_of(scene.vault, base).model_dump_json(exclude_none=True))
    backup = SimpleNamespace(manifest=manifest, vault=scene.root)
    return runpy.run_path(str(SCRIPT))["Journal"](backup, at)


@pytest.mark.parametrize("what", ["missing", "damaged", "changed", "last", "end"])
def test_the_kit_restores_what_lies_before_and_after_a_lost_record(scene: Scene, what: str) -> None:
    first, second = backup_of(scene, 9.8), backup_of(scene, 4.5)
    interval = journal_of(scene, (10, 9.5, 9, 8, 7, 6, 5, 4, 3), ended=2.5)
    keys = journal.segment_keys(scene.vault, "shop", interval)
    record = scene.root / keys[-1 if what == "last" else 3].key
    if what == "end":
        record = scene.root / interval_end_key("shop", interval)
    if what in ("missing", "last"):
        record.unlink()
    else:
        record.write_bytes(record.read_bytes().replace(b'"lines":1', b'"lines":2') if what == "changed" else b"{")

    last = 4 if what in ("last", "end") else 8
    early = kit_of(scene, first, scene.now - timedelta(days=last))
    assert early.until == scene.now - timedelta(days=last)
    with pytest.raises(SystemExit, match=r"give --at, 2026-11-1[48] 05:00:00"):
        kit_of(scene, first)
    if last == 8:
        late = kit_of(scene, second)
        assert [one["number"] for one in late.segments] == [6, 7, 8]
        assert late.until == scene.now - timedelta(days=2.5)


@pytest.mark.parametrize("changed", ["1", "[1]", "key", "time", "frame"])
def test_the_kit_takes_a_record_of_another_form_for_a_damaged_one(scene: Scene, changed: str) -> None:
    base = backup_of(scene, 9.8)
    interval = journal_of(scene, (10, 9.5, 9, 8, 7), ended=6)
    newer = journal_of(scene, (5, 4))
    keys = journal.segment_keys(scene.vault, "shop", interval)

    def damage(key: str, field: str) -> None:
        path, flipped = scene.root / key, field[:-1] + chr(ord(field[-1]) ^ 1)
        body = path.read_text()
        cases = {"key": body.replace(f'"{field}"', f'"{flipped}"'), "time": body.replace("T05:", "T95:")}
        cases["frame"] = body.replace('"pack"', '"pacc"')
        path.write_text(cases.get(changed, changed))

    # Of a newer interval: it hides no older one
    damage(interval_key("shop", newer), "from_lsn")
    whole = kit_of(scene, base)
    assert ([one["number"] for one in whole.segments], whole.until) == ([1, 2, 3, 4], scene.now - timedelta(days=6))

    # Of the last segment, and of the end: what comes before can be restored
    for key, field, last in ((keys[-1].key, "to_lsn", 8), (interval_end_key("shop", interval), "stored_lsn", 9)):
        if (changed, key) == ("frame", interval_end_key("shop", interval)):
            continue  # it has none
        damage(key, field)
        with pytest.raises(SystemExit, match="give --at"):
            kit_of(scene, base)
        assert kit_of(scene, base, scene.now - timedelta(days=last)).until == scene.now - timedelta(days=last)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
