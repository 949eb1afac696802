"""The journal of one target: which moments can be restored, and why others cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from coffre.model.errors import IntegrityError
from coffre.operations.journal.overview import Stretch, stretches
from coffre_console.reading.source import Source


@dataclass(frozen=True)
class OneJournal:
    """What `coffre journal list TARGET` shows: how far all is stored, the stretches, the newest first, and damage."""

    stored_up_to: datetime | None
    stretches: Sequence[Stretch]
    damage: Sequence[str]


def read_journal(source: Source, target: str) -> OneJournal:
    """Read it from the catalog and from the records in the vault.

    Raises
    ------
    CoffreError
        The catalog or the vault cannot be read.
    """
    state, damage = source.catalog.journals.find(target), list[IntegrityError]()
    found = stretches(source.catalog, source.vault, target, damage.append)
    return OneJournal(state.seen_at if state else None, found, [f"{one.message} [{one.code}]" for one in damage])
