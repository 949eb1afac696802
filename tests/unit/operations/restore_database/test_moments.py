"""Moments of what is stored: an end that was lost, and transactions of two histories."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.unit.operations.conftest import Scene
from tests.unit.operations.stored_journal import backup_of, journal_of, lsn_at

from coffre.model.errors import RestoreError
from coffre.model.moment import Moment
from coffre.operations.restore_database.moments import base_for
from coffre.vault import journal
from coffre.vault.codec import FrameDecoder


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
