"""Which targets `coffre recover` asks a destination for."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
import typer

from coffre.model.backup import Backup, Status, Tier
from coffre.model.kinds import TargetKind
from coffre.policy.recovery import CopyLook, Found
from coffre_cli.commands.recover.plan import Wanted, with_answers

NOON = datetime(2026, 11, 17, 12, tzinfo=UTC)


def found(kind: TargetKind) -> Found:
    backup = Backup(
        id="01K9X000000000000000000000",
        target="any",
        kind=kind,
        tiers=(Tier.DAILY,),
        status=Status.COMPLETED,
        created_at=NOON,
    )
    return Found(backup)


def test_a_target_of_every_kind_needs_a_destination() -> None:
    look = CopyLook("copy", {"shop": found(TargetKind.DATABASE), "settings": found(TargetKind.SETTINGS)})
    wanted = Wanted({"shop": "env:DESTINATION"}, {}, is_rehearsal=False, notify=None)

    with pytest.raises(typer.BadParameter, match="--to settings=WHERE"):
        with_answers(wanted, look)
    assert with_answers(replace(wanted, is_rehearsal=True), look).to == wanted.to
