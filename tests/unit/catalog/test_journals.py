"""How far journals are: of two that change the same state, one learns that it came too late."""

from __future__ import annotations

from datetime import datetime

import pytest
from tests.unit.catalog.conftest import RawTable

from coffre.catalog.catalog import Catalog
from coffre.model.errors import IntegrityError
from coffre.model.journal import JournalState


def test_a_state_is_changed_only_as_it_was_seen(catalog: Catalog, raw_table: RawTable, now: datetime) -> None:
    journals = catalog.journals
    assert (journals.find("shop"), journals.all()) == (None, {})
    first = journals.keep(JournalState(target="shop", slot="one"), None)
    assert first is not None
    assert journals.keep(JournalState(target="shop", slot="two"), None) is None
    other = journals.keep(JournalState(target="other"), None)

    second = journals.keep(first.model_copy(update={"stored_lsn": 2**63, "seen_at": now}), first)
    assert second is not None
    assert journals.find("shop") == second
    assert journals.keep(first.model_copy(update={"slot": "late"}), first) is None
    # A remark does not stop who has seen the state, and changes no later one.
    journals.note(second.model_copy(update={"error": "JOURNAL_SLOT_BUSY"}))
    noted = journals.find("shop")
    assert noted is not None
    assert (noted.error, noted.revision) == ("JOURNAL_SLOT_BUSY", second.revision)
    second = journals.keep(second, second)
    assert second is not None
    journals.note(noted)
    assert journals.find("shop") == second
    assert not journals.forget(first)
    assert journals.all() == {"shop": second, "other": other}

    # One that another version has written has other fields, and is seen all the same.
    key = {"pk": "JOURNAL", "sk": "shop"}
    written = '{"target": "shop", "slot": "one", "unknown": 1}'
    raw_table.update_item(
        Key=key, UpdateExpression="SET #r = :r", ExpressionAttributeNames={"#r": "record"},
        ExpressionAttributeValues={":r": written},
    )  # fmt: skip
    seen = journals.find("shop")
    assert seen is not None
    assert journals.keep(seen.model_copy(update={"slot": "three"}), seen) is not None

    raw_table.put_item(Item={**key, "revision": 9, "record": "{"})
    with pytest.raises(IntegrityError, match="damaged"):
        journals.find("shop")
    raw_table.delete_item(Key=key)
    assert journals.forget(seen)
