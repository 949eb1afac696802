"""Which backup holds what a restore overwrites: what has changed the target since, and what has not."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.unit.policy.report_scene import NOW, restore
from tests.unit.policy.safety_scene import run

from coffre.model.backup import Backup, Restore, Tier
from coffre.model.export import destination_of
from coffre.operations.runs import safety
from coffre.operations.runs.safety import REUSED_WITHIN, SafetyRecords

EXPORT = restore(days=0.001, destination=destination_of("shop-20261128T030000Z.dump.age"))


def newest(monkeypatch: pytest.MonkeyPatch, backup: Backup, restores: Sequence[Restore]) -> Backup | None:
    catalog: Any = SimpleNamespace(restores=lambda: iter(restores), backups=lambda **_: iter([backup]))
    monkeypatch.setattr(safety, "open_manifest", lambda *_: None)
    records = SafetyRecords(catalog, cast("Any", None), NOW, restored="another")
    found = records.newest("shop", REUSED_WITHIN, lambda _: ())
    return found[0] if found else None


def test_a_backup_from_before_a_restore_does_not_hold_what_that_left_and_exports_leave_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    began = timedelta(minutes=9)
    backup = run(began / timedelta(hours=1), tiers=(Tier.SAFETY,), verified_at=NOW)
    plan = restore(days=0.001, dry_run=True)

    assert newest(monkeypatch, backup, [EXPORT, plan]) == backup
    assert newest(monkeypatch, backup, [EXPORT, plan, restore(days=0.0005)]) is None
    assert newest(monkeypatch, backup, [EXPORT, restore(days=1)]) == backup
