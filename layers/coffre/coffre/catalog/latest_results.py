"""What jobs found last: of each target its newest drill and rehearsal, and how much the vault held at its newest sweep.

The reports themselves are in the vault, or only in an answer. `coffre status` reads these few small items instead.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from pydantic import BaseModel

from coffre.catalog.drill_runs import DRILLS, is_no_result
from coffre.catalog.items import LatestItem
from coffre.catalog.records import read_json
from coffre.catalog.tables import ConditionFailedError, DynamoTable, ItemQuery
from coffre.model.drill import DrillSummary, Rehearsal
from coffre.model.vault_use import JournalDamage, JournalKept, VaultUse

_VAULT: Final = "VAULT"
_DAMAGE: Final = "DAMAGE"
_WHOLE: Final = "-"
# Names of targets have no slash.
_REHEARSAL: Final = "rehearsal/"
_JOURNAL: Final = "journal/"


class Latest:
    """The newest result of each kind; an older one never replaces it."""

    def __init__(self, table: DynamoTable) -> None:
        self._table = table

    def note_drill(self, drill: DrillSummary) -> None:
        """Remember how the newest drill of a target ended."""
        self._note(DRILLS, drill.target, drill.completed_at, drill)

    def drills(self) -> dict[str, DrillSummary]:
        """Return the newest drill by target."""
        return self.drills_and_rehearsals()[0]

    def note_rehearsal(self, rehearsal: Rehearsal) -> None:
        """Remember how long the newest rehearsal of a target's recovery took."""
        self._note(DRILLS, f"{_REHEARSAL}{rehearsal.target}", rehearsal.completed_at, rehearsal)

    def drills_and_rehearsals(self) -> tuple[dict[str, DrillSummary], dict[str, Rehearsal]]:
        """Return the newest drill, and the newest rehearsal of a recovery, by target."""
        drills, rehearsals = dict[str, DrillSummary](), dict[str, Rehearsal]()
        for raw in self._table.query(ItemQuery(DRILLS)):
            if is_no_result(raw):
                continue
            if raw["sk"]["S"].startswith(_REHEARSAL):
                rehearsal = read_json(raw, LatestItem, Rehearsal)
                rehearsals[rehearsal.target] = rehearsal
            else:
                drill = read_json(raw, LatestItem, DrillSummary)
                drills[drill.target] = drill
        return drills, rehearsals

    def note_vault(self, use: VaultUse) -> None:
        """Remember what the newest sweep measured."""
        self._note(_VAULT, _WHOLE, use.measured_at, use)

    def vault(self) -> VaultUse | None:
        """Return what the newest sweep measured; None before the first one."""
        raw = self._table.get(_VAULT, _WHOLE)
        return read_json(raw, LatestItem, VaultUse) if raw else None

    def note_journal_kept(self, kept: JournalKept) -> None:
        """Remember since when a target's journal is kept; that it was kept since a later time is not forgotten."""
        self._note(_VAULT, f"{_JOURNAL}{_place(kept.target, kept.copy_name)}", kept.since, kept)

    def journal_kept_since(self, target: str, copy_name: str | None = None) -> datetime | None:
        """Return since when a target's journal is kept; None: nothing of it was ever deleted."""
        raw = self._table.get(_VAULT, f"{_JOURNAL}{_place(target, copy_name)}")
        return read_json(raw, LatestItem, JournalKept).since if raw else None

    def note_damaged_of_journal(self, found: JournalDamage) -> None:
        """Remember what of a target's journal was found damaged when it was read last, in the vault or in a copy."""
        self._note(_DAMAGE, _place(found.target, found.copy_name), found.at, found)

    def damaged_of_journal(self, target: str, copy_name: str | None = None) -> frozenset[str]:
        """Return what of a target's journal was found damaged."""
        raw = self._table.get(_DAMAGE, _place(target, copy_name))
        return frozenset(read_json(raw, LatestItem, JournalDamage).packs) if raw else frozenset()

    def damaged_of_journals(self, copy_name: str | None = None) -> frozenset[str]:
        """Return what of all journals of the vault, or of a copy, was found damaged."""
        found = [read_json(raw, LatestItem, JournalDamage) for raw in self._table.query(ItemQuery(_DAMAGE))]
        return frozenset(pack for one in found if one.copy_name == copy_name for pack in one.packs)

    def _note(self, partition: str, key: str, at: datetime, record: BaseModel) -> None:
        item = LatestItem(pk=partition, sk=key, at=at, record=record.model_dump_json())
        try:
            self._table.put(item, LatestItem.pk.does_not_exist() | (LatestItem.at <= at))
        except ConditionFailedError:
            return  # A newer one is stored.


def _place(target: str, copy_name: str | None) -> str:
    return target if copy_name is None else f"{copy_name}/{target}"
