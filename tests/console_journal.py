"""A journal in the vault of a deployment that the console shows."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

from tests.console_scene import ConsoleScene
from tests.unit.operations.stored_journal import PRINT, journal_of, lsn_at

from coffre.model.backup import Backup
from coffre.model.manifest import JournalBase
from coffre.vault.journal import segment_keys


def journal_with_gap(scene: ConsoleScene) -> list[Backup]:
    """Leave a journal of `shop` that lacks its segment 3, with a base before it and one behind it."""
    place = SimpleNamespace(vault=scene.vault, store=scene.vault.store, root=scene.root / "vault", now=scene.now)
    interval = journal_of(cast("Any", place), (9, 8, 7, 6, 5, 4))
    scene.vault.store.delete(segment_keys(scene.vault, "shop", interval)[2].key)
    bases = []
    for days in (8.5, 4.5):
        at, lsn = scene.now - timedelta(days=days), lsn_at(days)
        base = JournalBase(snapshot="1:1:", before_lsn=lsn, lsn=lsn, at=at, fingerprint=PRINT)
        bases.append(scene.backup(24 * days, journal=base))
    return bases
