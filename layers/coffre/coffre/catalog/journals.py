"""How far the journal of each target has come: one document each, in the partition JOURNAL. The vault is the truth."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError
from pynamodb.expressions.condition import Condition

from coffre.catalog.items import JournalItem
from coffre.catalog.records import damaged, read_item
from coffre.catalog.tables import ConditionFailedError, DynamoTable, ItemQuery, RawItem
from coffre.model.document import describe_validation

if TYPE_CHECKING:
    from coffre.model.journal import JournalState

_PARTITION: Final = "JOURNAL"


class Journals:
    """The states of journals. Of two drains at the same time, only one can keep what it did."""

    def __init__(self, table: DynamoTable) -> None:
        self._table = table

    def find(self, target: str) -> JournalState | None:
        """Return a target's state as it is at this instant; None: it has none."""
        raw = self._table.get(_PARTITION, target)
        return _read(raw) if raw else None

    def all(self) -> dict[str, JournalState]:
        """Return all states by target."""
        found = [_read(raw) for raw in self._table.query(ItemQuery(_PARTITION))]
        return {state.target: state for state in found}

    def keep(self, state: JournalState, seen: JournalState | None) -> JournalState | None:
        """Replace the state that was seen (None: none), and return what is kept; None: it is another one by now."""
        kept = state.model_copy(update={"revision": 1 + (seen.revision if seen else 0)})
        try:
            self._table.put(_item(kept), _is_still(seen))
        except ConditionFailedError:
            return kept if self.find(state.target) == kept else None  # the answer to our own attempt may have been lost
        return kept

    def note(self, state: JournalState) -> None:
        """Write a remark into a state whose revision stays the same: a drain that has seen it can still replace it."""
        with suppress(ConditionFailedError):  # another drain has gone further since
            self._table.put(_item(state), _is_still(state))

    def forget(self, seen: JournalState) -> bool:
        """Remove the state that was seen; False: it is another one by now."""
        try:
            self._table.delete(_PARTITION, seen.target, _is_still(seen))
        except ConditionFailedError:
            return self.find(seen.target) is None
        return True


def _item(state: JournalState) -> JournalItem:
    record = state.model_dump_json(exclude={"revision"})
    return JournalItem(pk=_PARTITION, sk=state.target, revision=state.revision, record=record)


def _is_still(seen: JournalState | None) -> Condition:
    return JournalItem.pk.does_not_exist() if seen is None else JournalItem.revision == seen.revision


def _read(raw: RawItem) -> JournalState:
    from coffre.model.journal import JournalState  # Not above: the console's first page waits for no manifest.

    item = read_item(raw, JournalItem, required=("record", "revision"))
    try:
        state = JournalState.model_validate_json(item.record)
    except ValidationError as error:
        raise damaged(raw, "; ".join(describe_validation(error))) from error
    return state.model_copy(update={"revision": int(item.revision)})
